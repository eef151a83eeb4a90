"""From cells of a data set to the truth of an Item: a checked Table, its target and its extra fields."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from ..cells import Cell
from ..tables import Table

Box = tuple[float, float, float, float]


class Range(NamedTuple):
    """A cell as many data sets give it: text, first and last row, first and last column, box in pixels."""

    text: str
    start_row: int
    end_row: int
    start_col: int
    end_col: int
    box: Box | None = None


def table_of(ranges: Iterable[Range], from_first: bool = False) -> Table:
    """Return the table of cells given by their first and last row and column, both included.

    Rows and columns that start below 0 are shifted to 0; with `from_first`, those that start above it too. Raises
    ValueError for no cell, an end before its start, cells that overlap, or too large a grid.
    """
    given = list(ranges)
    if not given:
        raise ValueError("the table has no cell")
    for item in given:
        for what, start, end in (
            ("row", item.start_row, item.end_row),
            ("column", item.start_col, item.end_col),
        ):
            if end < start:
                raise ValueError(f"the cell {item.text!r} starts in {what} {start} and ends in {what} {end}")
    top, left = min(item.start_row for item in given), min(item.start_col for item in given)
    if not from_first:
        top, left = min(top, 0), min(left, 0)
    repairs = [f"{what}s counted from {at}, not 0" for what, at in (("row", top), ("column", left)) if at]
    cells = [
        Cell(
            " ".join(item.text.split()),
            item.start_row - top,
            item.start_col - left,
            item.end_row - item.start_row + 1,
            item.end_col - item.start_col + 1,
            box=item.box,
        )
        for item in given
    ]
    n_rows = max(cell.row + cell.rowspan for cell in cells)
    n_cols = max(cell.col + cell.colspan for cell in cells)
    return Table(cells, n_rows, n_cols, repairs)


def truth(table: Table) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return (target, extra) of a table.

    The target's "html" is PubTabNet's form, which is scored; where it cannot hold all headers (row and section
    headers), "otsl" has them. extra has "boxes" where there are any, rounded to 0.01, and "repairs" where something
    was mended.
    """
    html = table.to_html()
    target = {"html": html}
    if Table.from_html(html) != table:
        target["otsl"] = table.to_otsl()
    extra: dict[str, Any] = {}
    if any(cell.box for cell in table.cells):
        extra["boxes"] = [cell.box and [round(edge, 2) for edge in cell.box] for cell in table.cells]
    if table.repairs:
        extra["repairs"] = table.repairs
    return target, extra
