"""Has a generated text got stuck? Finds the unit that its end repeats; used as a stop and as a score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Repetition(NamedTuple):
    """The end of a sequence repeats a unit of `length` items `count` times, from index `start`."""

    start: int
    length: int
    count: int


def find_repetition(
    items: Sequence, min_repeats: int = 8, min_items: int = 160, max_length: int = 400
) -> Repetition | None:
    """Return the shortest unit that the end of `items` repeats, or None.

    `items` is a text or a list of token ids. The unit, of at most `max_length` items, must stand at least
    `min_repeats` times in a row up to the end, over at least `min_items` items in all. The defaults leave leaders
    of dots and a few equal rows of a table alone; a model that loops passes them soon after. The cost is a few
    comparisons of slices for each possible length, so it may be called every few tokens.
    """
    if min_repeats < 2:
        raise ValueError(f"min_repeats must be at least 2, got {min_repeats}")
    total = len(items)
    for length in range(1, min(max_length, total // min_repeats) + 1):
        span = max(min_items, min_repeats * length)
        if span > total:
            break
        if (
            items[-1] == items[-1 - length]
            and items[total - span : total - length] == items[total - span + length :]
        ):
            start = total - span
            while start > 0 and items[start - 1] == items[start - 1 + length]:
                start -= 1
            count = (total - start) // length
            return Repetition(total - count * length, length, count)
    return None
