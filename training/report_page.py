"""The report of a stage as one web page: curves, scores, examples, data, parameters, what was refused, the recipe."""

import base64
import dataclasses
import json
from collections import Counter
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from samvlm.data.webpage import image_uri, page, show_text
from samvlm.evaluation.examples import Example
from samvlm.evaluation.scores import LOWER_IS_BETTER, MEANINGS
from samvlm.evaluation.viewer.example import show_example
from training.history import PREFIX, best_line, has_run_out, score_lines
from training.recipe import Recipe
from training.stages import counts

MOST_SCORINGS, MOST_REFUSED, MOST_BAD, LONGEST = 25, 12, 12, 760
OURS = {
    "cer": "character error rate, 0 is best: edit distance over the length of the truth; of tables, of their cells' "
    "texts in reading order",
    "repetition": "share of answers that go in circles",
    "truncated": "share of answers cut off at scoring.max_new_tokens",
    "empty": "share of answers without a table, or without any text",
    "valid": "share of tables that needed no repair",
    "errors": "share of examples that could not be read",
}
STYLE = """
main { max-width: 1320px; margin: 0 auto; }
.strip { display: flex; flex-wrap: wrap; gap: .3rem 2.2rem; margin: .4rem 0 1rem; padding: 0; list-style: none; }
.strip b { display: block; font-size: 1.25rem; font-weight: 650; }
.strip span { color: var(--soft); }
.curves { display: block; width: 100%; border: 1px solid var(--line); border-radius: 4px; background: #fff; }
td.n, th.n { text-align: end; }
tr.best td { font-weight: 650; background: var(--head); }
.soft, dd { color: var(--soft); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: .5rem 0; font-size: .9em; }
dd { margin: 0; }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(25rem, 1fr)); gap: 0 2.5rem; }
.two > div { min-width: 0; }
code { font: .92em ui-monospace, monospace; overflow-wrap: anywhere; }
.example { margin-bottom: 1rem; }
figure img { cursor: auto; }
"""


def report_page(trainer: Any, folder: Path, curves: bytes) -> str:
    """The page, complete and self-contained.

    Args:
        trainer: of the stage.
        folder: of the stage, with what was written there of refused samples and bad steps.
        curves: the picture, a PNG file.
    """
    recipe, state = trainer.recipe, trainer.state
    parts = [
        f"<main><h1>{show_text(recipe.stage.name)}: {show_text(short_name(folder))}</h1>",
        _strip(trainer),
    ]
    uri = base64.b64encode(curves).decode()
    parts.append(f'<img class="curves" alt="The curves of the run" src="data:image/png;base64,{uri}">')
    if trainer.scoring is not None:
        parts += [_scores(trainer), _examples(trainer.scoring)]
    parts += [
        f'<div class="two"><div>{_data(trainer)}</div><div>{_parameters(trainer.model)}</div></div>',
        _faults(folder, state.log_history),
        _recipe(recipe),
        "</main>",
    ]
    viewer = resources.files("samvlm.evaluation.viewer").joinpath("viewer.css").read_text(encoding="utf-8")
    return page(f"{recipe.stage.name} {short_name(folder)}", "".join(parts), viewer + STYLE)


def _strip(trainer: Any) -> str:
    """The state of the run in a line."""
    recipe, state = trainer.recipe, trainer.state
    history, scoring = state.log_history, recipe.scoring
    ended = state.global_step >= state.max_steps
    told = (
        "done" if ended else "ended early: no better" if has_run_out(history, scoring) else "not at its end"
    )
    facts = [(f"{state.global_step:,} of {state.max_steps:,}", f"steps, {told}")]
    best = best_line(history, scoring.metric)
    if best is not None:
        facts.append(
            (f"{best[PREFIX + scoring.metric]:.4f}", f"best {scoring.metric}, at step {best['step']:,}")
        )
    last: dict[str, float] = {}
    for line in history:
        last |= line
    for name, form, unit in (
        ("loss", "{:.4g}", "loss"),
        ("samples_per_second", "{:,.3g}", "samples a second"),
        ("tokens_per_second", "{:,.0f}", "tokens a second"),
        ("mfu", "{:.1%}", "of the measured peak (MFU)"),
        ("data_wait", "{:.1%}", "of the time waiting for data"),
        ("memory_gb", "{:.2f} GB", "memory at the peak"),
    ):
        if name in last:
            facts.append((form.format(last[name]), unit))
    return f'<ul class="strip">{"".join(f"<li><b>{escape(a)}</b><span>{escape(b)}</span></li>" for a, b in facts)}</ul>'


