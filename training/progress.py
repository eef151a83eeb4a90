"""What a run says while it runs: a readable line of figures every few steps, and a bar on terminals."""

import logging
import math
import sys
import time
from datetime import timedelta

from tqdm import tqdm
from transformers import TrainerCallback

logger = logging.getLogger("samvlm.training")
LAST = ("learning_rate", "grad_norm")  # these stand behind the losses
FAULTS = ("refused", "without_labels", "bad_steps")  # unsaid where there are none
UNSAID = ("epoch", "step", "total_flos", "train_loss", "train_samples_per_second", "train_steps_per_second")


class Progress(TrainerCallback):
    """Logs lines such as `step 40/80  50%  loss 2.441  dense_accuracy 0.41  …  1.2 s a step  0:00:48 left`."""

    def __init__(self):
        self.bar: tqdm | None = None
        self.started, self.first_step = time.monotonic(), 0

    def on_train_begin(self, args, state, control, **kwargs):
        """Start the clock."""
        self.started, self.first_step = time.monotonic(), state.global_step
        if state.is_world_process_zero and sys.stderr.isatty():
            self.bar = tqdm(total=state.max_steps, initial=state.global_step, unit="step", leave=False)

    def on_step_end(self, args, state, control, **kwargs):
        """Move the bar."""
        if self.bar is not None:
            self.bar.update(state.global_step - self.bar.n)

    def on_log(self, args, state, control, logs=None, **kwargs):
        """Write the line."""
        if not state.is_world_process_zero or not logs or "loss" not in logs:
            return
        line = self.line(state.global_step, state.max_steps, logs)
        if self.bar is None:
            logger.info(line)
        else:
            self.bar.write(line, file=sys.stderr)

    def on_train_end(self, args, state, control, **kwargs):
        """Take the bar away."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def line(self, step: int, max_steps: int, logs: dict[str, float]) -> str:
        """The figures of a step as text."""
        pace = (time.monotonic() - self.started) / max(1, step - self.first_step)  # seconds a step
        left = timedelta(seconds=round(pace * (max_steps - step)))
        names = [
            name for name in logs if name not in (*LAST, *UNSAID) and (logs[name] or name not in FAULTS)
        ] + [n for n in LAST if n in logs]
        figures = "  ".join(f"{name} {_short(float(logs[name]))}" for name in names)
        return (
            f"step {step}/{max_steps}  {step / max_steps:4.0%}  {figures}  {pace:.2f} s a step  {left} left"
        )


def _short(value: float) -> str:
    """Four digits; exponents only for small numbers."""
    if value and math.isfinite(value) and abs(value) < 1e-3:
        return f"{value:.2e}"
    return f"{value:.4g}"
