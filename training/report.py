"""curves.png and report.html in a stage's folder: drawn while it trains, so that they are there however it ends."""

import logging
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from samvlm.data.whole_files import whole_file
from training.curves import draw_curves
from training.report_page import report_page, short_name

logger = logging.getLogger("samvlm.training")

CURVES, PAGE = "curves.png", "report.html"
REST = 20.0  # times as long as drawing took, it is not done again: a twentieth of the time at most


class Report(TrainerCallback):
    """Draws with each scoring and each checkpoint, if it has not just drawn, and at the end.

    Args:
        trainer: of the stage.
        folder: of the stage.
    """

    def __init__(self, trainer: Any, folder: Path):
        self.trainer, self.folder = trainer, folder
        self.again = 0.0  # not before
        self.broken = False

    def on_evaluate(self, args, state, control, **kwargs):
        """There are new scores."""
        self.draw_if_rested()

    def on_save(self, args, state, control, **kwargs):
        """A checkpoint has been written."""
        self.draw_if_rested()

    def draw_if_rested(self) -> None:
        """Draw, but not all the time."""
        if time.monotonic() >= self.again:
            with self.trainer.pace.paused():
                self.draw()

    def draw(self) -> None:
        """Draw both. What goes wrong here is said once, and costs the run nothing."""
        if self.broken or not self.trainer.is_world_process_zero() or not self.trainer.state.log_history:
            return
        start = time.monotonic()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            state, recipe = self.trainer.state, self.trainer.recipe
            title = f"{short_name(self.folder)}: step {state.global_step:,} of {state.max_steps:,}"
            picture = draw_curves(state.log_history, title, recipe.scoring.metric)
            with whole_file(self.folder / CURVES) as stream:
                stream.write(picture)
            if self.trainer.scoring is not None:
                self.trainer.scoring.recall()
            page = report_page(self.trainer, self.folder, picture)
            with whole_file(self.folder / PAGE) as stream:
                stream.write(page.encode("utf-8", "replace"))
        except ImportError:
            self.broken = True
            logger.warning("%s and %s are not drawn: pip install matplotlib", CURVES, PAGE)
        except Exception:  # a picture is no reason to lose a run
            self.broken = True
            logger.exception("%s and %s cannot be drawn", CURVES, PAGE)
        now = time.monotonic()
        self.again = now + REST * (now - start)