def _scores(trainer: Any) -> str:
    """A row for each scoring, and what the names mean."""
    scoring, recipe = trainer.scoring, trainer.recipe.scoring
    lines = score_lines(trainer.state.log_history)
    head = f"<h2>Scores on {show_text(scoring.told)}</h2>"
    if not lines:
        return head + "<p>There are none yet.</p>"
    best = best_line(lines, recipe.metric)
    known = [n.removeprefix(PREFIX) for n in lines[-1] if n.startswith(PREFIX)]
    first = [recipe.metric, *(n for n in MEANINGS if n != recipe.metric), *OURS]
    names = list(dict.fromkeys(name for name in first if name in known))
    shown = (
        lines
        if len(lines) <= MOST_SCORINGS
        else [*lines[: MOST_SCORINGS // 2], *lines[-MOST_SCORINGS // 2 :]]
    )
    if best is not None and best not in shown:
        shown = sorted([*shown, best], key=lambda line: line["step"])
    rows = [
        f'<tr{" class=best" if line is best else ""}><td class="n">{line["step"]:,}</td>'
        + "".join(f'<td class="n">{_number(name, line.get(PREFIX + name))}</td>' for name in names)
        + "</tr>"
        for line in shown
    ]
    columns = "".join(
        f'<th class="n">{escape(name)}{"*" if name == recipe.metric else ""}</th>' for name in names
    )
    interval = scoring.summary.get("metrics", {}).get(recipe.metric)
    said = f"* chooses the best checkpoint ({'lower' if recipe.metric in LOWER_IS_BETTER else 'higher'} is better)"
    if recipe.keep_best:
        said += ", which is kept and becomes the result"
    if recipe.patience is not None:
        said += f"; the stage ends after {recipe.patience} scorings in a row without a better one"
    if interval:
        said += (
            f". The last is {interval['mean']:.4f}, with 95% confidence for other examples of the kind between "
            f"{interval['low']:.4f} and {interval['high']:.4f}"
        )
    left = (
        f" {len(lines) - len(shown):,} of {len(lines):,} scorings are not shown."
        if len(shown) < len(lines)
        else ""
    )
    meanings = "".join(
        f"<dt><code>{escape(name)}</code></dt><dd>{escape(OURS.get(name) or MEANINGS.get(name, ''))}</dd>"
        for name in names
    )
    return (
        f'{head}<div class="scroll"><table><thead><tr><th class="n">step</th>{columns}</tr></thead>'
        f'<tbody>{"".join(rows)}</tbody></table></div><p class="soft">{escape(said)}.{left}</p><dl>{meanings}</dl>'
    )


def _number(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.1%}" if name in OURS and name != "cer" else f"{value:.4f}"


def _examples(scoring: Any) -> str:
    """The worst, a middling and the best of the last scoring, image, truth and prediction."""
    chosen = choose(scoring.examples, scoring.recipe.metric)
    if not chosen:
        return ""
    shown = []
    for number, (why, example) in enumerate(chosen):
        drawn = show_example(example, number, f"example-{number}")
        image = ""
        try:
            if example.image is not None:
                image = f'<figure><img alt="" src="{image_uri(example.image(), LONGEST)}"></figure>'
        except Exception as error:  # a broken image is what an example may be about
            image = f'<figure class="error">{show_text(str(error))}</figure>'
        shown.append(f'<p class="soft">{escape(why)}</p>{drawn.start}{image}{drawn.end}')
    return f"<h2>What the last scoring read</h2>{''.join(shown)}"


def choose(examples: list[Example], metric: str) -> list[tuple[str, Example]]:
    """The best, the middle one and the worst of examples by a score, each with why it is shown."""
    scored = [example for example in examples if metric in example.scores]
    sign = 1 if metric in LOWER_IS_BETTER else -1
    scored.sort(key=lambda example: sign * example.scores[metric])
    if len(scored) < 3:
        return [(f"{metric} of example {e.id}", e) for e in scored]
    places = (("The best", 0), ("One in the middle", len(scored) // 2), ("The worst", -1))
    return [(f"{why} by {metric}:", scored[place]) for why, place in places]


KINDS = ("drawn without end", "rows that stream")


def _data(trainer: Any) -> str:
    """The sources with their shares."""
    sources = trainer.recipe.data.sources
    total = sum(source.get("weight", 1.0) for source in sources)
    rows = []
    for source, read in zip(sources, trainer.mixture.sources, strict=False):
        rest = {key: value for key, value in source.items() if key != "weight"}
        count = f"{len(read.rows):,} records" if hasattr(read, "rows") else KINDS[hasattr(read, "table")]
        share = source.get("weight", 1.0) / total
        text = ", ".join(f"{key}: {value}" for key, value in rest.items())
        rows.append(
            f"<tr><td><code>{show_text(text)}</code></td><td>{count}</td><td class=n>{share:.0%}</td></tr>"
        )
    held = f"<p>Held out: {show_text(trainer.scoring.told)}</p>" if trainer.scoring is not None else ""
    head = "<tr><th>source</th><th>of it</th><th class=n>share</th></tr>"
    return f'<h2>Data</h2><div class="scroll"><table>{head}{"".join(rows)}</table></div>{held}'


def _parameters(model: Any) -> str:
    """A row for each part."""
    found = counts(model)
    found["all"] = tuple(map(sum, zip(*found.values(), strict=True)))
    rows = "".join(
        f"<tr><td>{escape(part)}</td><td class=n>{trained:,}</td><td class=n>{frozen:,}</td></tr>"
        for part, (trained, frozen) in found.items()
    )
    head = "<tr><th>part</th><th class=n>trained</th><th class=n>frozen</th></tr>"
    return f"<h2>Parameters</h2><table>{head}{rows}</table>"


def _faults(folder: Path, history: list[dict[str, Any]]) -> str:
    """Samples that were refused, and steps that were not taken."""
    refused, bad, spikes = (json_lines(folder, name) for name in ("refused", "bad_steps", "spikes"))
    drawn = sum(line.get("refused", 0) for line in history)
    reasons = Counter(str(line.get("reason", "")) for line in refused)
    rows = "".join(
        f"<tr><td>{show_text(str(line.get('id')))}</td><td>{show_text(str(line.get('where')))}</td>"
        f"<td>{show_text(str(line.get('reason')))}</td></tr>"
        for line in refused[:MOST_REFUSED]
    )
    told = f"{len(refused):,} samples were refused" if refused else "No sample was refused"
    times = f", {int(drawn):,} times in all" if drawn > len(refused) else ""
    more = f" The first {MOST_REFUSED}:" if len(refused) > MOST_REFUSED else ""
    common = f" Most often: {show_text(reasons.most_common(1)[0][0])}." if len(reasons) > 1 else ""
    text = f"<h2>Refused samples and bad steps</h2><p>{told}{times}.{common}{more}</p>"
    if refused:
        text += f'<div class="scroll"><table><tr><th>sample</th><th>where</th><th>why</th></tr>{rows}</table></div>'
    for lines, what in ((bad, "steps were not taken: a loss or gradient that is no finite number"),
                        (spikes, "steps had a loss far above those before")):  # fmt: skip
        if lines:
            steps = ", ".join(f"{line.get('step')}" for line in lines[:MOST_BAD])
            text += (
                f"<p>{len(lines):,} {what} (step {escape(steps)}{' …' if len(lines) > MOST_BAD else ''}).</p>"
            )
    return text if bad else text + "<p>Every step was taken.</p>"


def _recipe(recipe: Recipe) -> str:
    """Every key that is not at its default."""
    rows = []
    for name, section in ((field.name, getattr(recipe, field.name)) for field in dataclasses.fields(recipe)):
        for field in dataclasses.fields(section):
            value = getattr(section, field.name)
            made = (
                field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
            )
            if value != made:
                text = json.dumps(value, ensure_ascii=False, default=str)
                rows.append(
                    f"<tr><td><code>{name}.{field.name}</code></td><td><code>{show_text(text)}</code></td></tr>"
                )
    said = '<p class="soft">Keys that are not here have their defaults.</p>'
    return f'<h2>Recipe</h2><div class="scroll"><table>{"".join(rows)}</table></div>{said}'


def short_name(folder: Path) -> str:
    """The end of a folder's path: its name and that of the folder it lies in."""
    return "/".join(folder.parts[-2:])


def json_lines(folder: Path, stem: str) -> list[dict[str, Any]]:
    """The objects in `STEM.jsonl`, and in those of other processes; torn lines are left out."""
    found = []
    for path in (folder / f"{stem}.jsonl", *sorted(folder.glob(f"{stem}.rank*.jsonl"))):
        if not path.is_file():
            continue
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            found += [row] if isinstance(row, dict) else []
    return found
