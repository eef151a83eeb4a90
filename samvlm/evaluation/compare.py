"""Is B better than A? Two folders of results, example by example."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ..data.readers import Rejected
from ..data.readers.items import json_lines
from ..metrics import Comparison, paired_comparison
from .runner import EXAMPLES, SCORES
from .scores import ALL_METRICS, LOWER_IS_BETTER

SIGNIFICANCE = 0.05
FEW = 20  # pairs; with fewer only large differences can be shown
MOST_CHANGES = 10


class Change(NamedTuple):
    """One example whose score changed."""

    id: str
    a: float
    b: float

    @property
    def difference(self) -> float:
        """B - A."""
        return self.b - self.a


@dataclass
class RunComparison:
    """What two runs say of B against A.

    names:    of A and B, each its model and folder
    pairs:    examples that were compared
    metrics:  by name; differences are B - A, wins are examples where B is better (lower for `cer`)
    changes:  the examples with the largest change of the first metric, the largest first
    verdict:  in words
    left_out: examples of A and of B that the other has not, or with another truth
    """

    names: tuple[str, str]
    pairs: int
    metrics: dict[str, Comparison]
    changes: list[Change]
    verdict: str
    left_out: tuple[int, int] = (0, 0)
    means: dict[str, tuple[float, float]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain = asdict(self)
        plain["metrics"] = {name: found._asdict() for name, found in self.metrics.items()}
        plain["changes"] = [change._asdict() for change in self.changes]
        return plain


def compare_runs(
    a: str | Path, b: str | Path, metrics: Sequence[str] | None = None, shared: bool = False
) -> RunComparison:
    """Compare two folders of results pair by pair.

    Args:
        a, b: folders that `samvlm eval` wrote.
        metrics: those to compare, the first decides; None: all that both have.
        shared: go on with what both have in common where ids or truths differ.

    Raises:
        ValueError: a folder holds no results, the examples differ, or there is no common metric.
    """
    first, second = _rows(Path(a)), _rows(Path(b))
    common = [name for name in first if name in second and first[name]["truth"] == second[name]["truth"]]
    left_out = (len(first) - len(common), len(second) - len(common))
    if any(left_out) and not shared:
        raise ValueError(_how_they_differ(a, b, first, second, len(common)))
    if not common:
        raise ValueError(f"{a} and {b} have no example in common")
    names = [
        name
        for name in metrics or ALL_METRICS
        if any(name in first[key]["scores"] and name in second[key]["scores"] for key in common)
    ]
    if not names:
        raise ValueError(f"{a} and {b} have no score in common; score them with the same --metrics")
    compared, means, changes = {}, {}, []
    for name in names:
        ids = [key for key in common if name in first[key]["scores"] and name in second[key]["scores"]]
        scores = [[float(rows[key]["scores"][name]) for key in ids] for rows in (first, second)]
        compared[name] = _compare(name, *scores)
        means[name] = (sum(scores[0]) / len(ids), sum(scores[1]) / len(ids))
        if name == names[0]:
            changes = [Change(*values) for values in zip(ids, *scores, strict=True)]
    changes = sorted((change for change in changes if change.difference), key=lambda c: -abs(c.difference))
    found = compared[names[0]]
    pairs = found.wins + found.losses + found.ties
    return RunComparison(
        names=(_name(Path(a)), _name(Path(b))),
        pairs=pairs,
        metrics=compared,
        changes=changes[:MOST_CHANGES],
        verdict=_verdict(names[0], found, pairs),
        left_out=left_out,
        means=means,
    )


def _compare(name: str, a: list[float], b: list[float]) -> Comparison:
    """The comparison with differences B - A; wins are better ones also where lower is better."""
    if name not in LOWER_IS_BETTER:
        return paired_comparison(a, b)
    turned = paired_comparison([-value for value in a], [-value for value in b])
    return turned._replace(mean_difference=-turned.mean_difference, low=-turned.high, high=-turned.low)


def _verdict(metric: str, found: Comparison, pairs: int) -> str:
    if not found.wins and not found.losses:
        return f"A and B have the same {metric} on all {pairs} examples."
    if found.p_value < SIGNIFICANCE:
        better = (found.mean_difference > 0) != (metric in LOWER_IS_BETTER)
        start = f"B is {'better' if better else 'worse'} than A"
    else:
        start = "No difference between A and B can be shown"
    few = f" These are few examples; {FEW} or more say more." if pairs < FEW else ""
    return (
        f"{start}: {metric} changes by {found.mean_difference:+.4f} (95% interval {found.low:+.4f} to "
        f"{found.high:+.4f}, p = {found.p_value:.2g}, {pairs} pairs).{few}"
    )


def _rows(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / EXAMPLES
    if not path.is_file():
        raise ValueError(f"{folder}: no {EXAMPLES} in it; give a folder that `samvlm eval -o` wrote")
    rows = {}
    for where, row in json_lines(path):
        if isinstance(row, Rejected):
            raise ValueError(f"{where}: {row.reason}")
        if not (isinstance(row.get("id"), str) and isinstance(row.get("scores"), dict) and "truth" in row):
            raise ValueError(f"{where}: not a line that `samvlm eval` wrote; run it again")
        rows[row["id"]] = row
    if not rows:
        raise ValueError(f"{path}: no examples")
    return rows


def _name(folder: Path) -> str:
    """The model of a folder of results, and the folder."""
    try:
        model = json.loads((folder / SCORES).read_text(encoding="utf-8"))["model"]
    except (OSError, ValueError, LookupError, TypeError):
        return str(folder)
    return f"{model} ({folder})"


def _how_they_differ(
    a: str | Path, b: str | Path, first: dict[str, Any], second: dict[str, Any], common: int
) -> str:
    ids = len(first.keys() & second.keys())
    parts = [f"A has {len(first)} examples, B {len(second)}, {ids} ids are in both"]
    if ids > common:
        parts.append(f"{ids - common} of these with another truth or question")
    return f"{a} and {b} are no results of the same data: {', '.join(parts)}; --shared compares the other {common}"
