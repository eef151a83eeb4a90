"""Table: cells with spans and headers on a grid; every format is read into it and written from it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from . import delimited, html, markdown, otsl
from .cells import Cell, Layout, check_size, clean_text, place

__all__ = ["Cell", "Table"]


class Table:
    """Cells that tile a grid of `n_rows` x `n_cols` places, in reading order.

    Places that no given cell covers become empty cells. Raises ValueError for cells that overlap or lie outside.
    `repairs` lists what a reader had to mend (short rows, merges that were no rectangle); empty for clean input.
    Two tables are equal when their size and cells (text, place, spans, header) are.
    """

    def __init__(self, cells: Iterable[Cell], n_rows: int, n_cols: int, repairs: Sequence[str] = ()) -> None:
        given = list(cells)
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
                if not isinstance(cell.text, str):
                    raise TypeError(f"the text {cell.text!r} is no string")
                cell.box = tuple(cell.box) if cell.box is not None else None  # type: ignore[assignment]
            return cls(cells, data["n_rows"], data["n_cols"])
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
        except json.JSONDecodeError as error:
            raise ValueError(f"not a table: no JSON ({error})") from error
        return cls.from_dict(data)

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

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; fields at their default are left out."""
        cells = []
        for cell in self.cells:
            item: dict[str, Any] = {"text": cell.text, "row": cell.row, "col": cell.col}
            if cell.rowspan > 1:
                item["rowspan"] = cell.rowspan
            if cell.colspan > 1:
                item["colspan"] = cell.colspan
            for name in ("header", "confidence", "box"):
                value = getattr(cell, name)
                if value is not None:
                    item[name] = list(value) if name == "box" else value
            cells.append(item)
        return {"n_rows": self.n_rows, "n_cols": self.n_cols, "cells": cells}

    def to_json(self) -> str:
        """Return `to_dict` as JSON text."""
        return json.dumps(self.to_dict(), ensure_ascii=False)
