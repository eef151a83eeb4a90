"""The section `scoring` of a recipe: what is read while a stage trains, and what its scores decide."""

from dataclasses import dataclass, field
from typing import Any

from samvlm.evaluation.benchmarks import SYNTH_SEED
from samvlm.evaluation.scores import ALL_METRICS


@dataclass
class ScoringRecipe:
    """Scores on held-out examples while a stage trains; what is learnt stays the same, bit for bit."""

    data: str | None = None
    """What is read, as `samvlm eval --data` names it: synth:32, a file of records, NAME:PATH. Default: no scoring."""
    options: dict[str, Any] = field(default_factory=dict)
    """Of the renderer or of the reader NAME, for example {size: [192, 64], damage: 0}."""
    split: str | None = None
    """Of the data, where they have splits."""
    limit: int = 64
    """Only the first so many examples."""
    seed: int = SYNTH_SEED
    """Of drawn examples; apart from data.seed."""
    every: int = 500
    """Steps between two scorings; there is one more behind the last step."""
    metric: str = "teds_normalised"
    """The score that chooses the best checkpoint: one of those that `samvlm eval` gives."""
    keep_best: bool = True
    """Keep a checkpoint of the best score, beside those of trainer.save_total_limit; it becomes the stage's result."""
    patience: int | None = None
    """End the stage after so many scorings in a row that are no better than the best. Default: never."""
    max_new_tokens: int = 1024
    """Tokens of an answer at the most."""
    batch_size: int = 8
    """Examples read at once; fewer where memory is short."""
    report: bool = True
    """Draw curves.png and report.html into the stage's folder, with or without scores."""

    def __post_init__(self):
        for key in ("limit", "every", "max_new_tokens", "batch_size"):
            if getattr(self, key) < 1:
                raise ValueError(f"scoring.{key}={getattr(self, key)}: at least 1.")
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"scoring.patience={self.patience}: at least 1, or leave it out.")
        if self.patience is not None and self.data is None:
            raise ValueError(
                f"scoring.patience={self.patience} waits for scores, and scoring.data names nothing to score: set it."
            )
        if self.metric not in ALL_METRICS:
            raise ValueError(
                f"scoring.metric={self.metric}: no such score; choose one of {', '.join(ALL_METRICS)}."
            )

    def check(self, seed: int) -> None:
        """Compare with `data.seed`. Raises ValueError."""
        drawn = self.data is not None and self.data.partition(":")[0] == "synth"
        if drawn and self.seed == seed:
            raise ValueError(
                f"scoring.seed={self.seed} is data.seed too: what is held out would be what is trained on; change one."
            )
