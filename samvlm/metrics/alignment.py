"""Which rows, columns and cells of two tables correspond, and what is wrong with each cell; scores of cells from it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ..data.tables import Cell, Table
from .grits import Pairs, align_grids, mean_rewards, span_rewards, text_rewards
from .table_pair import check_product, normal_text, read_pair

Verdict = Literal["equal", "text", "span", "missing", "extra"]


class AlignedCell(NamedTuple):
    """A true cell, the predicted cell that stands for it, and what differs; one of the two may be None.

    verdict: "equal"; "text": the same rows and columns, another text; "span": other rows or columns, whatever the
    text; "missing": no predicted cell stands for the true one; "extra": a predicted cell that stands for none.
    """

    truth: Cell | None
    prediction: Cell | None
    verdict: Verdict


@dataclass(frozen=True)
class Alignment:
    """How a predicted table lies on the true one.

    `rows` and `cols` are pairs (index in the truth, index in the prediction), both rising. `cells` holds each true
    cell once, in reading order, and then the extra cells of the prediction.
    """

    rows: Pairs
    cols: Pairs
    cells: list[AlignedCell]

    def truth_verdicts(self) -> dict[tuple[int, int], Verdict]:
        """(row, col) of each true cell -> its verdict."""
        return {(c.truth.row, c.truth.col): c.verdict for c in self.cells if c.truth is not None}

    def prediction_verdicts(self) -> dict[tuple[int, int], Verdict]:
        """(row, col) of each predicted cell -> its verdict."""
        return {
            (c.prediction.row, c.prediction.col): c.verdict for c in self.cells if c.prediction is not None
        }

    def count(self, verdict: Verdict) -> int:
        """Number of cells with this verdict."""
        return sum(cell.verdict == verdict for cell in self.cells)


class CellScores(NamedTuple):
    """Shares of cells: `precision` of the predicted ones, `recall` of the true ones, and their harmonic mean."""

    precision: float
    recall: float
    f1: float


def align_tables(prediction: Table, truth: Table) -> Alignment:
    """Lay a predicted table on the true one and judge every cell.

    Rows and columns correspond as in GriTS, by rewards that are the mean of those of GriTS-Con and GriTS-Top. Two
    cells belong together if they share most of the places where corresponding rows and columns cross. Texts are
    equal if `normal_text` of them is. Raises ValueError for tables too large to compare.
    """
    check_product(truth.n_rows * truth.n_cols, prediction.n_rows * prediction.n_cols, "places")
    rewards = mean_rewards(text_rewards(truth, prediction), span_rewards(truth, prediction))
    rows, cols = align_grids(rewards)
    texts = [[normal_text(cell.text) for cell in table.cells] for table in (truth, prediction)]
    partners = _partners(truth, prediction, rows, cols, texts)
    row_of, col_of = dict(rows), dict(cols)
    cells = []
    for number, cell in enumerate(truth.cells):
        partner = partners.get(number)
        if partner is None:
            cells.append(AlignedCell(cell, None, "missing"))
            continue
        other = prediction.cells[partner]
        placed = [row_of.get(cell.row + n) for n in range(cell.rowspan)] == [
            *range(other.row, other.row + other.rowspan)
        ]
        placed &= [col_of.get(cell.col + n) for n in range(cell.colspan)] == [
            *range(other.col, other.col + other.colspan)
        ]
        same = texts[0][number] == texts[1][partner]
        cells.append(AlignedCell(cell, other, "span" if not placed else "equal" if same else "text"))
    taken = set(partners.values())
    extra = [cell for number, cell in enumerate(prediction.cells) if number not in taken]
    return Alignment(rows, cols, [*cells, *(AlignedCell(None, cell, "extra") for cell in extra)])


def cell_scores(prediction: str, truth: str) -> CellScores:
    """Return precision, recall and F1 of the cells of two HTML tables; empty cells count like any other.

    A cell is right if `align_tables` finds it equal: right place, right spans, right text. A prediction without a
    table scores 0. Raises ValueError if the truth has none, or for tables too large to compare.
    """
    predicted, true = read_pair(prediction, truth)
    if predicted is None:
        return CellScores(0.0, 0.0, 0.0)
    right = align_tables(predicted, true).count("equal")
    n_predicted, n_true = len(predicted.cells), len(true.cells)
    return CellScores(right / n_predicted, right / n_true, 2 * right / (n_predicted + n_true))


def _partners(
    truth: Table, prediction: Table, rows: Pairs, cols: Pairs, texts: list[list[str]]
) -> dict[int, int]:
    """Number of each true cell -> number of the predicted cell that stands for it, both in reading order.

    First come those that share most places, of these those of equal text, then those read first.
    """
    numbers1, numbers2 = _numbers(truth), _numbers(prediction)
    shared = Counter(
        (numbers1[row1][col1], numbers2[row2][col2]) for row1, row2 in rows for col1, col2 in cols
    )
    order = sorted(shared, key=lambda pair: (-shared[pair], texts[0][pair[0]] != texts[1][pair[1]], pair))
    partners: dict[int, int] = {}
    taken: set[int] = set()
    for number1, number2 in order:
        if number1 not in partners and number2 not in taken:
            partners[number1] = number2
            taken.add(number2)
    return partners


def _numbers(table: Table) -> list[list[int]]:
    """For each place of the grid the number of the cell that covers it."""
    number = {(cell.row, cell.col): index for index, cell in enumerate(table.cells)}
    return [[number[cell.row, cell.col] for cell in line] for line in table.grid()]
