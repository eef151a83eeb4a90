"""Seeded random draws for the renderer: same numbers on every platform and Python version."""

from collections.abc import Sequence
from itertools import accumulate
from random import Random
from typing import TypeVar

T = TypeVar("T")


class Dice:
    """A stream of draws named by its key, e.g. Dice("table", seed, index).

    `scale` takes no part in them: it is how many times larger than usual what is drawn shall be set.
    Rests on `Random(str)` and `Random.random()` alone, whose results Python guarantees; a draw takes 0.1 us.
    """

    def __init__(self, *key: object, scale: float = 1.0) -> None:
        self.scale = scale
        self.random = Random(":".join(map(str, key))).random

    def chance(self, probability: float) -> bool:
        return self.random() < probability

    def between(self, low: float, high: float) -> float:
        """Uniform in [low, high)."""
        return low + (high - low) * self.random()

    def integer(self, low: int, high: int) -> int:
        """Uniform in low..high, both included."""
        return low + int((high - low + 1) * self.random())

    def choice(self, options: Sequence[T]) -> T:
        return options[int(len(options) * self.random())]

    def weighted(self, weights: dict[T, float]) -> T:
        """A key of `weights`, drawn in proportion to its value."""
        sums = list(accumulate(weights.values()))
        spot = sums[-1] * self.random()
        for key, edge in zip(weights, sums, strict=True):
            if spot < edge:
                return key
        return next(reversed(weights))

    def shuffled(self, options: Sequence[T]) -> list[T]:
        marks = [(self.random(), i) for i in range(len(options))]
        return [options[i] for _, i in sorted(marks)]
