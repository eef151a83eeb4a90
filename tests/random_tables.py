"""Seeded random tables with spans, headers and hostile texts, for property tests."""

from __future__ import annotations

import random

from samvlm.data.cells import clean_text
from samvlm.data.otsl import TOKENS
from samvlm.data.tables import Cell, Table

PIECES = [
    *TOKENS, "<\\nl>", "<\\\\fcel>", "\\<nl>", "\\", "\\\\", "\\|", "|", "||", "<", ">", "&", "&amp;", "&#60;", "&lt",
    "<b>", "</td>", "<br>", "\\<br>", "<!--", "-->", "'", '"', "''", '""', ",", ";", "\n", "\n\n", " ", "a", "b c", "0.05*",
    "**", "_x_", "`", "[1](x)", "~~", "=SUM(A1)", "@x", "+1", "-2.5", "-x", "'=a", "'-5", "±", "é", "日本", "𝛼",
    "שלום", "p <0.05 and b> 3", "---", "| a |", "100%", "\u00ad", "\u200b", "#", "1.",
]  # fmt: skip


def random_text(rng: random.Random, hostile: bool = True) -> str:
    """A text in the form that readers give; empty one time in five."""
    if rng.random() < 0.2:
        return ""
    pieces = PIECES if hostile else ["a", "b", " ", "1", "x y", "0.5"]
    return clean_text("".join(rng.choice(pieces) for _ in range(rng.randint(1, 5))))


def random_table(rng: random.Random, spans: bool = True, max_side: int = 7, hostile: bool = True) -> Table:
    """A rectangular table with 0 to 3 header rows that no span leaves; other headers anywhere below."""
    n_rows, n_cols = rng.randint(1, max_side), rng.randint(1, max_side)
    head = rng.choice([0, 0, 1, 1, 2, 3])
    head = min(head, n_rows)
    free = [[True] * n_cols for _ in range(n_rows)]
    cells = []
    for row in range(n_rows):
        for col in range(n_cols):
            if not free[row][col]:
                continue
            height = width = 1
            if spans and rng.random() < 0.3:
                room = next((k for k in range(n_cols - col) if not free[row][col + k]), n_cols - col)
                width = rng.randint(1, room)
                height = rng.randint(1, (head if row < head else n_rows) - row)
            for line in free[row : row + height]:
                line[col : col + width] = [False] * width
            header = "column" if row < head else rng.choice([None] * 8 + ["column", "row", "section"])
            cells.append(Cell(random_text(rng, hostile), row, col, height, width, header))
    return Table(cells, n_rows, n_cols)


def plain(table: Table) -> Table:
    """The table with the headers that PubTabNet's HTML can hold: none outside the header rows."""
    head = table.header_rows
    return Table(
        [
            Cell(c.text, c.row, c.col, c.rowspan, c.colspan, "column" if c.row < head else None)
            for c in table.cells
        ],
        table.n_rows,
        table.n_cols,
    )
