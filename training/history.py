"""What the log of a run says of its scores: the best, and how long ago that was.

All of it is read from the log's lines (`TrainerState.log_history`), which every checkpoint holds: a resumed run knows
what the unbroken one knows, and there is no other state to lose.
"""

import json
from pathlib import Path
from typing import Any

from samvlm.evaluation.scores import LOWER_IS_BETTER
from training.scoring_recipe import ScoringRecipe

Line = dict[str, Any]
PREFIX = "eval_"  # of scores, as transformers' reports expect it
BEST_STEP = PREFIX + "best_step"
IDENTITY = "scoring"  # key of a line that says on what the scores behind it were made, and how


def score_lines(history: list[Line]) -> list[Line]:
    """The lines with scores that can be compared: those behind the last change of what is scored."""
    starts = [number for number, line in enumerate(history) if IDENTITY in line]
    return [line for line in history[starts[-1] if starts else 0 :] if BEST_STEP in line]


def best_line(history: list[Line], metric: str) -> Line | None:
    """The line of the best score, of equals the first; None where there is none."""
    name, sign = PREFIX + metric, -1 if metric in LOWER_IS_BETTER else 1
    return max(
        (line for line in score_lines(history) if name in line),
        key=lambda line: (sign * line[name], -line["step"]),
        default=None,
    )


def scorings_since_best(history: list[Line], metric: str) -> int:
    """How many scorings in a row have brought nothing better."""
    best = best_line(history, metric)
    return sum(line["step"] > best["step"] for line in score_lines(history)) if best else 0


def is_scored(history: list[Line], step: int) -> bool:
    """Whether a step has its scores."""
    return any(line["step"] == step for line in score_lines(history))


def has_run_out(history: list[Line], scoring: ScoringRecipe) -> bool:
    """Whether a stage has ended because it got no better."""
    if scoring.data is None or scoring.patience is None:
        return False
    return scorings_since_best(history, scoring.metric) >= scoring.patience


def history_of(checkpoint: Path) -> list[Line]:
    """The log in a checkpoint."""
    return json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))["log_history"]
