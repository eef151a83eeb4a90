"""How much of two texts difflib would match, for many texts at once: the content similarity of GriTS.

`difflib.SequenceMatcher` finds the longest common substring, then does the same left and right of it (Ratcliff and
Obershelp, 1988). Here one numpy pass looks for it in thousands of pairs of texts side by side; the rests left and right
become the pairs of the next pass. The sizes found are those of difflib, whose choice among equally long substrings is
the one that starts first in the first text, then first in the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

MAX_WORK = 20_000_000_000  # pairs of characters that one call may compare
MAX_STEPS = 50_000_000  # the same for texts that difflib itself compares, a character at a time
_AUTOJUNK = 200  # from this length of the second text on, difflib leaves out what it calls popular characters
_PAIRS = 200_000  # pairs of texts in work at a time
_PLACES = 65_536  # table places of a numpy pass; what the cache of a core holds


class _Rests(NamedTuple):
    """Pairs of substrings still to be compared: whose pair of texts it is, their starts and lengths, (n,) each."""

    owner: Ints
    start1: Ints
    size1: Ints
    start2: Ints
    size2: Ints

    def where(self, keep: npt.NDArray) -> _Rests:
        return _Rests(*(part[keep] for part in self))


def matching_ratios(firsts: Sequence[str], seconds: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return `2 * matched / (len(first) + len(second))` for each first and second text: (n1, n2), each in [0, 1].

    Equal to the ratio of `difflib.SequenceMatcher(None, first, second)`, 1.0 for two empty texts. Raises ValueError
    if the texts are so long that it would take minutes.
    """
    sizes1, sizes2 = (np.array([len(text) for text in texts], dtype=np.int64) for texts in (firsts, seconds))
    if int(sizes1.sum()) * int(sizes2.sum()) > MAX_WORK:
        raise ValueError(
            f"the texts of the cells are too long to compare: {sizes1.sum()} characters against {sizes2.sum()}; "
            f"their product may be {MAX_WORK} at most"
        )
    matched = np.zeros((len(firsts), len(seconds)), dtype=np.int64)
    short = np.flatnonzero((sizes2 > 0) & (sizes2 < _AUTOJUNK))
    filled = np.flatnonzero(sizes1)
    if len(short) and len(filled):
        codes1, codes2 = _codes("".join(firsts), "".join(seconds))
        starts1, starts2 = (np.cumsum(sizes) - sizes for sizes in (sizes1, sizes2))
        rows_at_once = max(1, _PAIRS // len(short))
        for begin in range(0, len(filled), rows_at_once):
            rows = filled[begin : begin + rows_at_once]
            one, two = np.repeat(rows, len(short)), np.tile(short, len(rows))
            rests = _Rests(np.arange(len(one)), starts1[one], sizes1[one], starts2[two], sizes2[two])
            matched[rows[:, None], short] = _matched(codes1, codes2, rests).reshape(len(rows), -1)
    steps = MAX_STEPS
    for second in np.flatnonzero(sizes2 >= _AUTOJUNK):
        matcher = SequenceMatcher(None, "", seconds[second])
        for first in filled:
            matcher.set_seq1(firsts[first])
            matched[first, second], steps = _matched_by_difflib(matcher, steps)
    total = sizes1[:, None] + sizes2
    return np.where(total > 0, 2.0 * matched / np.maximum(total, 1), 1.0)


def _codes(text1: str, text2: str) -> tuple[npt.NDArray, npt.NDArray]:
    """The characters as small numbers from 2 up; 0 and 1, which end both, stand where a text has ended."""
    points = np.frombuffer((text1 + text2).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    values, codes = np.unique(points, return_inverse=True)
    codes = (codes + 2).astype(np.min_scalar_type(len(values) + 2))
    return np.append(codes[: len(text1)], codes.dtype.type(0)), np.append(
        codes[len(text1) :], codes.dtype.type(1)
    )


def _matched(codes1: npt.NDArray, codes2: npt.NDArray, rests: _Rests) -> Ints:
    """Number of characters that each pair of texts has in common, (n,)."""
    matched = np.zeros(len(rests.owner), dtype=np.int64)
    while len(rests.owner):
        size, at1, at2 = _longest(codes1, codes2, rests)
        matched += np.bincount(rests.owner, size, len(matched)).astype(np.int64)
        found = size > 0
        rests, size, at1, at2 = rests.where(found), size[found], at1[found], at2[found]
        left = rests._replace(size1=at1, size2=at2)
        skip1, skip2 = at1 + size, at2 + size
        right = _Rests(
            rests.owner,
            rests.start1 + skip1,
            rests.size1 - skip1,
            rests.start2 + skip2,
            rests.size2 - skip2,
        )
        sides = [side.where((side.size1 > 0) & (side.size2 > 0)) for side in (left, right)]
        rests = _Rests(*(np.concatenate(parts) for parts in zip(*sides, strict=True)))
    return matched


def _longest(codes1: npt.NDArray, codes2: npt.NDArray, rests: _Rests) -> tuple[Ints, Ints, Ints]:
    """The longest common substring of each pair: its length and where it starts in both, (n,) each."""
    found = np.zeros((3, len(rests.owner)), dtype=np.int64)
    if len(rests.owner) * rests.size1.max() * rests.size2.max() < 64 * _PLACES:
        groups = [np.arange(len(rests.owner))]  # too little work to be worth sorting by length
    else:
        kind = 64 * np.ceil(np.log2(rests.size1)).astype(np.int64) + np.ceil(2 * np.log2(rests.size2)).astype(
            np.int64
        )
        order = np.argsort(kind, kind="stable")
        groups = np.split(order, np.flatnonzero(np.diff(kind[order])) + 1)
    for group in groups:
        width = int(rests.size2[group].max())
        for begin in range(0, len(group), max(1, _PLACES // width)):
            some = group[begin : begin + max(1, _PLACES // width)]
            found[:, some] = _longest_side_by_side(codes1, codes2, rests.where(some))
    return found[0], found[1], found[2]


def _longest_side_by_side(codes1: npt.NDArray, codes2: npt.NDArray, rests: _Rests) -> tuple[Ints, Ints, Ints]:
    """As `_longest`, in one table of a place for each character of the second texts and each pair, row by row.

    `run` is the length of the common substring that ends at a place, times `unit`; with the row counted down in
    what is below `unit`, the largest value is the longest run that ends first.
    """
    height, width = int(rests.size1.max()), int(rests.size2.max())
    dtype, unit = (np.uint16, 256) if max(height, width) < 256 else (np.int64, 1 << 32)
    one = _columns(codes1, rests.start1, rests.size1, height)
    two = _columns(codes2, rests.start2, rests.size2, width)
    run, best, part = (np.zeros(two.shape, dtype) for _ in range(3))
    same = np.empty(two.shape, bool)
    for row in range(height):
        np.equal(two, one[row], out=same)
        np.add(run[:-1], unit, out=part[1:])
        part[0] = unit
        np.multiply(part, same, out=run)
        np.add(run, height - 1 - row, out=part)
        np.maximum(best, part, out=best)
    end2 = best.argmax(axis=0)
    size, left = np.divmod(best[end2, np.arange(len(end2))].astype(np.int64), unit)
    return size, height - left - size, end2 + 1 - size


def _columns(codes: npt.NDArray, starts: Ints, sizes: Ints, height: int) -> npt.NDArray:
    """The substrings as columns of `height` characters, the last of `codes` where one has ended."""
    rows = np.arange(height)[:, None]
    return codes[np.where(rows < sizes, starts + rows, len(codes) - 1)]


def _matched_by_difflib(matcher: SequenceMatcher, steps: int) -> tuple[int, int]:
    """Number of characters matched, and what is left of `steps`."""
    first, second = matcher.a, matcher.b
    hits = np.cumsum([0] + [1 + len(matcher.b2j.get(character, ())) for character in first])
    matched, todo = 0, [(0, len(first), 0, len(second))]
    while todo:
        low1, high1, low2, high2 = todo.pop()
        steps -= int(hits[high1] - hits[low1])
        if steps < 0:
            raise ValueError(
                f"a text of {len(first)} characters against one of {len(second)} takes too long to compare; "
                "shorten the texts of the cells"
            )
        at1, at2, size = matcher.find_longest_match(low1, high1, low2, high2)
        if size:
            matched += size
            if low1 < at1 and low2 < at2:
                todo.append((low1, at1, low2, at2))
            if at1 + size < high1 and at2 + size < high2:
                todo.append((at1 + size, high1, at2 + size, high2))
    return matched, steps
