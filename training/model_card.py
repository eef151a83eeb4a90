"""The model card of a stage: README.md beside its result. It says what is known of the run, and what is not."""

import dataclasses
import json
import logging
import os
import platform
from collections import Counter
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn
from transformers import Trainer

import samvlm
from samvlm.cards import CARD, LOADING, card_text, loading
from training.stages import counts

logger = logging.getLogger("samvlm.training")
PACKAGES = ("torch", "transformers", "peft", "accelerate", "deepspeed")
NO_LOSS = (
    "learning_rate",
    "grad_norm",
    "epoch",
    "step",
    "refused",
    "without_labels",
    "bad_steps",
    "num_tokens",
)
NO_SCORE = ("best_step", "seconds")
NAMED = 12  # sources and licences of one file that are listed; the others are counted


def write_card(trainer: Trainer, folder: Path) -> None:
    """Write the card of a stage into the folder of its result.

    Args:
        trainer: of the stage, at its end; it has `recipe`, `mixture`, `seen`.
        folder: where the result is written.
    """
    try:
        text = describe(trainer)
    except Exception:  # whatever it is, the weights are worth more than their card
        logger.exception("the model card was not written")
        return
    (folder / CARD).write_text(text, encoding="utf-8")


def describe(trainer: Trainer) -> str:
    """The card of a stage at its end."""
    stage_folder = Path(trainer.args.output_dir)
    name = f"{stage_folder.parent.name}-{stage_folder.name}".strip("-")
    recipe = trainer.recipe
    base, relation = started_from(recipe)
    adapter = recipe.stage.lora is not None
    data = [about_source(source) for source in trainer.mixture.sources]
    front = {
        "library_name": "transformers",
        "pipeline_tag": "image-text-to-text",
        "base_model": base,
        "base_model_relation": relation,
        "datasets": sorted({source for part in data for source in part["sources"]}),
        "tags": ["samvlm", "document-understanding", *(["lora"] if adapter else [])],
    }
    sections = {
        "Data": data_lines(trainer, data),
        "What trained": parameter_lines(trainer.model),
        "The run": run_lines(trainer),
        "Losses": loss_lines(trainer.state.log_history, result_step(trainer)),
        "Scores": score_lines(trainer, stage_folder.name),
        "Recipe": ["```yaml", as_yaml(recipe), "```"],
        LOADING: [loading(stage_folder.name, base_name(recipe) if adapter else None)],
    }
    intro = f"# {name}\n\n{introduction(recipe)}\n\n" + UNLICENSED
    body = "\n\n".join([intro, *(f"## {title}\n\n" + "\n".join(lines) for title, lines in sections.items())])
    return card_text(front, body)


UNLICENSED = (
    "This card was written by the training run and says what that knows. Two things before you publish it: it names no "
    "licence for the weights, so add `license:` at its top, with an eye on the licences below and on the base model's; "
    "and the recipe shows paths as they were given."
)


def introduction(recipe: Any) -> str:
    """A sentence on what it is."""
    what = "Adapters for a" if recipe.stage.lora is not None else "A"
    how = ", ".join(recipe.stage.parts())
    start = base_name(recipe)
    return (
        f"{what} document model that reads images of pages and tables, the result of the stage `{recipe.stage.name}` "
        f"of samvlm: {how} trained, from {f'`{start}`' if start else 'new parts'}."
    )


def base_name(recipe: Any) -> str | None:
    """What the stage started from, as the recipe has it, of a path its last part; None for new parts."""
    source = recipe.model.init_from
    return Path(source).name if source and Path(source).exists() else source


def started_from(recipe: Any) -> tuple[list[str] | str | None, str | None]:
    """`base_model` of the card, and the relation to it."""
    if recipe.model.init_from:
        return base_name(recipe), "adapter" if recipe.stage.lora is not None else "finetune"
    parts = (recipe.model.assemble.get(key) for key in ("tower", "language_model"))
    return [Path(part).name if Path(part).exists() else part for part in parts if isinstance(part, str)], None


def about_source(source: Any) -> dict[str, Any]:
    """What a source of samples is: its kind, how many records it has, their licences and where they come from."""
    kind = getattr(source, "synth", None)
    if hasattr(source, "engine"):
        kept = {"records": len(source.rows), "licences": {}, "sources": {}, "drawn": True}
        return {"name": f"printed: `{Path(source.engine).name}`", **kept}
    if kind is not None:
        return {"name": f"drawn: `{kind}`", "records": None, "licences": {}, "sources": {}, "drawn": True}
    found = {"licences": Counter(), "sources": Counter()}
    try:
        rows = source.rows
        for record in rows:
            found["licences"][record.licence or "not stated"] += 1
            if record.source:
                found["sources"][record.source] += 1
        count = len(rows)
    except (AttributeError, TypeError, OSError, ValueError):  # a stream, or a file that has gone since
        count = None
    named = (getattr(source, key, None) for key in ("records", "parquet", "dataset"))
    where = next((str(name) for name in named if name), "data")
    if count is None and where == getattr(source, "dataset", None) and not Path(where).exists():
        found["sources"][where] = 0  # a data set of the hub; its rows pass by uncounted
    name = f"`{Path(where).name if Path(where).exists() else where}`"
    return {"name": name, "records": count, "drawn": False, **found}


