"""Where a run starts: from nothing, or from a checkpoint of the very same run.

A checkpoint's manifest says what the run was: recipe, contents of the data files, number of processes, frozen weights.
Going on with others would give neither the old run nor the new one, so it needs `--force`.
"""

import dataclasses
import hashlib
import json
import logging
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import accelerate
import torch
import transformers
from accelerate.utils import broadcast_object_list

from samvlm.data.datasets import source_of
from training.checkpoints import (
    MANIFEST,
    best_of,
    checkpoints_in,
    clear_stale,
    has_result,
    last_complete,
    problem,
    read_manifest,
    remove,
    rotate,
    sha256_of,
    steps_of,
)
from training.history import has_run_out, history_of
from training.recipe import Recipe, TrainerRecipe
from training.sharding import check_state, sharding_of

logger = logging.getLogger("samvlm.training")
T = TypeVar("T")

# Keys that change nothing of what is learnt: another place, another pace, other reports. `model.init_from` may be
# another path: the weights in it are compared, not its name. `trainer.max_steps`: see `differences`.
MAY_CHANGE = {
    "model.init_from",
    "data.workers",
    "data.worker_timeout",
    "data.max_refused",
    "trainer.max_bad_steps",
    "trainer.output_dir",
    "trainer.save_steps",
    "trainer.save_total_limit",
    "trainer.logging_steps",
    "trainer.report_to",
    "trainer.resume",
    "trainer.force",
    "trainer.dry_run",
    "trainer.preflight_samples",
}
ENDLESS = (
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
)  # schedules that do not depend on trainer.max_steps


@dataclass
class Start:
    """What a stage starts from.

    checkpoint: the folder to go on from; None: from nothing
    steps:      that it has behind it
    about:      what the manifests of this run say of it
    ended:      the stage has its steps behind it, or got no better for too long
    done:       it has ended and its result is there
    force:      what differs is said, and the run goes on all the same
    """

    checkpoint: Path | None
    steps: int
    about: dict[str, Any]
    ended: bool
    done: bool
    force: bool

    def check_frozen(self, hashes: dict[str, str]) -> None:
        """Compare the frozen weights, of which a checkpoint of adapters holds none, with those of the checkpoint's
        run. Raises ValueError where they are others and there is no force."""
        digest = hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()
        self.about["frozen"] = digest
        if self.checkpoint is None or read_manifest(self.checkpoint).get("frozen", digest) == digest:
            return
        recipes = (read_manifest(self.checkpoint).get("recipe"), self.about["recipe"])
        was, now = (_flat(recipe).get("model.init_from") for recipe in recipes)
        _refuse(self.checkpoint, [f"frozen weights: those of {was} -> others, of {now}"], self.force)


def find_start(recipe: Recipe, folder: Path, world_size: int) -> Start:
    """Decide where a stage starts. With several processes the first one looks, and all get its answer.

    Raises:
        ValueError: `trainer.resume` names no complete checkpoint, or one of another run; or checkpoints are in the
            way, and `trainer.force` is not set.
    """
    return _first_decides(lambda: _find_start(recipe, folder, world_size))


