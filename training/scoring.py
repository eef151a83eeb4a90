"""Scores while a stage trains: its model reads held-out examples, as `samvlm eval` would have it read them.

What is learnt stays the same, bit for bit. With several processes each reads its share of the examples.
"""

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch.distributed as dist
from transformers import TrainerCallback

from samvlm.data.tables import Table
from samvlm.data.whole_files import whole_file
from samvlm.evaluation.cases import Case
from samvlm.evaluation.examples import Example
from samvlm.evaluation.predictions import Prediction
from samvlm.evaluation.predictors import ModelPredictor, lacks_memory
from samvlm.evaluation.scores import OF_TASK, make_examples, summarise
from samvlm.generation import DocumentParser
from samvlm.metrics import cer
from training.held_out import CER_OF_TABLES, open_held_out
from training.history import BEST_STEP, IDENTITY, PREFIX, best_line, has_run_out
from training.scoring_recipe import ScoringRecipe
from training.signals import Interrupted
from training.untouched import untouched, unwatched

logger = logging.getLogger("samvlm.training")
SCORES = ("teds_normalised", "teds_struct_normalised", "cer", "exact_match", "anls")  # and the recipe's own
FILE = "held_out.jsonl"  # what the last scoring read, in the stage's folder
RECALLED = ("id", "html", "text", "finish_reason", "error")  # of its lines
NAME = "<the model in training>"


