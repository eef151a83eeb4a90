"""Scores by bucket and two pictures for a model card, from a folder that `samvlm eval` wrote.

    samvlm eval --data synth:1000 --options '{"damage": 0.3}' -o runs/synth
    python scripts/draw_model_card.py runs/synth -o samvlm/assets/samvlm-tiny > part_of_the_card.md

It prints Markdown, and writes right.png and wrong.png: ten tables each, on the left the image as the model was given it,
on the right what it read. A cell with another text than in the truth, one that covers other rows or columns and one that
is not there in the truth have a colour each; what is missing is counted above. Which tables these are follows from the
scores alone, by the rules RIGHT and WRONG. Drawn images are drawn again from their seed; others are opened.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts.draw_readme_picture
from samvlm.cli.console import one_line
from samvlm.data.tables import Cell, Table
from samvlm.data.whole_files import whole_file
from samvlm.evaluation.benchmarks import Benchmark, open_benchmark
from samvlm.evaluation.cases import Case
from samvlm.evaluation.predictions import FilePredictor, Prediction
from samvlm.evaluation.runner import EXAMPLES, PREDICTIONS, RUN, SCORES
from samvlm.metrics import align_tables
from scripts.draw_readme_picture import FAINT, INK, PAPER, RULE, column_widths, draw_table, font, shade

SCORE, STRUCTURE = "teds_normalised", "teds_struct_normalised"
NUMBER = 10
BEST, WORST = 0.25, 0.5  # the parts of all tables that the pictures are taken from
WIDEST, TALLEST = 560, 330  # pixels of an image that can be read at this size
RIGHT = (
    f"Ten of the best quarter by `{SCORE}`: from each size of table, with and without spans, in turn the best one that is "
    "left, the largest tables first."
)
WRONG = (
    f"Ten of the worse half by `{SCORE}`, at equal distances in rank, from the median to the worst, or the nearest in rank "
    "that can be shown."
)
FITTING = f"Tables on more than {WIDEST}x{TALLEST} pixels are left out of the pictures: they could not be read in them."
COLOURS = {"text": "#ffe08a", "span": "#c9c2f5", "extra": "#f7b3ab"}
NAMES = {
    "text": "another text",
    "span": "other rows or columns",
    "extra": "not in the truth",
    "missing": "missing",
}
WIDTH, MARGIN, GAP = 1000, 14, 18  # of the picture; half of it is the image's
MOST_BYTES = 400_000


@dataclass
class Shown:
    """A case with what was read and how good it is. `buckets` are those of `samvlm eval`."""

    case: Case
    prediction: Prediction
    score: float
    buckets: dict[str, str]


def read_results(folder: Path) -> tuple[dict[str, Any], list[Shown]]:
    """The scores and the tables of a folder of results. Raises ValueError for what is no such folder."""
    try:
        scores = json.loads((folder / SCORES).read_text(encoding="utf-8"))
        run = json.loads((folder / RUN).read_text(encoding="utf-8"))
        rows = [json.loads(line) for line in (folder / EXAMPLES).read_text(encoding="utf-8").splitlines()]
        benchmark = the_same_data(run["data"])
    except (OSError, LookupError) as problem:
        raise ValueError(f"{folder}: no results that `samvlm eval -o` has finished ({problem})") from None
    cases = {case.id: case for case in benchmark.cases}
    made = {read.id: read for read in FilePredictor(folder / PREDICTIONS).predict(benchmark.cases)}
    return scores, [
        Shown(
            cases[row["id"]],
            made[row["id"]],
            row["scores"][SCORE],
            row["buckets"],
        )
        for row in rows
        if row["id"] in cases and SCORE in row["scores"]
    ]


def the_same_data(data: dict[str, Any]) -> Benchmark:
    """Open the data of a run again. Raises ValueError if they are others now."""
    name, path, settings = data["name"], data["path"], data
    words = f"synth:{data['cases']}" if name == "synth" else path
    if path and not Path(path).is_file() and name != "folder":
        words = f"{name}:{path}"
    benchmark = open_benchmark(
        words,
        settings.get("split"),
        settings.get("limit"),
        settings.get("seed", 0),
        settings.get("options") or None,
    )
    if benchmark.identity()["fingerprint"] != data["fingerprint"]:
        raise ValueError(f"{words}: other data now than when they were scored; score them again")
    return benchmark


def bucket_table(scores: dict[str, Any]) -> str:
    """The scores of all and by bucket as a table in Markdown."""
    lines = [f"| tables | number | `{SCORE}` | 95% interval | `{STRUCTURE}` |", "|---|---|---|---|---|"]
    every = scores["metrics"]
    low, high = every[SCORE]["low"], every[SCORE]["high"]
    rows = [("all", scores["n"], every[SCORE]["mean"], (low, high), every[STRUCTURE]["mean"])]
    rows += [
        (value, found["n"], found[SCORE], found["intervals"][SCORE], found[STRUCTURE])
        for values in scores["buckets"].values()
        for value, found in values.items()
    ]
    for name, number, score, (low, high), structure in rows:
        lines.append(f"| {name} | {number} | {score:.3f} | {low:.3f}-{high:.3f} | {structure:.3f} |")
    return "\n".join(lines)


def choose_right(shown: Sequence[Shown]) -> list[Shown]:
    """By the rule RIGHT."""
    ranked = sorted(shown, key=lambda one: -one.score)  # equal ones stay in the order of the data
    groups: dict[tuple[str, str], list[Shown]] = {}
    for one in ranked[: max(NUMBER, round(BEST * len(ranked)))]:
        groups.setdefault((one.buckets["cells"], one.buckets["spans"]), []).append(one)
    order = sorted(groups, key=lambda group: (-int(re.match(r"\d+", group[0])[0]), group[1]))
    chosen: list[Shown] = []
    while len(chosen) < NUMBER and any(groups.values()):
        for group in order:
            left = groups[group] if len(chosen) < NUMBER else []
            while left:
                one = left.pop(0)
                if fits(one.case):
                    chosen.append(one)
                    break
    return chosen


def choose_wrong(shown: Sequence[Shown]) -> list[Shown]:
    """By the rule WRONG."""
    ranked = sorted(shown, key=lambda one: -one.score)
    half = ranked[-max(NUMBER, round(WORST * len(ranked))) :]
    chosen: list[Shown] = []
    for step in range(NUMBER):
        start = round(step * (len(half) - 1) / (NUMBER - 1))
        near = sorted(range(len(half)), key=lambda place: abs(place - start))
        taken = {id(one) for one in chosen}
        found = (half[place] for place in near if id(half[place]) not in taken and fits(half[place].case))
        chosen += [one for one in [next(found, None)] if one is not None]
    return sorted(chosen, key=lambda one: -one.score)


def fits(case: Case) -> bool:
    """Whether the image can be shown at its own size, or nearly so."""
    if case.pixels() > WIDEST * TALLEST:
        return False
    try:
        image = case.open()
    except ValueError:
        return False
    return image.width <= WIDEST and image.height <= TALLEST


def judged(prediction: Table | None, truth: Table) -> tuple[dict[int, str], dict[str, int]]:
    """The verdict of each predicted cell that is wrong, by the cell's id; and how many there are of each kind."""
    counts = dict.fromkeys(NAMES, 0)
    if prediction is None:
        return {}, counts | {"missing": len(truth.cells)}
    verdicts: dict[int, str] = {}
    for _, cell, verdict in align_tables(prediction, truth).cells:
        if verdict != "equal":
            counts[verdict] += 1
            verdicts[id(cell)] = verdict
    return verdicts, counts


