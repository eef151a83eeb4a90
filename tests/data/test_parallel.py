"""samvlm/data/parallel.py: order, reading ahead, errors, processes that die."""

import os
from dataclasses import dataclass
from itertools import count

import pytest

from samvlm.data.parallel import ordered_map


@dataclass
class Square:
    """Ends the process at some numbers."""

    deadly: tuple[int, ...] = ()

    def __call__(self, number: int) -> int:
        if number in self.deadly:
            os._exit(1)
        if number < 0:
            raise ValueError(f"{number} is below 0")
        return number * number


def lost(number: int) -> int:
    return -1


def test_one_process_needs_no_other():
    read = count()
    results = ordered_map(lambda number: number * number, read, 1, lost)
    assert [next(results) for _ in range(3)] == [(0, 0), (1, 1), (2, 4)] and next(read) == 3


@pytest.mark.slow
def test_processes_keep_the_order_and_lose_only_what_kills_them():
    numbers = range(200)
    expected = [(n, -1 if n in (40, 41, 170) else n * n) for n in numbers]
    assert list(ordered_map(Square((40, 41, 170)), numbers, 2, lost)) == expected


@pytest.mark.slow
def test_processes_read_only_so_far_ahead_and_pass_errors_on():
    read = count()
    results = ordered_map(Square(), read, 2, lost)
    assert next(results) == (0, 0)
    results.close()
    assert next(read) <= 2 * 4 * 16
    with pytest.raises(ValueError, match="-1 is below 0"):
        list(ordered_map(Square(), [1, -1], 2, lost))
