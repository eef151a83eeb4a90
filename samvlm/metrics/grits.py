"""GriTS, the similarity of two tables as grids: of their structure (Top) and of their texts (Con).

Definition: Smock et al., "GriTS: Grid table similarity metric for table structure recognition" (arXiv 2203.12555);
the official code is src/grits.py of github.com/microsoft/table-transformer (MIT), whose rewards and choice among
equally good alignments are followed. One numpy operation does what is a loop over the places of a row there.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..data.tables import Table
from .matching_blocks import matching_ratios
from .table_pair import check_product, read_pair

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Pairs = list[tuple[int, int]]  # (index in the truth, index in the prediction), both rising

_AT_ONCE = 1_000_000  # numbers of a numpy operation


def grits_top(prediction: str, truth: str) -> float:
    """Return GriTS-Top (F-score) of two HTML tables: do the cells that cover each place span the same places?

    The reward of two places is the overlap of the rectangles that their cells cover, seen from the place: the common
    area over the area of the rectangle around both, as in the official code. In [0, 1]; 1.0 for equal structure.
    The first table with cells counts, whatever stands around it; header tags do not. A prediction without a table
    scores 0. Raises ValueError if the truth has none, or for tables too large to compare.
    """
    return _grits(prediction, truth, span_rewards)


def grits_con(prediction: str, truth: str) -> float:
    """Return GriTS-Con (F-score) of two HTML tables: do the cells that cover each place hold the same text?

    The reward of two places is `2 * matched / (len(true) + len(predicted))` by the matching blocks of difflib,
    1.0 for two empty texts; the text of a cell stands at each place that it covers. Texts are as `Table` reads
    them: tags dropped, runs of blanks one space. In [0, 1]. Otherwise as `grits_top`.
    """
    return _grits(prediction, truth, text_rewards)


@dataclass(frozen=True)
class Rewards:
    """What each place of two grids gains when it is laid on a place of the other.

    `kinds1` (R1, C1) and `kinds2` (R2, C2) number what stands at each place; `values` (kinds, kinds) is the reward
    in [0, 1] of two such kinds. The first grid is the truth.
    """

    kinds1: Ints
    kinds2: Ints
    values: Floats

    def transposed(self) -> Rewards:
        """The same with columns for rows."""
        return Rewards(self.kinds1.T, self.kinds2.T, self.values)

    def total(self, rows: Pairs, cols: Pairs) -> float:
        """The sum over all places where an aligned row crosses an aligned column."""
        if not rows or not cols:
            return 0.0
        (rows1, rows2), (cols1, cols2) = zip(*rows, strict=True), zip(*cols, strict=True)
        return float(self.values[self.kinds1[np.ix_(rows1, cols1)], self.kinds2[np.ix_(rows2, cols2)]].sum())


def mean_rewards(first: Rewards, second: Rewards) -> Rewards:
    """The mean of two rewards of the same grids."""
    kinds, parts = [], []
    for one, two in ((first.kinds1, second.kinds1), (first.kinds2, second.kinds2)):
        both, where = np.unique(np.stack([one.ravel(), two.ravel()]), axis=1, return_inverse=True)
        kinds.append(where.reshape(one.shape))
        parts.append(both)
    values = [r.values[np.ix_(parts[0][n], parts[1][n])] for n, r in enumerate((first, second))]
    return Rewards(kinds[0], kinds[1], (values[0] + values[1]) / 2)


def align_grids(rewards: Rewards) -> tuple[Pairs, Pairs]:
    """Return which rows and which columns correspond: the factored 2D-MSS of the paper.

    Two rows gain what the best alignment of their places gains, and rows are aligned by these gains; columns in the
    same way, apart from the rows. Raises ValueError for tables too large to compare.
    """
    check_product(rewards.kinds1.size, rewards.kinds2.size, "places")
    return _align(_line_gains(rewards)), _align(_line_gains(rewards.transposed()))


def span_rewards(truth: Table, prediction: Table) -> Rewards:
    """The rewards of GriTS-Top."""
    kinds1, spans1 = _number(_relative_spans(truth))
    kinds2, spans2 = _number(_relative_spans(prediction))
    low1, high1 = np.array(spans1)[:, None, :2], np.array(spans1)[:, None, 2:]  # (kinds, 1, 2)
    low2, high2 = np.array(spans2)[None, :, :2], np.array(spans2)[None, :, 2:]
    common = (np.minimum(high1, high2) - np.maximum(low1, low2)).prod(axis=2)  # all hold the place itself
    around = (np.maximum(high1, high2) - np.minimum(low1, low2)).prod(axis=2)
    return Rewards(kinds1, kinds2, common / around)


def text_rewards(truth: Table, prediction: Table) -> Rewards:
    """The rewards of GriTS-Con."""
    kinds1, texts1 = _number([[" ".join(cell.text.split()) for cell in line] for line in truth.grid()])
    kinds2, texts2 = _number([[" ".join(cell.text.split()) for cell in line] for line in prediction.grid()])
    return Rewards(kinds1, kinds2, matching_ratios(texts1, texts2))


def _grits(prediction: str, truth: str, make_rewards: Callable[[Table, Table], Rewards]) -> float:
    predicted, true = read_pair(prediction, truth)
    if predicted is None:
        return 0.0
    n_places = true.n_rows * true.n_cols + predicted.n_rows * predicted.n_cols
    check_product(true.n_rows * true.n_cols, predicted.n_rows * predicted.n_cols, "places")
    rewards = make_rewards(true, predicted)
    return 2.0 * rewards.total(*align_grids(rewards)) / n_places


def _relative_spans(table: Table) -> list[list[tuple[int, int, int, int]]]:
    """The rectangle of the cell at each place, left, top, right, bottom, with the place at 0, 0."""
    return [
        [
            (cell.col - col, cell.row - row, cell.col + cell.colspan - col, cell.row + cell.rowspan - row)
            for col, cell in enumerate(line)
        ]
        for row, line in enumerate(table.grid())
    ]


def _number(grid: Sequence[Sequence[Hashable]]) -> tuple[Ints, list]:
    """Number what stands in a grid: the numbers (R, C) and what they stand for."""
    numbers: dict = {}
    kinds = np.array([[numbers.setdefault(item, len(numbers)) for item in line] for line in grid])
    return kinds, list(numbers)


def _line_gains(rewards: Rewards) -> Floats:
    """The gain of the best alignment of each row with each row, (R1, R2).

    Dynamic programming over the places of the first row, for all pairs of rows at once; within the second row the
    best so far is a running maximum.
    """
    (rows1, cols1), (rows2, cols2) = rewards.kinds1.shape, rewards.kinds2.shape
    gains = np.empty((rows1, rows2))
    step = max(1, _AT_ONCE // (rows2 * cols2))
    for begin in range(0, rows1, step):
        some = rewards.kinds1[begin : begin + step]
        best = np.zeros((len(some), rows2, cols2 + 1))
        for col in range(cols1):
            laid = best[..., :-1] + rewards.values[some[:, col]][:, rewards.kinds2]
            np.maximum(best[..., 1:], laid, out=best[..., 1:])
            np.maximum.accumulate(best, axis=2, out=best)
        gains[begin : begin + step] = best[..., -1]
    return gains


def _align(gains: Floats) -> Pairs:
    """Align two sequences so that the pairs gain most: pairs of indices."""
    n1, n2 = gains.shape
    best = np.zeros((n1 + 1, n2 + 1))
    for row in range(n1):
        np.maximum(best[row, 1:], best[row, :-1] + gains[row], out=best[row + 1, 1:])
        np.maximum.accumulate(best[row + 1], out=best[row + 1])
    pairs = []
    row, col = n1, n2
    while row and col:
        if best[row - 1, col - 1] + gains[row - 1, col - 1] == best[row, col]:
            row, col = row - 1, col - 1
            pairs.append((row, col))
        elif best[row - 1, col] == best[row, col]:
            row -= 1
        else:
            col -= 1
    return pairs[::-1]
