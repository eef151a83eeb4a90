"""How much of two texts difflib would match, for many texts at once: the content similarity of GriTS.

`difflib.SequenceMatcher` finds the longest common substring, then does the same left and right of it (Ratcliff and
Obershelp, 1988). Here one numpy pass looks for it in thousands of pairs of texts side by side; the rests left and right
become the pairs of the next pass. The sizes found are those of difflib, whose choice among equally long substrings is
the one that starts first in the first text, then first in the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

MAX_WORK = 10_000_000_000  # pairs of characters that one call may compare: 2,000 cells of 50 against as many
MAX_STEPS = 60_000_000  # the same for texts that difflib itself compares, a character at a time
_CALL = 50  # steps that a search costs beside its characters
_LONG = 2000  # first texts from this length on are left to difflib, too
_AUTOJUNK = 200  # from this length of the second text on, difflib leaves out what it calls popular characters
_PAIRS = 200_000  # pairs of texts in work at a time
_PLACES = 65_536  # table places of a numpy pass; what the cache of a core holds


# Pairs of substrings still to be compared, a column each: the number of the pair of texts, then where the substring of
# the first text starts and its length, then the same of the second.
Rests = npt.NDArray[np.int32]  # (5, n)


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
    filled = np.flatnonzero((sizes1 > 0) & (sizes1 < _LONG))
    if len(short) and len(filled):
        codes1, codes2 = _codes("".join(firsts), "".join(seconds), _LONG)
        starts1, starts2 = (np.cumsum(sizes) - sizes for sizes in (sizes1, sizes2))
        rows_at_once = max(1, _PAIRS // len(short))
        for begin in range(0, len(filled), rows_at_once):
            rows = filled[begin : begin + rows_at_once]
            one, two = np.repeat(rows, len(short)), np.tile(short, len(rows))
            rests = np.stack([np.arange(len(one)), starts1[one], sizes1[one], starts2[two], sizes2[two]])
            matched[rows[:, None], short] = _matched(codes1, codes2, rests.astype(np.int32)).reshape(
                len(rows), -1
            )
    long = (sizes1[:, None] > 0) & (sizes2 > 0) & ((sizes1[:, None] >= _LONG) | (sizes2 >= _AUTOJUNK))
    steps = MAX_STEPS if int(((sizes1 + _CALL) * long.sum(axis=1)).sum()) <= MAX_STEPS else 0
    for second in np.flatnonzero(long.any(axis=0)):
        matcher = SequenceMatcher(None, "", seconds[second])
        for first in np.flatnonzero(long[:, second]):
            matcher.set_seq1(firsts[first])
            matched[first, second], steps = _matched_by_difflib(matcher, steps)
    total = sizes1[:, None] + sizes2
    return np.where(total > 0, 2.0 * matched / np.maximum(total, 1), 1.0)


def _codes(text1: str, text2: str, most: int) -> tuple[npt.NDArray, npt.NDArray]:
    """The characters as small numbers from 2 up; 0 and 1 are for where a text has ended.

    Behind each stand `most` more, so that as many can be read from any place on.
    """
    points = np.frombuffer((text1 + text2).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    values, codes = np.unique(points, return_inverse=True)
    codes = (codes + 2).astype(np.min_scalar_type(len(values) + 2))
    ends = np.zeros(most, codes.dtype)
    return np.append(codes[: len(text1)], ends), np.append(codes[len(text1) :], ends)


def _matched(codes1: npt.NDArray, codes2: npt.NDArray, rests: Rests) -> Ints:
    """Number of characters that each pair of texts has in common, (n,)."""
    matched = np.zeros(rests.shape[1], dtype=np.int64)
    while rests.shape[1]:
        rests, borders = _by_length(rests)
        size, at1, at2 = _longest(codes1, codes2, rests, borders)
        owner, start1, size1, start2, size2 = rests
        matched += np.bincount(owner, size, len(matched)).astype(np.int64)
        end1, end2 = at1 + size, at2 + size
        left = np.flatnonzero((size > 0) & (at1 > 0) & (at2 > 0))
        right = np.flatnonzero((size > 0) & (end1 < size1) & (end2 < size2))
        rests = np.empty((5, len(left) + len(right)), np.int32)
        lefts = owner, start1, at1, start2, at2
        rights = owner, start1 + end1, size1 - end1, start2 + end2, size2 - end2
        for part, of_left, of_right in zip(rests, lefts, rights, strict=True):
            of_left.take(left, out=part[: len(left)], mode="clip")
            of_right.take(right, out=part[len(left) :], mode="clip")
    return matched


def _by_length(rests: Rests) -> tuple[Rests, list[int]]:
    """Bring pairs of like lengths together, where there is work enough to be worth it; and where groups begin."""
    most1, most2 = int(rests[2].max()), int(rests[4].max())
    if rests.shape[1] * most1 * most2 < 64 * _PLACES:
        return rests, [0]
    steps1, steps2 = (
        np.ceil(2 * np.log2(np.maximum(np.arange(most + 1), 1))).astype(np.uint16) for most in (most1, most2)
    )
    kind = 64 * steps1[rests[2]] + steps2[rests[4]]
    order = np.argsort(kind, kind="stable")
    borders = np.flatnonzero(np.diff(kind[order])) + 1
    return np.stack([part.take(order) for part in rests]), [0, *borders.tolist()]


def _longest(codes1: npt.NDArray, codes2: npt.NDArray, rests: Rests, borders: list[int]) -> Rests:
    """The longest common substring of each pair: its length and where it starts in both, (3, n)."""
    found = np.empty((3, rests.shape[1]), np.int32)
    for begin, end in pairwise([*borders, rests.shape[1]]):
        most1, most2 = int(rests[2, begin:end].max()), int(rests[4, begin:end].max())
        step = max(1, min(_PLACES // most2, 64 * _PLACES // most1))
        for first in range(begin, end, step):
            some = slice(first, min(first + step, end))
            found[:, some] = _longest_side_by_side(codes1, codes2, rests[:, some])
    return found


def _longest_side_by_side(codes1: npt.NDArray, codes2: npt.NDArray, rests: Rests) -> Rests:
    """As `_longest`, in one table of a place for each character of the second texts and each pair, row by row.

    `run` is the length of the common substring that ends at a place, times `unit`; with the row counted down in
    what is below `unit`, the largest value is the longest run that ends first.
    """
    height, width = int(rests[2].max()), int(rests[4].max())
    dtype, unit = (np.uint16, 256) if max(height, width) < 256 else (np.uint32, 1 << 16)
    one, two = _columns(codes1, rests[1], rests[2], height, 0), _columns(codes2, rests[3], rests[4], width, 1)
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
    return np.stack([size, height - left - size, end2 + 1 - size])


def _columns(
    codes: npt.NDArray, starts: npt.NDArray, sizes: npt.NDArray, height: int, end: int
) -> npt.NDArray:
    """The substrings as columns of `height` characters, `end` where one has ended."""
    windows = np.lib.stride_tricks.sliding_window_view(codes, height)
    columns = np.ascontiguousarray(windows[starts].T)
    columns[np.arange(height)[:, None] >= sizes] = end
    return columns


def _matched_by_difflib(matcher: SequenceMatcher, steps: int) -> tuple[int, int]:
    """Number of characters matched, and what is left of `steps`."""
    first, second = matcher.a, matcher.b
    hits = np.cumsum([0] + [1 + len(matcher.b2j.get(character, ())) for character in first])
    matched, todo = 0, [(0, len(first), 0, len(second))]
    while todo:
        low1, high1, low2, high2 = todo.pop()
        steps -= _CALL + int(hits[high1] - hits[low1])
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
