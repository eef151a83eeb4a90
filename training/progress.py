"""What a run says while it runs: a readable line of figures every few steps, and a bar on terminals."""

import logging
import math
import sys
import time
from datetime import timedelta

from tqdm import tqdm
from transformers import TrainerCallback

from training.history import BEST_STEP, PREFIX
from training.pace import NAMES

logger = logging.getLogger("samvlm.training")
RATES = ("truncated", "errors", "empty", "valid")  # unsaid where they are 0
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
        if not state.is_world_process_zero or not logs or not ("loss" in logs or BEST_STEP in logs):
            return
        write = self.line if "loss" in logs else self.scores
        line = write(state.global_step, state.max_steps, logs)
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
            name
            for name in logs
            if name not in (*LAST, *UNSAID, *NAMES) and (logs[name] or name not in FAULTS)
        ] + [n for n in LAST if n in logs]
        figures = "  ".join(f"{name} {_short(float(logs[name]))}" for name in names)
        start = f"step {step}/{max_steps}  {step / max_steps:4.0%}  {figures}  {pace:.2f} s a step"
        if "mfu" in logs:
            start += f"  {logs['tokens_per_second']:,.0f} tokens/s  MFU {logs['mfu']:.1%}"
            start += f"  {logs['data_wait']:.0%} waiting for data" if logs["data_wait"] > 0.05 else ""
        return f"{start}  {left} left"

    def scores(self, step: int, max_steps: int, logs: dict[str, float]) -> str:
        """The scores of a step as text."""
        figures = {
            name.removeprefix(PREFIX): value for name, value in logs.items() if name.startswith(PREFIX)
        }
        seconds, best = figures.pop("seconds", None), figures.pop("best_step")
        told = "  ".join(
            f"{name} {_short(value)}" for name, value in figures.items() if value or name not in RATES
        )
        when = "the best so far" if best == step else f"the best was step {best}"
        return f"step {step}/{max_steps}  held out: {told}  ({when}" + (
            f"; {seconds:.1f} s)" if seconds else ")"
        )


def _short(value: float) -> str:
    """Four digits; exponents only for small numbers."""
    if value and math.isfinite(value) and abs(value) < 1e-3:
        return f"{value:.2e}"
    return f"{value:.4g}"