def _find_start(recipe: Recipe, folder: Path, world_size: int) -> Start:
    trainer = recipe.trainer
    resume = None if trainer.resume is None else Path(trainer.resume)
    if resume is not None and _is_of_sister_stage(resume, folder):
        resume = Path("auto")
    if resume is not None and str(resume) != "auto":
        checkpoint = _named(resume)
        _make_way(folder, steps_of(checkpoint), trainer)
    elif resume is not None:
        checkpoint = _last(folder, trainer)
    else:
        checkpoint = None
        _make_way(folder, -1, trainer)
    if not trainer.dry_run:
        clear_stale(folder)
    about = describe(recipe, world_size)
    if checkpoint is None:
        return Start(None, 0, about, False, False, trainer.force)
    manifest = read_manifest(checkpoint)
    check_state(checkpoint, manifest, about)
    _refuse(checkpoint, differences(manifest, about), trainer.force)
    if manifest.get("versions") != about["versions"]:
        was, now = (_versions(part) for part in (manifest.get("versions") or {}, about["versions"]))
        logger.warning("%s was written with %s; this is %s: the last digits may differ", checkpoint, was, now)
    steps = steps_of(checkpoint)
    if (
        checkpoint.parent == folder and not trainer.dry_run
    ):  # a run that ended behind a save may not have come to this
        rotate(folder, trainer.save_total_limit, {checkpoint, *best_of(checkpoint)})
    ended = steps >= trainer.max_steps or has_run_out(history_of(checkpoint), recipe.scoring)
    return Start(checkpoint, steps, about, ended, ended and has_result(folder), trainer.force)


def _is_of_sister_stage(resume: Path, folder: Path) -> bool:
    """Whether a path names a checkpoint of another stage of the same recipe: this one then looks for its own."""
    here, there = folder.resolve(), resume.resolve().parent
    return there.parent == here.parent and there != here and (there / resume.name).is_dir()


def _named(checkpoint: Path) -> Path:
    """A checkpoint that was named. Raises ValueError with the file that it lacks."""
    if not checkpoint.is_dir():
        raise ValueError(
            f"trainer.resume={checkpoint} is no checkpoint: name a folder checkpoint-N, or auto."
        )
    reason = problem(checkpoint)
    if reason is not None:
        raise ValueError(
            f"trainer.resume={checkpoint} is no complete checkpoint: {reason}; auto finds the last that is."
        )
    return checkpoint


def _last(folder: Path, trainer: TrainerRecipe) -> Path | None:
    """The last complete checkpoint of a folder; None where there has been none. Says which are passed over."""
    checkpoint, passed_over = last_complete(folder)
    for path, reason in passed_over:
        logger.warning("passed over %s: %s", path, reason)
    if checkpoint is not None:
        logger.info("going on from %s", checkpoint)
        return checkpoint
    damaged = [(path, reason) for path, reason in passed_over if path in checkpoints_in(folder)]
    if damaged and not trainer.force:
        path, reason = damaged[0]
        raise ValueError(
            f"no checkpoint in {folder} is complete; the last is {path.name}: {reason}. Name another one in "
            "trainer.resume, or start from nothing with --force (trainer.force=true)."
        )
    _make_way(folder, -1, trainer)
    logger.info("no checkpoint in %s: starting from nothing", folder)
    return None


def _make_way(folder: Path, steps: int, trainer: TrainerRecipe) -> None:
    """Checkpoints that lie ahead of where a run starts would be taken for its own. Raises ValueError."""
    ahead = [path for path in checkpoints_in(folder) if int(path.name.rpartition("-")[2]) > steps]
    if ahead and not trainer.force:
        raise ValueError(
            f"{folder} has {ahead[-1].name} of an earlier run: go on from it with --resume auto "
            "(trainer.resume=auto), name another trainer.output_dir, or drop it with --force (trainer.force=true)."
        )
    for path in ahead:
        logger.warning("--force: dropping %s of an earlier run", path)
        if not trainer.dry_run:
            remove(path)


def describe(recipe: Recipe, world_size: int) -> dict[str, Any]:
    """What makes a run the run that it is: recipe, the contents of its data files, processes, versions."""
    data = {}
    for number, source in enumerate(recipe.data.sources):
        for key, value in source.items():
            if key in ("parquet", "dataset"):  # too large to be read whole
                about = json.dumps(source_of(source).table.about)
                data[f"data.sources[{number}].{key}"] = hashlib.sha256(about.encode()).hexdigest()
            elif isinstance(value, str) and Path(value).is_file():
                data[f"data.sources[{number}].{key}"] = sha256_of(Path(value))
    versions = {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "accelerate": accelerate.__version__,
    }
    plain = json.loads(json.dumps(dataclasses.asdict(recipe), default=str))
    sharding = sharding_of(recipe)
    about = {"recipe": plain, "data": data, "world_size": world_size, "versions": versions}
    return about if sharding is None else {**about, "sharding": sharding.name}


