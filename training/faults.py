"""Steps that must not be taken: a loss or gradient that is no finite number; and losses that leap."""

import json
import logging
import math
import statistics
from collections import deque
from collections.abc import Iterable
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from training.shards import first_of_any, is_sharded, part_here

logger = logging.getLogger("samvlm.training")
SPIKE, WINDOW, LEAST = (
    8.0,
    200,
    50,
)  # median deviations above the median of so many losses, judged from so many on


class TrainingStopped(RuntimeError):
    """A run that cannot go on. The message is for the user: what, where, remedy."""


class StepGuard:
    """Judges every optimizer step before it is taken.

    Args:
        folder: `bad_steps.jsonl` and `spikes.jsonl` are written there: step, loss, gradient's norm, sample ids.
        most: bad steps in a row that end the run.
        rank, world: this process of how many; a step that is bad for one is taken by none.
    """

    def __init__(self, folder: Path, most: int, rank: int = 0, world: int = 1):
        self.folder, self.most, self.rank, self.world = folder, most, rank, world
        self.ids: list[str] = []
        self.losses: list[torch.Tensor] = []
        self.recent: deque[float] = deque(maxlen=WINDOW)
        self.in_a_row = 0

    def begin(self) -> None:
        """A new optimizer step, or one that starts again."""
        self.ids, self.losses = [], []

    def add(self, ids: Iterable[str], loss: torch.Tensor) -> None:
        """Take note of a micro-batch."""
        self.ids += ids
        self.losses.append(loss.detach())

    def judge(self, step: int, norm: float | torch.Tensor | None) -> bool:
        """Whether step number `step` may be taken. Raises TrainingStopped after too many that may not."""
        loss = float(torch.stack(self.losses).float().mean()) if self.losses else 0.0
        norm = 0.0 if norm is None else float(norm)
        mine = math.isfinite(loss) and math.isfinite(norm)
        good = self._all(mine)
        if good:
            self.in_a_row = 0
            self._watch(step, loss, norm)
        else:
            self.in_a_row += 1
            self._write("bad_steps", step, loss, norm)
            logger.warning(
                "step %d was not taken: loss %g, gradient's norm %g, on %s", step, loss, norm, self._told()
            )
        self.begin()
        if self.in_a_row >= self.most:
            raise TrainingStopped(
                f"the loss or its gradient was no finite number {self.in_a_row} steps in a row (trainer.max_bad_steps), "
                f"the last is step {step} with loss {loss:g} and norm {norm:g}: none of them was taken, and their "
                f"samples stand in {self.folder / 'bad_steps.jsonl'}; lower trainer.learning_rate or raise "
                "trainer.warmup_steps, and go on with --resume auto"
            )
        return good

    def _all(self, good: bool) -> bool:
        if self.world == 1:
            return good
        votes: list[bool | None] = [None] * self.world
        dist.all_gather_object(votes, good)
        return all(votes)

    def _watch(self, step: int, loss: float, norm: float) -> None:
        """Tell of a loss far above those before it; it is trained on all the same."""
        if len(self.recent) >= LEAST:
            middle = statistics.median(self.recent)
            spread = statistics.median(abs(value - middle) for value in self.recent)
            if loss > middle + SPIKE * max(spread, 0.01 * abs(middle)):
                self._write("spikes", step, loss, norm)
                logger.warning("step %d: loss %.3g leaps from %.3g, on %s", step, loss, middle, self._told())
        self.recent.append(loss)

    def _told(self) -> str:
        return ", ".join(self.ids[:4]) + (f" and {len(self.ids) - 4} more" if len(self.ids) > 4 else "")

    def _write(self, name: str, step: int, loss: float, norm: float) -> None:
        name = f"{name}.jsonl" if self.rank == 0 else f"{name}.rank{self.rank}.jsonl"
        self.folder.mkdir(parents=True, exist_ok=True)
        line = {"step": step, "loss": str(loss), "grad_norm": str(norm), "samples": self.ids}
        with (self.folder / name).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def require_finite(model: nn.Module) -> None:
    """Raise TrainingStopped, naming the first, if a weight that trains is no finite number: it must not be saved.
    Where processes have parts of the weights, all of them ask together."""
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    mine = next(
        (name for name, weight in trained.items() if not torch.isfinite(part_here(weight)).all()), None
    )
    name = first_of_any(mine, any(map(is_sharded, trained.values())))
    if name is not None:
        raise TrainingStopped(
            f"the weight {name} holds numbers that are not finite: nothing was saved; go on from the last checkpoint "
            "with --resume auto and a lower trainer.learning_rate"
        )


def said_by_a_worker(error: RuntimeError) -> str | None:
    """A user's words for a data worker that died or hangs, None for other errors."""
    text = str(error)
    if "DataLoader worker" in text and ("exited unexpectedly" in text or "is killed by signal" in text):
        return (
            "a process that loads samples died, most often for want of memory (or of shared memory: docker run "
            "--shm-size=8g); lower data.workers, and go on with --resume auto"
        )
    if "DataLoader timed out" in text:
        return (
            "a process that loads samples gave none for data.worker_timeout seconds: a file system that hangs, or "
            "images that take too long; raise data.worker_timeout or set data.workers=0, and go on with --resume auto"
        )
    return None
