"""The part of the trainer that looks on: scores, the best checkpoint, pace, curves. What is learnt is not its affair."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer
from transformers.integrations import TensorBoardCallback

from training.checkpoints import problem
from training.history import PREFIX, best_line, is_scored
from training.pace import Pace, split_line
from training.report import Report
from training.scoring import RanOut, ScoreOnTime, Scoring

logger = logging.getLogger("samvlm.training")


class ScoredTrainer(Trainer):
    """A Trainer that scores, measures and draws. The class below it has `recipe`, `objective` and `signals`."""

    def look_on(self) -> None:
        """Set up what looks on; the last thing that a trainer's construction does."""
        args, scoring = self.args, self.recipe.scoring
        folder = Path(args.output_dir)
        self.scoring: Scoring | None = None
        self._result_step: int | None = None
        if scoring.data is not None and self.sharding is not None and self.sharding.weights:
            raise ValueError(
                f"scoring.data={scoring.data}: with {self.sharding.name} no process has the whole model, so that none "
                "can be scored while it trains; leave scoring.data out and score the checkpoints with samvlm eval, or "
                "spread less (trainer.deepspeed=zero2)."
            )
        if scoring.data is not None:
            self.scoring = Scoring(scoring, folder, args.process_index, args.world_size)
            self.add_callback(ScoreOnTime(self))
        dtype = getattr(torch, self.recipe.model.dtype)
        self.pace = Pace(self.objective.core, args.device, dtype, args.world_size)
        self.report = Report(self, folder)
        if scoring.report:
            self.add_callback(self.report)
        for callback in self.callback_handler.callbacks:
            if isinstance(callback, TensorBoardCallback) and callback.logging_dir is None:
                callback.logging_dir = str(
                    folder / "tensorboard"
                )  # one run there, however often it is resumed

    @property
    def result_step(self) -> int:
        """The step whose weights the model has."""
        return self.state.global_step if self._result_step is None else self._result_step

    def evaluate(self, *args, **kwargs) -> dict[str, float]:
        """Score the model on the held-out examples."""
        with self.pace.paused():
            figures = self.scoring.score(self)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, figures)
        return figures

    @property
    def owes_scores(self) -> bool:
        """Whether the step has no scores yet, though it is one that should have."""
        step, every = self.state.global_step, self.recipe.scoring.every
        due = self.scoring is not None and (step % every == 0 or step >= self.recipe.trainer.max_steps)
        return due and not is_scored(self.state.log_history, step)

    def score_if_missing(self) -> None:
        """Score the model where its step has no scores yet, though it is one that should have."""
        if self.owes_scores:
            self.evaluate()
            if self.signals.agreed() is not None:
                self.signals.end_deferral()

    def get_batch_samples(self, *args, **kwargs) -> Any:
        """The batches of a step; waiting for them is measured."""
        with self.pace.waiting():
            return super().get_batch_samples(*args, **kwargs)

    def log(self, logs: dict[str, float], *args, **kwargs) -> None:
        """Add the pace to a line of losses, but not to its record, which a resumed run repeats bit for bit."""
        if "loss" not in logs:
            super().log(logs, *args, **kwargs)
            return
        super().log(logs | self.pace.figures(), *args, **kwargs)
        split_line(self.state.log_history)

    @contextlib.contextmanager
    def drawing(self) -> Iterator[None]:
        """Within this context a stage trains; however it ends, its curves are drawn to the end."""
        self.pace.begin()
        try:
            with contextlib.suppress(RanOut):
                yield
        finally:
            if self.recipe.scoring.report:
                self.report.draw()

    def take_best(self) -> None:
        """Take the weights of the best checkpoint, where the recipe says that it is the stage's result."""
        scoring, step = self.recipe.scoring, self.state.global_step
        best = best_line(self.state.log_history, scoring.metric)
        if best is None or not scoring.keep_best or best["step"] == step:
            return
        folder = Path(self.args.output_dir) / f"checkpoint-{best['step']}"
        reason = problem(folder) if folder.is_dir() else "it is not there"
        if reason is not None:
            logger.warning("the result is step %d, not the best, %s: %s", step, folder.name, reason)
            return
        self._load_from_checkpoint(str(folder))
        self._result_step = best["step"]
        told = (scoring.metric, best[PREFIX + scoring.metric], best["step"], step)
        logger.info("the best %s was %.4f, at step %d: that is the result, not step %d", *told)
