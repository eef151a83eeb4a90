"""How sure is a mean, and is one system better than another? Bootstrap intervals and a paired test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

DRAWS = 10_000
_EXACT = 16  # up to so many differing pairs every assignment of signs is counted
_AT_ONCE = 4_000_000  # numbers drawn at a time


class Comparison(NamedTuple):
    """What paired scores say of B against A.

    mean_difference: mean of B - A, with its bootstrap interval from `low` to `high`. p_value: how often a difference
    at least as large, either way, comes about if A and B are as good as each other. wins, losses, ties: pairs in
    which B is better, worse, equal.
    """

    mean_difference: float
    low: float
    high: float
    p_value: float
    wins: int
    losses: int
    ties: int


def bootstrap_interval(values: Sequence[float], level: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """Return the interval that holds the mean with probability `level`: percentiles of the means of resamples.

    Efron's percentile bootstrap, 10,000 resamples, the same for the same seed. Raises ValueError for no values, for
    one that is no finite number, and for a level outside of (0, 1).
    """
    given = _finite(values, "values")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, for example 0.95, got {level}")
    generator = np.random.default_rng(seed)
    means = np.empty(DRAWS)
    step = max(1, _AT_ONCE // len(given))
    for begin in range(0, DRAWS, step):
        some = means[begin : begin + step]
        some[:] = given[generator.integers(len(given), size=(len(some), len(given)))].mean(axis=1)
    low, high = np.percentile(means, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)


def paired_comparison(
    a: Sequence[float], b: Sequence[float], level: float = 0.95, seed: int = 0
) -> Comparison:
    """Compare the scores of two systems on the same examples, in the same order; positive means B is better.

    The p-value is that of Fisher's sign-flip permutation test of the mean difference: exact up to 16 pairs that
    differ, else from 10,000 random assignments of signs (then at least 1/10,001). Raises ValueError for lists of
    different or no length, and for a score that is no finite number.
    """
    first, second = _finite(a, "a"), _finite(b, "b")
    if len(first) != len(second):
        raise ValueError(
            f"a has {len(first)} scores and b {len(second)}; give one each for the same examples"
        )
    difference = second - first
    low, high = bootstrap_interval(difference, level, seed)
    wins, losses = int((difference > 0).sum()), int((difference < 0).sum())
    return Comparison(
        mean_difference=float(difference.mean()),
        low=low,
        high=high,
        p_value=_sign_flip_test(difference[difference != 0], seed),
        wins=wins,
        losses=losses,
        ties=len(difference) - wins - losses,
    )


def _sign_flip_test(difference: Floats, seed: int) -> float:
    size = len(difference)
    if size == 0:
        return 1.0
    observed = abs(difference.sum()) * (1 - 1e-12)  # equal sums may differ in their last bit
    if size <= _EXACT:
        signs = 1 - 2 * ((np.arange(2**size)[:, None] >> np.arange(size)) & 1)
        return float((np.abs(signs @ difference) >= observed).mean())
    generator = np.random.default_rng(seed)
    step = max(1, _AT_ONCE // size)
    reached = 0
    for begin in range(0, DRAWS, step):
        signs = generator.integers(2, size=(min(step, DRAWS - begin), size), dtype=np.int8) * 2 - 1
        reached += int((np.abs(signs @ difference) >= observed).sum())
    return (reached + 1) / (DRAWS + 1)


def _finite(values: Sequence[float], name: str) -> Floats:
    given = np.asarray(values, dtype=np.float64)
    if given.ndim != 1 or len(given) == 0:
        raise ValueError(f"{name} must be a list with at least one number, got shape {given.shape}")
    if not np.isfinite(given).all():
        index = int(np.flatnonzero(~np.isfinite(given))[0])
        raise ValueError(f"{name}[{index}] is {given[index]}; leave out what could not be scored")
    return given