def differences(was: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What makes a run another one than that of a manifest: lines `key: was -> is`, without what may change.

    `trainer.max_steps` may change where the learning rate does not depend on it. A data file may have another path
    as long as its contents are the same.
    """
    if not all(isinstance(was.get(part), dict) for part in ("recipe", "data")):
        return [f"what run it is of: unknown, for its {MANIFEST} says nothing of recipe and data"]
    old, new = _flat(was["recipe"]), _flat(now["recipe"])
    free = MAY_CHANGE | set(now["data"])
    if old.get("data.feature_cache") and new.get("data.feature_cache"):
        free.add("data.feature_cache")  # its entries know what they are of, wherever they are
    if now["recipe"]["trainer"]["schedule"] in ENDLESS:
        free.add("trainer.max_steps")
    defaults = _defaults()
    lines = []
    for key in dict.fromkeys((*old, *new)):
        before, after = (part.get(key, defaults.get(key)) for part in (old, new))
        if key not in free and before != after and not key.startswith("scoring."):  # which changes nothing
            lines.append(f"{key}: {_short(before)} -> {_short(after)}")
    for key in dict.fromkeys((*was["data"], *now["data"])):
        before, after = was["data"].get(key), now["data"].get(key)
        if before is not None and after is not None and before != after:
            lines.append(f"{key}: {old.get(key)} (SHA-256 {before[:12]}…) -> {new.get(key)} ({after[:12]}…)")
    if was["world_size"] != now["world_size"]:
        lines.append(f"processes: {was['world_size']} -> {now['world_size']}")
    return lines


def _refuse(checkpoint: Path, lines: list[str], force: bool) -> None:
    """Say what differs. Raises ValueError unless there is force."""
    if not lines:
        return
    if not force:
        raise ValueError(
            f"{checkpoint} is of another run: {'; '.join(lines)}. Take the change back, name another "
            "trainer.output_dir, or go on all the same with --force (trainer.force=true)."
        )
    for line in lines:
        logger.warning("--force: %s differs from the run of %s", line, checkpoint)


def _flat(values: Any, key: str = "") -> dict[str, Any]:
    """Nested mappings and lists as one mapping with keys such as `data.sources[0].weight`."""
    if isinstance(values, dict):
        inner = [_flat(value, f"{key}.{name}" if key else str(name)) for name, value in values.items()]
    elif isinstance(values, list) and any(isinstance(value, dict | list) for value in values):
        inner = [_flat(value, f"{key}[{number}]") for number, value in enumerate(values)]
    else:
        return {key: values}
    return {name: value for part in inner for name, value in part.items()}


def _defaults() -> dict[str, Any]:
    """The defaults of a recipe's keys: a manifest that was written before a key existed meant its default."""
    found = {}
    for name, section in typing.get_type_hints(Recipe).items():
        for field in dataclasses.fields(section):
            if field.default is not dataclasses.MISSING:
                found[f"{name}.{field.name}"] = field.default
            elif field.default_factory is not dataclasses.MISSING:
                found |= _flat(field.default_factory(), f"{name}.{field.name}")
    return found


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "…"


def _versions(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items()) or "unknown versions"


def _first_decides(decide: Callable[[], T]) -> T:
    """The first process' answer, or its ValueError or OSError, in every process."""
    answer: list[Any] = [None, None]
    if accelerate.PartialState().is_main_process:
        try:
            answer[0] = decide()
        except (ValueError, OSError) as error:
            answer[1] = error
    broadcast_object_list(answer, from_process=0)
    if answer[1] is not None:
        raise answer[1]
    return answer[0]
