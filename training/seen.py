"""What a stage has behind it, however often it was cut off and resumed."""

import time

import torch.distributed as dist
from transformers import TrainerCallback

from training.intake import Intake


class Seen(TrainerCallback):
    """Counts samples drawn and refused, and seconds, over all runs of a stage.

    Args:
        intake: counts the samples of this run.
    """

    def __init__(self, intake: Intake):
        self.intake = intake
        self.before = {"drawn": 0, "refused": 0, "seconds": 0.0}
        self.since: float | None = None
        self.everybody: dict[str, float] | None = None

    def on_train_begin(self, args, state, control, **kwargs):
        """Start the clock."""
        self.since = time.monotonic()

    def total(self) -> dict[str, float]:
        """Of this process."""
        run = 0.0 if self.since is None else time.monotonic() - self.since
        now = {"drawn": self.intake.drawn, "refused": self.intake.refused, "seconds": run}
        return {name: self.before[name] + value for name, value in now.items()}

    def recall(self, saved: dict[str, float] | None) -> None:
        """Go on counting from what `total` was when a checkpoint was written."""
        self.before |= saved or {}

    def gather(self) -> None:
        """Add up all processes; they ask together."""
        parts = [self.total()]
        if dist.is_initialized() and dist.get_world_size() > 1:
            parts = [None] * dist.get_world_size()
            dist.all_gather_object(parts, self.total())
        self.everybody = {name: sum(part[name] for part in parts) for name in ("drawn", "refused")}
        self.everybody["seconds"] = max(part["seconds"] for part in parts)