def data_lines(trainer: Trainer, data: list[dict[str, Any]]) -> list[str]:
    """What was read."""
    weights = [source.weight for source in trainer.mixture.sources]
    lines = [
        "| source | share of the samples drawn | records | from | licences of the data |",
        "|---|---|---|---|---|",
    ]
    for part, weight in zip(data, weights, strict=True):
        if part["drawn"]:
            records, origin, licences = "without end", "samvlm's renderer", "no data set: drawn for the run"
        else:
            records = "not counted" if part["records"] is None else f"{part['records']:,}"
            origin = counted(part["sources"]) or "not stated"
            licences = counted(part["licences"]) or "not stated"
        lines.append(f"| {part['name']} | {weight / sum(weights):.0%} | {records} | {origin} | {licences} |")
    seen = trainer.seen.everybody
    refused = (
        f"{seen['refused']:,.0f} of the draws met a sample that could not be used" if seen["refused"] else ""
    )
    refused += (
        ", which `refused.jsonl` names with its reason. Another took its place or it was left out."
        * bool(refused)
    )
    unread = sum(len(getattr(source, "refused", ())) for source in trainer.mixture.sources)
    lines += ["", f"Samples seen: {seen['drawn']:,.0f}, repeated ones counted each time. {refused}".rstrip()]
    if unread:
        lines.append(
            f"{unread:,} lines of the record files were no records with an answer and were left out."
        )
    return lines


def counted(names: dict[str, int]) -> str:
    """Names with their numbers, the most frequent first."""
    most = Counter(names).most_common()
    told = [f"{name} ({count:,})" if count else name for name, count in most[:NAMED]]
    return ", ".join([*told, *([f"and {len(most) - NAMED} more"] if len(most) > NAMED else [])])


def parameter_lines(model: nn.Module) -> list[str]:
    """Parameters by part."""
    lines = ["| part | trained | frozen |", "|---|---|---|"]
    lines += [f"| `{part}` | {trained:,} | {frozen:,} |" for part, (trained, frozen) in counts(model).items()]
    return lines


def run_lines(trainer: Trainer) -> list[str]:
    """Steps, time, machine, versions, seeds, faults."""
    recipe, state, args = trainer.recipe, trainer.state, trainer.args
    step, seen = result_step(trainer), trainer.seen.everybody
    steps = f"{state.global_step:,} of {recipe.trainer.max_steps:,}"
    if step != state.global_step:
        steps += f"; the result is that of step {step:,}"
    bad = sum(line.get("bad_steps", 0) for line in state.log_history)
    hours = (
        f"{seen['seconds'] / 3600:.2f}, scores and checkpoints included"
        if seen["seconds"]
        else "not measured"
    )
    rows = {
        "optimizer steps": steps,
        "steps not taken (loss or gradient no finite number)": f"{bad:,.0f}",
        "hours": hours,
        "hardware": hardware(args.device, args.world_size),
        "weights in": recipe.model.dtype,
        "seeds": f"data {recipe.data.seed}, training {recipe.trainer.seed}",
        "versions": ", ".join(f"{name} {version}" for name, version in versions().items()),
    }
    return ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]


def hardware(device: torch.device, processes: int) -> str:
    """The machine, as it calls itself."""
    each = f"{processes} process" + ("es" if processes > 1 else "")
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, {each} with one GPU each"
    return f"{cpu_name()}, {os.cpu_count()} CPUs, {each} of {torch.get_num_threads()} threads"


def cpu_name() -> str:
    """The processor's name, or its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Of what the run was made with."""
    found = {"samvlm": samvlm.__version__, "Python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def result_step(trainer: Trainer) -> int:
    """The step whose weights are the result."""
    return getattr(trainer, "result_step", trainer.state.global_step)


def loss_lines(history: list[dict[str, Any]], step: int) -> list[str]:
    """The last line of figures up to a step."""
    lines = [line for line in history if "loss" in line and line["step"] <= step]
    if not lines:
        return [
            "None was logged: the stage ended before its first line of figures (`trainer.logging_steps`)."
        ]
    last = lines[-1]
    since = lines[-2]["step"] if len(lines) > 1 else 0
    figures = {
        name: value for name, value in last.items() if name not in NO_LOSS and not isinstance(value, str)
    }
    told = [
        f"Means over steps {since + 1:,} to {last['step']:,}, of what was trained on; `log.json` has all lines.",
        "",
    ]
    return [
        *told,
        "| figure | value |",
        "|---|---|",
        *(f"| {name} | {value:.4g} |" for name, value in figures.items()),
    ]


def score_lines(trainer: Trainer, name: str) -> list[str]:
    """The scores that the run measured of its result, or that there are none."""
    step, scoring = result_step(trainer), getattr(trainer, "scoring", None)
    scored = [line for line in trainer.state.log_history if "eval_best_step" in line and line["step"] == step]
    how = f"`samvlm eval {name} --data FILE -o DIR` scores it."
    if not scored:
        why = (
            "the recipe names nothing to score it on (`scoring.data`)"
            if scoring is None
            else "no score of it was made"
        )
        return [f"Not scored: {why}. {how}"]
    figures = {
        key.removeprefix("eval_"): value
        for key, value in scored[-1].items()
        if key.startswith("eval_")
        and key.removeprefix("eval_") not in NO_SCORE
        and not isinstance(value, str)
    }
    told = getattr(scoring, "told", "held-out examples")
    limit, metric = trainer.recipe.scoring.max_new_tokens, trainer.recipe.scoring.metric
    # A resumed run has them in another order.
    names = sorted(figures, key=lambda name: (name != metric, name))
    lines = [
        f"Measured in training, at step {step:,}, on {told}, at most {limit:,} new tokens an answer. {how}",
        "",
    ]
    if step != trainer.state.global_step or trainer.recipe.scoring.keep_best:
        lines[0] += f" The step was chosen by `{metric}` on these same examples."
    return [
        *lines,
        "| score | value |",
        "|---|---|",
        *(f"| `{name}` | {figures[name]:.4g} |" for name in names),
    ]


def as_yaml(recipe: Any) -> str:
    """A recipe as its file would have it, every key."""
    plain = json.loads(json.dumps(dataclasses.asdict(recipe), default=str))
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100).strip()
