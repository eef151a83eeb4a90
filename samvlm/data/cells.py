"""The cell of a table, the limits of a grid and the checks that every format reader shares."""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import index
from typing import Literal, NamedTuple

Header = Literal["column", "row", "section"]
HEADERS: tuple[str, ...] = ("column", "row", "section")

MAX_SPAN = 1000  # of rows or of columns, the limit of the HTML standard for colspan
MAX_GRID = 100_000  # rows x columns of one table; checked before a grid is allocated


@dataclass(slots=True)
class Cell:
    """One cell: its text and the rectangle of the grid that it covers.

    `row` and `col` (from 0) are its top-left place. `header` is None for a data cell, else "column", "row" or
    "section" (a row that titles the rows below it). `confidence` (0 to 1) and `box` (x0, y0, x1, y1 in pixels of
    the image) are what a parser adds; they take no part in comparisons.
    """

    text: str
    row: int
    col: int
    rowspan: int = 1
    colspan: int = 1
    header: Header | None = None
    confidence: float | None = field(default=None, compare=False)
    box: tuple[float, float, float, float] | None = field(default=None, compare=False)


class Layout(NamedTuple):
    """What a format reader returns: the cells, the size of the grid and what had to be repaired on the way."""

    cells: list[Cell]
    n_rows: int
    n_cols: int
    repairs: list[str]


def clean_text(text: str) -> str:
    """Collapse every run of blanks (of any Unicode kind) to one space, line by line; strip the ends.

    Every reader gives its text this form, so texts of this form survive every round trip.
    """
    if "\n" not in text:
        return " ".join(text.split())
    return "\n".join(" ".join(line.split()) for line in text.split("\n")).strip("\n")


def check_size(n_rows: int, n_cols: int) -> None:
    """Raise ValueError if the grid is empty or larger than `MAX_GRID` places, or no size at all."""
    if not _are_whole(n_rows, n_cols):
        raise ValueError(f"a table has whole numbers of rows and columns, got {n_rows!r} and {n_cols!r}")
    if n_rows < 1 or n_cols < 1:
        raise ValueError(f"a table needs at least one row and one column, got {n_rows} x {n_cols}")
    if n_rows * n_cols > MAX_GRID:
        raise ValueError(
            f"a table of {n_rows} rows x {n_cols} columns exceeds {MAX_GRID} places; "
            "split it, or correct its rowspan and colspan"
        )


def _are_whole(*values: object) -> bool:
    try:
        for value in values:
            index(value)  # type: ignore[arg-type]
    except TypeError:
        return False
    return True


def describe(cell: Cell) -> str:
    """Name a cell in an error message: its place, its spans and the start of its text."""
    text = cell.text if isinstance(cell.text, str) and len(cell.text) <= 40 else f"{str(cell.text)[:40]}…"
    return (
        f"cell {text!r} at row {cell.row!r}, column {cell.col!r} ({cell.rowspan!r} x {cell.colspan!r} places)"
    )


def place(cells: list[Cell], n_rows: int, n_cols: int) -> list[list[Cell | None]]:
    """Return the grid (n_rows lists of n_cols) with each cell at all its places, None where no cell is.

    Raises ValueError for a cell outside the grid, an unknown header kind, or two cells on one place.
    """
    check_size(n_rows, n_cols)
    grid: list[list[Cell | None]] = [[None] * n_cols for _ in range(n_rows)]
    for cell in cells:
        if cell.header is not None and cell.header not in HEADERS:
            raise ValueError(
                f"{describe(cell)}: header {cell.header!r} is unknown; use None or one of {HEADERS}"
            )
        if not _are_whole(cell.row, cell.col, cell.rowspan, cell.colspan):
            raise ValueError(f"{describe(cell)}: a place and spans are whole numbers; correct them")
        bottom, right = cell.row + cell.rowspan, cell.col + cell.colspan
        if cell.row < 0 or cell.col < 0 or cell.rowspan < 1 or cell.colspan < 1:
            raise ValueError(
                f"{describe(cell)}: a negative place or an empty span; row and col start at 0, spans at 1"
            )
        if bottom > n_rows or right > n_cols:
            raise ValueError(
                f"{describe(cell)} does not fit in {n_rows} rows x {n_cols} columns; shrink its spans"
            )
        for row in range(cell.row, bottom):
            line = grid[row]
            for col in range(cell.col, right):
                if line[col] is not None:
                    raise ValueError(
                        f"{describe(cell)} overlaps {describe(line[col])} at row {row}, column {col}; "
                        "shrink a span"
                    )
                line[col] = cell
    return grid
