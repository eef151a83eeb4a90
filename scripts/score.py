"""Score a checkpoint on drawn tables and on folders of real ones: TEDS, structure, repetition, seconds an image.

    python scripts/score.py samvlm/assets/samvlm-tiny --synth 500 --folder ../shared/data/pubtabnet -o scores.json

A folder holds `gt.jsonl` with lines {"image": "images/x.png", "html": "<table>…"}. `teds` here is
`teds_normalised` of samvlm.metrics; `struct` is the same with all text left out. Images are read in batches of
similar size; `--batch-size 1` also tells the median time of an image.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from samvlm import DocumentParser, Table
from samvlm.data.images import open_image
from samvlm.data.synth import plan_size, sample
from samvlm.generation import ParseResult
from samvlm.metrics import teds_normalised, teds_struct


@dataclass
class Item:
    """A table to read: its area in pixels, known beforehand, and how to get its image and its true HTML."""

    id: str
    area: int
    load: Callable[[], tuple[Image.Image, str]]


def synthetic(count: int, seed: int, options: dict[str, Any]) -> list[Item]:
    """Held-out drawn tables."""

    def item(index: int) -> Item:
        def load() -> tuple[Image.Image, str]:
            drawn = sample("table", seed, index, **options)
            return drawn.image, drawn.table.to_html()

        width, height = options.get("size") or plan_size("table", seed, index, **options)
        return Item(f"synth-{seed}-{index}", width * height, load)

    return [item(index) for index in range(count)]


def folder(path: Path, count: int | None) -> list[Item]:
    """Real tables. Raises OSError for a missing `gt.jsonl`."""

    def item(row: dict[str, str]) -> Item:
        file = path / row["image"]
        with Image.open(file) as image:  # the header only
            width, height = image.size
        return Item(row["image"], width * height, lambda: (open_image(file), row["html"]))

    lines = (path / "gt.jsonl").read_text(encoding="utf-8").splitlines()
    return [item(json.loads(line)) for line in lines[:count]]


def score_all(
    parser: DocumentParser, items: list[Item], batch_size: int, max_new_tokens: int, name: str
) -> list[dict[str, Any]]:
    """Read and compare all items; a row for each, in their order."""
    rows: dict[int, dict[str, Any]] = {}
    order = sorted(range(len(items)), key=lambda number: items[number].area)
    with tqdm(total=len(items), desc=name, unit="table") as bar:
        for first in range(0, len(order), batch_size):
            numbers = order[first : first + batch_size]
            images, truths = zip(*(items[number].load() for number in numbers), strict=True)
            start = time.perf_counter()
            results = parser.parse_batch(images, max_new_tokens=max_new_tokens)
            seconds = {"seconds": time.perf_counter() - start} if batch_size == 1 else {}
            for number, result, truth in zip(numbers, results, truths, strict=True):
                rows[number] = {"id": items[number].id} | compare(result, truth) | seconds
            bar.update(len(numbers))
    return [rows[number] for number in range(len(items))]


def compare(result: ParseResult, truth_html: str) -> dict[str, Any]:
    """Scores of one result against the truth; no table at all scores 0."""
    row = {"teds": 0.0, "struct": 0.0, "finish": result.finish_reason, "tokens": result.tokens}
    predicted = result.tables[0].to_html() if result.tables else ""
    if predicted:
        row["teds"] = teds_normalised(predicted, truth_html)
        pair = (Table.from_html(html) for html in (predicted, truth_html))
        row["struct"] = teds_struct(*(without_headers(table) for table in pair))
    return row | {"prediction": predicted}


def without_headers(table: Table) -> str:
    """HTML of the structure alone, with no head, so that only cells and spans count."""
    for cell in table.cells:
        cell.header = None
    return table.to_html()


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means, with the 95% bootstrap interval of `teds`; the median time where each image was timed."""
    scores = np.array([row["teds"] for row in rows])
    draws = np.random.default_rng(0).choice(scores, (2000, len(scores))).mean(1)
    figures = {
        "n": len(rows),
        "teds_normalised": round(float(scores.mean()), 4),
        "interval": [round(float(x), 4) for x in np.percentile(draws, [2.5, 97.5])],
        "struct": round(float(np.mean([row["struct"] for row in rows])), 4),
        "repetition": round(float(np.mean([row["finish"] == "repetition" for row in rows])), 4),
        "truncated": round(float(np.mean([row["finish"] == "length" for row in rows])), 4),
    }
    if all("seconds" in row for row in rows):
        figures["seconds_median"] = round(float(np.median([row["seconds"] for row in rows])), 3)
    return figures


def positive(text: str) -> int:
    """A whole number from 1 up, for argparse."""
    if int(text) < 1:
        raise ValueError
    return int(text)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("model", help="checkpoint folder")
    add("--synth", type=int, default=0, metavar="N", help="number of held-out drawn tables")
    add("--seed", type=int, default=900001, help="of the held-out tables; training uses small seeds")
    add("--options", type=json.loads, default={}, help="JSON options of the renderer")
    add("--folder", type=Path, action="append", default=[], help="real tables with gt.jsonl")
    add("-n", type=positive, help="only the first N of each folder")
    add("--batch-size", type=positive, default=8, metavar="N", help="images read at once (default: 8)")
    add("--max-new-tokens", type=positive, default=2048)
    add("--dtype", default="float32")
    add("--threads", type=positive, help="of torch")
    add("-o", "--output", type=Path, help="write scores and every prediction here as JSON")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Score and print one JSON object a set; returns 0, or 2 after one line on what was wrong."""
    args = arguments().parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    try:
        sets = {"synth": synthetic(args.synth, args.seed, args.options)} if args.synth else {}
        sets |= {path.resolve().name: folder(path, args.n) for path in args.folder}
        if not all(sets.values()) or not sets:
            raise ValueError("nothing to score: give --synth N or --folder DIR with tables in it")
        parser = DocumentParser.from_pretrained(args.model, dtype=args.dtype)
        result, details = {}, {}
        for name, items in sets.items():
            details[name] = score_all(parser, items, args.batch_size, args.max_new_tokens, name)
            result[name] = summary(details[name])
            print(json.dumps({name: result[name]}), flush=True)
    except (OSError, ValueError) as problem:
        print(f"score: {' '.join(str(problem).split())}", file=sys.stderr)
        return 2
    if args.output:
        args.output.write_text(json.dumps({"scores": result, "rows": details}, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