class Scoring:
    """Scores the model of a stage on its held-out examples.

    Args:
        recipe: the section `scoring`; with `data`.
        folder: of the stage.
        rank, world: this process of how many.
    """

    def __init__(self, recipe: ScoringRecipe, folder: Path, rank: int = 0, world: int = 1):
        self.recipe, self.folder, self.rank, self.world = recipe, folder, rank, world
        self.benchmark = open_held_out(recipe)
        self.names = tuple(dict.fromkeys((recipe.metric, *SCORES)))
        self.predictor: ModelPredictor | None = None
        self.examples: list[Example] = []  # of the last scoring
        self.summary: dict[str, Any] = {}
        self.identity = {
            "metric": recipe.metric,
            "data": self.benchmark.identity(),
            "max_new_tokens": recipe.max_new_tokens,
        }

    @property
    def told(self) -> str:
        """The held-out examples in words."""
        cases, path = self.benchmark.cases, self.benchmark.path
        drawn = f", seed {self.recipe.seed}" if self.benchmark.name == "synth" else ""
        return f"{path or self.benchmark.name} ({len(cases)} examples{drawn})"

    def score(self, trainer: Any) -> dict[str, float]:
        """Score the model of a trainer as it is now: log the scores, and let its `control` save or stop.

        Returns the figures as they are logged; {} where there are none: the run goes on without.
        """
        start, step, state = time.monotonic(), trainer.state.global_step, trainer.state
        examples = self._read_all(trainer)
        if (
            trainer.signals.agreed() is not None
        ):  # the checkpoint that follows has no scores: who goes on makes them
            trainer.control.should_save = trainer.control.should_training_stop = True
            return {}
        if examples is None:
            logger.error("step %d has no scores; training goes on", step)
            return {}
        self.examples, self.summary = examples, summarise(examples)
        figures = {PREFIX + name: round(found["mean"], 6) for name, found in self.summary["metrics"].items()}
        figures |= {PREFIX + name: rate for name, rate in self.summary["rates"].items()}
        self._announce(state.log_history, step)
        before = best_line(state.log_history, self.recipe.metric)
        line = {**figures, BEST_STEP: step, "step": step}
        is_best = best_line([*state.log_history, line], self.recipe.metric) == line
        figures[BEST_STEP] = step if is_best else before["step"]
        figures[PREFIX + "seconds"] = round(time.monotonic() - start, 2)
        trainer.log(figures)
        if is_best and self.recipe.keep_best:
            trainer.control.should_save = True
        if has_run_out(state.log_history, self.recipe):
            trainer.control.should_save = trainer.control.should_training_stop = True
            logger.info(
                "%s has been no better than at step %d for %d scorings: the stage ends here (scoring.patience)",
                self.recipe.metric, figures[BEST_STEP], self.recipe.patience,
            )  # fmt: skip
        if self.rank == 0:
            self._write()
        return figures

    def predict(
        self, trainer: Any, cases: Sequence[Case], max_new_tokens: int | None = None
    ) -> list[Prediction]:
        """Let the model of a trainer read cases; what is wrong with one is its `error`. In the order of the cases."""
        core = trainer.objective.core
        if self.predictor is None:
            parser = DocumentParser(core, trainer.processor)
            self.predictor = ModelPredictor(parser, NAME, self.recipe.batch_size)
        self.predictor.max_new_tokens = max_new_tokens or self.recipe.max_new_tokens
        with untouched(core, trainer.args.device), unwatched(trainer.objective):
            core.eval()
            made = {prediction.id: prediction for prediction in self.predictor.predict(cases)}
        return [made[case.id] for case in cases]

    def compare(self, cases: Sequence[Case], predictions: Sequence[Prediction]) -> list[Example]:
        """The examples with their scores."""
        names = [name for name in self.names if any(name in known for known in OF_TASK.values())]
        examples = make_examples(cases, predictions, names)
        for case, example in zip(cases, examples, strict=True):
            if case.task == "table" and not case.structure_only:
                example.scores[CER_OF_TABLES] = cer_of_table(example)
        return examples

    def _read_all(self, trainer: Any) -> list[Example] | None:
        """The examples of all processes, in the order of the cases; None where one process has none."""
        cases = self.benchmark.cases
        try:
            with trainer.signals.at_once():
                mine = cases[self.rank :: self.world]
                part = self.compare(mine, self.predict(trainer, mine)) if mine else []
        except Interrupted:
            part = None
        except Exception:  # whatever it is, training has nothing to do with it
            logger.exception("scoring failed")
            part = None
        if part is not None and (starved := [e for e in part if e.error and is_about_memory(e.error)]):
            logger.error("no memory to read %d held-out examples: lower scoring.batch_size", len(starved))
            part = None  # scores without them would be of other examples
        parts = [part]
        if self.world > 1:
            sent = None if part is None else [replace(example, image=None) for example in part]
            parts = [None] * self.world
            dist.all_gather_object(parts, sent)
        if any(part is None for part in parts):
            return None
        found = {example.id: example for part in parts for example in part}
        return [
            replace(found[case.id], image=case.open if case.image is not None else None) for case in cases
        ]

    def _announce(self, history: list[dict[str, Any]], step: int) -> None:
        """Note in the log on what the scores behind this line are made, where it is not what it was."""
        last = next((line[IDENTITY] for line in reversed(history) if IDENTITY in line), None)
        if last == self.identity:
            return
        if last is not None:
            logger.warning("the held-out examples or scoring.metric have changed: the best score starts anew")
        history.append({IDENTITY: self.identity, "step": step})

    def _write(self) -> None:
        """Keep what was read: a line of JSON for each example."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with whole_file(self.folder / FILE) as stream:
                for example in self.examples:
                    row = {
                        "id": example.id,
                        "html": example.prediction_html,
                        "text": example.prediction_text,
                        "scores": example.scores,
                        "finish_reason": example.finish_reason,
                        "error": example.error,
                    }
                    stream.write((json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8", "replace"))
        except OSError as error:
            logger.warning("%s was not written: %s", self.folder / FILE, error)

    def recall(self) -> None:
        """Take up what the last scoring of a run that this one goes on with has read, if this one has read nothing."""
        path, known = self.folder / FILE, {}
        if self.examples or not path.is_file():
            return
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                row = json.loads(line)
                known[row["id"]] = Prediction(**{key: row[key] for key in RECALLED})
            except (ValueError, KeyError, TypeError):  # torn
                continue
        if all(case.id in known for case in self.benchmark.cases):
            cases = self.benchmark.cases
            self.examples = self.compare(cases, [known[case.id] for case in cases])
            self.summary = summarise(self.examples)


class RanOut(Exception):
    """A stage that goes on turns out to have ended."""


class ScoreOnTime(TrainerCallback):
    """Asks for scores every so many steps, behind the last, and where a run was cut off before it had made them."""

    def __init__(self, trainer: Any):
        self.trainer, self.every = trainer, trainer.recipe.scoring.every

    def on_train_begin(self, args, state, control, **kwargs):
        """A run that goes on owes the scores of the step at which it was cut off."""
        if state.global_step:
            self.trainer.score_if_missing()
            if has_run_out(state.log_history, self.trainer.recipe.scoring):
                raise RanOut

    def on_step_end(self, args, state, control, **kwargs):
        """Ask, unless a signal wants the run to end at once."""
        due = state.global_step % self.every == 0 or state.global_step >= state.max_steps
        control.should_evaluate = due and self.trainer.signals.received is None


def cer_of_table(example: Example) -> float:
    """Character error rate of a table's texts, cell by cell in reading order; structure takes no part."""
    if example.finish_reason == "error":
        return 1.0
    return cer(texts_of(example.prediction_html), texts_of(example.truth_html))


def texts_of(html: str) -> str:
    """The texts of a table's cells, a line each, empty cells left out; "" where there is no table."""
    try:
        return "\n".join(cell.text for cell in Table.from_html(html).cells if cell.text) if html else ""
    except ValueError:
        return ""


def is_about_memory(told: str) -> bool:
    """Whether an error's text says that memory was short."""
    return lacks_memory(RuntimeError(told)) or "memoryerror" in told.lower()
