"""Table: cells with spans and headers on a grid; every format is read into it and written from it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import delimited, html, latex, markdown, otsl
from .cells import Cell, Layout, check_size, clean_text, describe, place
from .safe_text import dump_json
from .whole_files import whole_file

if TYPE_CHECKING:
    import pandas

__all__ = ["Cell", "Table"]


class Table:
    """Cells that tile a grid of `n_rows` x `n_cols` places, in reading order.

    Places that no given cell covers become empty cells. Raises ValueError for cells that overlap or lie outside.
    `repairs` lists what a reader had to mend (short rows, merges that were no rectangle); empty for clean input.
    Two tables are equal when their size and cells (text, place, spans, header) are.
    """

    def __init__(self, cells: Iterable[Cell], n_rows: int, n_cols: int, repairs: Sequence[str] = ()) -> None:
        given = list(cells)
        for cell in given:
            if not isinstance(cell.text, str):
                raise ValueError(f"{describe(cell)}: its text is no string; give a str")
        grid = place(given, n_rows, n_cols)
        for row, line in enumerate(grid):
            for col, cell in enumerate(line):
                if cell is None:
                    given.append(Cell("", row, col))
        given.sort(key=lambda cell: (cell.row, cell.col))
        self.cells: list[Cell] = given
        self.n_rows = n_rows
        self.n_cols = n_cols
        self.repairs: list[str] = list(repairs)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Table):
            return NotImplemented
        return (self.n_rows, self.n_cols, self.cells) == (other.n_rows, other.n_cols, other.cells)

    __hash__ = None  # type: ignore[assignment]  # cells may be edited

    def __repr__(self) -> str:
        return f"Table({self.n_rows} rows x {self.n_cols} columns, {len(self.cells)} cells)"

    def grid(self) -> list[list[Cell]]:
        """Rows of cells; a cell that spans several places stands at each of them."""
        return place(self.cells, self.n_rows, self.n_cols)  # type: ignore[return-value]  # tiled: no None

    @property
    def header_rows(self) -> int:
        """Number of leading rows that hold column headers only, none of which reaches below them."""
        covered, total = [0] * (self.n_rows + 1), 0
        for cell in self.cells:
            if cell.header == "column":
                for row in range(cell.row, cell.row + cell.rowspan):
                    covered[row] += cell.colspan
        while total < self.n_rows and covered[total] == self.n_cols:
            total += 1
        for cell in reversed(self.cells):
            if cell.row < total < cell.row + cell.rowspan:
                total = cell.row
        return total

    # readers

    @classmethod
    def _from_layout(cls, layout: Layout) -> Table:
        return cls(layout.cells, layout.n_rows, layout.n_cols, layout.repairs)

    @classmethod
    def from_rows(cls, rows: Sequence[Sequence[str]], header_rows: int = 0) -> Table:
        """Make a table without spans; the first `header_rows` rows become column headers.

        Short rows are padded (see `repairs`). Raises ValueError if there is no cell.
        """
        n_cols = max((len(row) for row in rows), default=0)
        check_size(len(rows), n_cols)
        repairs = [
            f"row {number}: {len(row)} of {n_cols} columns, padded with empty cells"
            for number, row in enumerate(rows)
            if len(row) < n_cols
        ]
        cells = [
            Cell(
                clean_text(str(row[col])) if col < len(row) else "",
                number,
                col,
                header="column" if number < header_rows else None,
            )
            for number, row in enumerate(rows)
            for col in range(n_cols)
        ]
        return cls(cells, len(rows), n_cols, repairs)

    @classmethod
    def from_otsl(cls, text: str) -> Table:
        """Read OTSL of either dialect, complete or cut off. Raises ValueError if it holds no cell."""
        return cls._from_layout(otsl.read_otsl(text))

    @classmethod
    def from_html(cls, text: str) -> Table:
        """Read the first table of an HTML document or fragment. Raises ValueError if it has none with cells."""
        return cls._from_layout(html.read_html(text))

    @classmethod
    def all_from_html(cls, text: str) -> list[Table]:
        """Read every table with cells, in document order; a table within a cell is text of that cell."""
        return [cls._from_layout(layout) for layout in html.read_all_html(text)]

    @classmethod
    def all_from_latex(cls, text: str) -> list[Table]:
        """Read every LaTeX table with cells of a text (`tabular` and its kin), in order; the last may be cut off."""
        return [cls._from_layout(layout) for layout in latex.all_latex(text)]

    @classmethod
    def from_markdown(cls, text: str) -> Table:
        """Read the first pipe table of a Markdown text. Raises ValueError if it has none."""
        return cls.from_rows(*markdown.read_markdown(text))

    @classmethod
    def from_csv(cls, text: str, header_rows: int = 1, raw: bool = False, delimiter: str = ",") -> Table:
        """Read CSV; its first `header_rows` lines become column headers.

        The single quote that `to_csv` puts before a formula is taken away again, unless `raw`.
        """
        return cls.from_rows(delimited.read_csv(text, raw, delimiter), header_rows)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Table:
        """Undo `to_dict`. Raises ValueError for missing, unknown or impossible values."""
        try:
            cells = [Cell(**cell) for cell in data["cells"]]
            for cell in cells:
                if cell.box is not None:
                    cell.box = tuple(_finite(edge) for edge in cell.box)  # type: ignore[assignment]
                    if len(cell.box) != 4:
                        raise TypeError(f"a box has 4 edges, got {len(cell.box)}")
                if cell.confidence is not None:
                    _finite(cell.confidence)
            return cls(cells, data["n_rows"], data["n_cols"])
        except ValueError as error:
            raise ValueError(f"not a table: {error}") from error
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"not a table: {error}; expected n_rows, n_cols and cells with text, row, col and, where they "
                "differ from the defaults, rowspan, colspan, header, confidence, box"
            ) from error

    @classmethod
    def from_json(cls, text: str) -> Table:
        """Undo `to_json`. Raises ValueError for what is no JSON or no table."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:  # also a number of 5,000 digits, lists 10,000 deep
            raise ValueError(f"not a table: no JSON ({error})") from error
        return cls.from_dict(data)

    @classmethod
    def from_xlsx(
        cls, source: str | Path | bytes, sheet: str | None = None, header_rows: int | None = None
    ) -> Table:
        """Read a sheet of a workbook (a path or its bytes): the one named, else the first with cells.

        Merged cells become spans; numbers come as they are shown, dates in ISO form; of a formula what was stored
        with it, else its text: nothing is evaluated. The table ends with the outermost cells with text or a border.
        Column headers are the first `header_rows` rows; None: the frozen rows, else the leading bold ones.
        Raises ValueError for what is no XLSX file, damaged, encrypted or too large.
        """
        from .spreadsheet.reader import read_xlsx

        return cls._from_layout(read_xlsx(source, sheet, header_rows))

    @classmethod
    def all_from_xlsx(cls, source: str | Path | bytes, header_rows: int | None = None) -> dict[str, Table]:
        """Read every sheet with cells, by name; see `from_xlsx`."""
        from .spreadsheet.reader import read_all_xlsx

        return {name: cls._from_layout(layout) for name, layout in read_all_xlsx(source, header_rows)}

    @classmethod
    def from_dataframe(cls, frame: pandas.DataFrame, index: bool | None = None) -> Table:
        """Read a pandas data frame; see `samvlm.data.frames.read_frame`."""
        from .frames import read_frame

        return read_frame(frame, index)

    # writers

    def to_otsl(self) -> str:
        """Return the model's target: tokens and texts, every row ended by `<nl>`."""
        return otsl.write_otsl(self.cells, self.n_rows, self.n_cols)

    def to_html(self, wrap: bool = True, th: bool = False) -> str:
        """Return HTML as PubTabNet writes it: thead for the header rows, tbody for the rest, td everywhere.

        `wrap` adds `<html><body>`, without which the official TEDS scores 0. `th` writes headers as
        `<th scope=…>`, which keeps row and section headers too and is what screen readers want.
        """
        return html.write_html(self.cells, self.n_rows, self.header_rows, wrap=wrap, th=th)

    def to_rows(self) -> list[list[str]]:
        """Return the text of every place; a span has its text at its first place, the others are empty."""
        rows = [[""] * self.n_cols for _ in range(self.n_rows)]
        for cell in self.cells:
            rows[cell.row][cell.col] = cell.text
        return rows

    def to_markdown(self) -> str:
        """Return a pipe table. Spans and header rows beyond the first are flattened: Markdown has none."""
        return markdown.write_markdown(self.to_rows(), self.header_rows)

    def to_csv(self, raw: bool = False) -> str:
        """Return CSV, spans flattened. A text that a spreadsheet would run gets a single quote in front.

        That is one that starts with `=`, `@`, a tab or a line end, or with `+` or `-` unless it is a number or the
        sign alone. `raw` writes the texts as they are.
        """
        return delimited.write_csv(self.to_rows(), raw)

    def to_xlsx(self, path: str | Path | None = None, raw: bool = False) -> bytes:
        """Return a workbook of one sheet and write it to `path`, if one is given.

        Merged cells are kept, header rows bold and frozen. No text becomes a formula, and plain numbers of the body
        become numbers only if they are shown with the same digits; with `raw` none does. See
        `samvlm.data.spreadsheet.writer.write_xlsx` for the rules, and for several tables in one workbook.
        """
        from .spreadsheet.writer import write_xlsx

        data = write_xlsx([self], raw=raw)
        if path is not None:
            with whole_file(Path(path)) as stream:
                stream.write(data)
        return data

    def to_dataframe(self, index: bool = False) -> pandas.DataFrame:
        """Return a pandas data frame of texts; see `samvlm.data.frames.write_frame`."""
        from .frames import write_frame

        return write_frame(self, index)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; fields at their default are left out, and what is NaN or infinite too."""
        cells = []
        for cell in self.cells:
            item: dict[str, Any] = {"text": cell.text, "row": cell.row, "col": cell.col}
            if cell.rowspan > 1:
                item["rowspan"] = cell.rowspan
            if cell.colspan > 1:
                item["colspan"] = cell.colspan
            if cell.header is not None:
                item["header"] = cell.header
            if cell.confidence is not None and isfinite(cell.confidence):
                item["confidence"] = cell.confidence
            if cell.box is not None and all(map(isfinite, cell.box)):
                item["box"] = list(cell.box)
            cells.append(item)
        return {"n_rows": self.n_rows, "n_cols": self.n_cols, "cells": cells}

    def to_json(self) -> str:
        """Return `to_dict` as JSON text."""
        return dump_json(self.to_dict())


def _finite(value: Any) -> float:
    """Return the number. Raises TypeError for what is none, or no finite one."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise TypeError(f"{value!r} is no number")
    return value