def prediction_drawn(table: Table | None, verdicts: dict[int, str], width: int, tallest: int) -> Image.Image:
    """The table as it was read, wrong cells in colour; what is taller than `tallest` is cut off, and that is said."""
    if table is None:
        image = Image.new("RGB", (width, 40), PAPER)
        ImageDraw.Draw(image).text((width / 2, 20), "no table was read", FAINT, font(13), anchor="mm")
        return image

    def fill(cell: Cell) -> str:
        return COLOURS.get(verdicts.get(id(cell), "")) or shade(cell)

    size = 13.0
    while size > 8 and (
        sum(column_widths(table, font(size), 0)) > width or draw_table(table, width, size).height > tallest
    ):
        size -= 0.5
    image = draw_table(table, width, size, fill)
    if image.height > tallest:
        image = image.crop((0, 0, width, tallest + 20))
        draw = ImageDraw.Draw(image)
        draw.rectangle((0, tallest, width, tallest + 20), PAPER)
        draw.text((0, tallest + 10), f"… and more, of {table.n_rows} rows", FAINT, font(12), anchor="lm")
    return image


def row_drawn(one: Shown) -> Image.Image:
    """One table: a line about it, the image, and what was read."""
    half = (WIDTH - 2 * MARGIN - GAP) // 2
    source = one.case.open()
    scale = min(1.0, half / source.width)
    source = source.resize(
        (round(source.width * scale), round(source.height * scale)), Image.Resampling.LANCZOS
    )
    try:
        table = Table.from_html(one.prediction.html)
    except ValueError:
        table = None
    truth = Table.from_html(one.case.truth_html)
    verdicts, counts = judged(table, truth)
    drawn = prediction_drawn(table, verdicts, half, max(220, round(1.5 * source.height)))
    wrong = ", ".join(f"{number} {NAMES[name]}" for name, number in counts.items() if number)
    ending = "" if one.prediction.finish_reason == "stop" else f"    ended by {one.prediction.finish_reason}"
    about = f"{one.case.id}    {one.score:.3f}    {len(truth.cells)} cells: {wrong or 'all right'}{ending}"
    head, body = 24, max(source.height, drawn.height)
    row = Image.new("RGB", (WIDTH, head + body + MARGIN), PAPER)
    draw = ImageDraw.Draw(row)
    draw.line((MARGIN, 0, WIDTH - MARGIN, 0), RULE)
    draw.text((MARGIN, head / 2 + 1), about, INK, font(13), anchor="lm")
    row.paste(source, (MARGIN + (half - source.width) // 2, head))
    row.paste(drawn, (MARGIN + half + GAP, head))
    return row


def picture(title: str, chosen: Sequence[Shown]) -> Image.Image:
    """All rows under a title and the meaning of the colours."""
    rows = [row_drawn(one) for one in chosen]
    head = 34
    made = Image.new("RGB", (WIDTH, head + sum(row.height for row in rows)), PAPER)
    draw = ImageDraw.Draw(made)
    draw.text((MARGIN, head / 2), title, INK, font(15), anchor="lm")
    x = WIDTH // 2 + GAP // 2
    for name, colour in COLOURS.items():
        draw.rectangle((x, head / 2 - 6, x + 12, head / 2 + 6), colour, RULE)
        draw.text((x + 18, head / 2), NAMES[name], FAINT, font(13), anchor="lm")
        x += 18 + round(font(13).getlength(NAMES[name])) + 16
    y = head
    for row in rows:
        made.paste(row, (0, y))
        y += row.height
    return made


def small_png(image: Image.Image, most: int = MOST_BYTES) -> bytes:
    """The image as PNG with as many colours as `most` bytes allow. Raises ValueError if 8 are too many."""
    for colours in (128, 64, 48, 32, 24, 16, 12, 8):
        written = io.BytesIO()
        image.quantize(colours, dither=Image.Dither.NONE).save(written, "PNG", optimize=True)
        if written.tell() < most:
            return written.getvalue()
    raise ValueError(f"a picture of {image.width}x{image.height} pixels takes more than {most} bytes")


def main(argv: Sequence[str] | None = None) -> int:
    """Print the Markdown and write the pictures; returns the exit code."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("results", type=Path, help="folder that `samvlm eval -o` wrote")
    arguments.add_argument("-o", "--output", type=Path, required=True, help="folder of the pictures")
    options = arguments.parse_args(argv)
    try:
        scores, shown = read_results(options.results)
        options.output.mkdir(parents=True, exist_ok=True)
        print(bucket_table(scores), end="\n\n")
        for name, rule, chosen in (
            ("right", RIGHT, choose_right(shown)),
            ("wrong", WRONG, choose_wrong(shown)),
        ):
            if not chosen:
                raise ValueError(f"no table is on {WIDEST}x{TALLEST} pixels or less, so none can be shown")
            with whole_file(options.output / f"{name}.png") as stream:
                stream.write(small_png(picture(f"{scores['model']}: {name}", chosen)))
            print(f"{rule}\n\n![ten tables, image and result]({name}.png)\n")
        print(FITTING)
    except (ValueError, OSError) as problem:
        print(f"draw_model_card: error: {one_line(problem)}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
