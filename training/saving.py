"""Saving while training: aside, checked and renamed (training/checkpoints.py); a full disk costs the save, not the run."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors import SafetensorError
from torch import nn
from transformers import Trainer

from training.checkpoints import (
    PARTIAL,
    RESULT,
    best_of,
    checkpoints_in,
    finish,
    missing_state,
    publish,
    read_manifest,
    rotate,
    seal,
)

logger = logging.getLogger("samvlm.training")

SPARE = 1.05  # of the expected size of a checkpoint has to be free
FIGURES = "figures_{rank}.json"  # what has been recorded since the last line of the log


class Saver:
    """Writes the checkpoints and the result of one stage.

    Args:
        folder: of the stage.
        about: what the manifests say of the run (see training/resume.py).
        keep: checkpoints that stay.
    """

    def __init__(self, folder: Path, about: dict[str, Any], keep: int):
        self.folder, self.about, self.keep = folder, about, keep
        self.aside: Path | None = None  # where the Trainer writes now
        self.failed: str | None = None  # why the last save failed

    def save(self, trainer: Trainer, write: Callable[[], None]) -> None:
        """Let every process write its part of `checkpoint-N`, then give it its name. What a full disk, or another
        fault of the disk, does not let be saved is logged: the checkpoints that are there stay, and the run goes on.

        Args:
            write: writes everything to `checkpoint-N` below `aside`.
        """
        name, first = f"checkpoint-{trainer.state.global_step}", trainer.is_world_process_zero()
        self.aside = self.folder / (name + PARTIAL)
        inner = self.aside / name

        def begin() -> None:
            shutil.rmtree(self.aside, ignore_errors=True)
            self.check_room(trainer.model, name)
            inner.mkdir(parents=True)

        def write_part() -> None:
            write()
            (inner / FIGURES.format(rank=trainer.args.process_index)).write_text(recorded(trainer))

        def end() -> None:
            # The arguments are a pickle, which nobody should load, and the manifest has the recipe.
            (inner / "training_args.bin").unlink(missing_ok=True)
            names = {path.relative_to(inner).as_posix() for path in inner.rglob("*") if path.is_file()}
            missing = missing_state(names, trainer.args.world_size)
            if missing is not None:
                raise OSError(f"{missing} was not written: do all processes share {self.folder}?")
            seal(inner, step=trainer.state.global_step, **self.about)
            finish(inner, self.folder / name)

        # A process that fails tells the others, which would wait for it for ever.
        parts = ((begin, first), (write_part, True), (end, first))
        self.failed = next((error for part, mine in parts if (error := together(part, mine))), None)
        self.aside, aside = None, self.aside
        if first:
            shutil.rmtree(aside, ignore_errors=True)
            if self.failed is None:
                saved = self.folder / name
                try:
                    rotate(self.folder, self.keep, {saved, *best_of(saved)})
                except OSError as error:
                    logger.warning("an old checkpoint stays: %s", error)
            else:
                logger.error("%s was not saved: %s. %s", name, self.failed, self.what_is_left())

    def check_room(self, model: nn.Module, name: str) -> None:
        """Raises OSError where the disk has no room for another checkpoint."""
        wanted = SPARE * expected_bytes(self.folder, model)
        free = shutil.disk_usage(self.folder).free
        if free < wanted:
            raise OSError(f"{name} takes about {wanted / 1e6:,.0f} MB, and {free / 1e6:,.0f} MB are free")

    def what_is_left(self) -> str:
        """The checkpoint that a run can go on from, as a sentence."""
        present = checkpoints_in(self.folder)
        return f"The last is {present[-1]}" if present else f"There is none in {self.folder}"

    def save_result(self, write: Callable[[Path], None], step: int) -> None:
        """Write a stage's result aside, then move its files to the stage's folder."""
        partial = self.folder / RESULT
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        write(partial)
        seal(partial, step=step, **self.about)
        publish(partial, self.folder)


def together(part: Callable[[], None], mine: bool = True) -> str | None:
    """Do a part of a save in the processes whose it is. Returns in all of them what failed in one, or None."""
    error = None
    if mine:
        try:
            part()
        except (OSError, SafetensorError, RuntimeError) as fault:
            error = disk_fault(fault)
            if error is None:
                raise
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return error
    errors = [None] * dist.get_world_size()
    dist.all_gather_object(errors, error)
    return next((error for error in errors if error), None)


def disk_fault(fault: Exception) -> str | None:
    """What went wrong where writing failed; None where what was to be written was at fault."""
    if not isinstance(fault, RuntimeError):
        return str(fault).splitlines()[0] if str(fault) else type(fault).__name__
    writer = ("PytorchStreamWriter", "unexpected pos", "file write failed")  # torch tells no more
    if any(word in str(fault) for word in writer):
        return "the disk took a file in part only; it is full, or there is a limit on files"
    return None


def expected_bytes(folder: Path, model: nn.Module) -> int:
    """The size of the next checkpoint: as the last one in `folder`, or what model and optimizer will take, in bytes."""
    for path in reversed(checkpoints_in(folder)):
        try:
            return sum(entry["size"] for entry in read_manifest(path)["files"].values())
        except (OSError, ValueError, KeyError, TypeError):
            continue
    parameters = [p for p in model.parameters() if p.requires_grad or not hasattr(model, "peft_config")]
    trained = [p for p in parameters if p.requires_grad]
    weights = sum(p.numel() * p.element_size() for p in parameters)
    # Two moments in fp32, and an fp32 copy of what is not.
    return weights + sum(p.numel() * (8 if p.element_size() == 4 else 12) for p in trained)


def recorded(trainer: Trainer) -> str:
    """What a process has recorded since the last line of its log, as JSON; a resumed run's next line is then whole."""
    figures = {}
    for name, values in trainer.figures.items():
        figures[name] = {
            "cpu": all(value.is_cpu for value in values),
            "values": [float(value) for value in values],
        }
    loss, since = float(trainer._tr_loss), trainer._globalstep_last_logged
    return json.dumps({"loss": loss, "since": since, "figures": figures, "seen": trainer.seen.total()})


def recalled(trainer: Trainer, checkpoint: Path) -> dict[str, Any] | None:
    """What was `recorded` in a checkpoint, whose count of samples goes on; None where this process was not there."""
    path = checkpoint / FIGURES.format(rank=trainer.args.process_index)
    if not path.is_file():  # more processes than there were
        return None
    saved = json.loads(path.read_text(encoding="utf-8"))
    trainer.seen.recall(saved.get("seen"))
    return saved


def recall(trainer: Trainer, checkpoint: Path) -> None:
    """Take up what was recorded before a checkpoint, but save and log as this run's recipe says."""
    trainer.state.compute_steps(trainer.args, trainer.state.max_steps)
    saved = recalled(trainer, checkpoint)
    if saved is None:
        return
    trainer._tr_loss.fill_(saved["loss"])
    trainer._globalstep_last_logged = saved["since"]
    trainer.figures.clear()
    for name, figure in saved["figures"].items():
        device = "cpu" if figure["cpu"] else trainer.args.device
        trainer.figures[name] = [torch.tensor(value, device=device) for value in figure["values"]]
