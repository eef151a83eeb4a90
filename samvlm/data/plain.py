"""A table as aligned text for a terminal: columns as wide as their longest text, spans joined, long cells wrapped."""

from __future__ import annotations

import re
import unicodedata

from .tables import Cell, Table

_NUMBER = re.compile(r"[-+−–±(<>≤≥~≈$€£¥]*\d[\d.,' \u00a0\u202f]*\s*(%|‰|\)|[×x]\s*10.*|±.*|\(.*\))*")
GAP = "  "
LEAST_WIDTH = 8  # columns are not squeezed below it


def draw_table(table: Table, width: int | None = None) -> str:
    """Return the table as lines of text; with `width`, wide columns are wrapped towards that many places.

    Numbers stand at the right of their column, everything else at the left; a rule follows the header rows.
    Control characters are left out: the text may go to a terminal.
    """
    texts = {id(cell): plain_text(cell.text) for cell in table.cells}
    widths = _widths(table, texts, width)
    right = [_is_numeric(table, texts, col) for col in range(table.n_cols)]
    lines = []
    for number, row in enumerate(table.grid()):
        lines += _draw_row(row, number, texts, widths, right)
        if number + 1 == table.header_rows:
            lines.append(GAP.join("─" * w for w in widths))
    return "".join(line.rstrip() + "\n" for line in lines)


def plain_text(text: str) -> str:
    """The text on one line, without the characters that would steer a terminal."""
    text = " ".join(text.split())
    return "".join(c for c in text if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp"))


def text_width(text: str) -> int:
    """Places that a text takes in a terminal: two for wide (East Asian) characters, none for combining ones."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )


def _widths(table: Table, texts: dict[int, str], width: int | None) -> list[int]:
    widths = [1] * table.n_cols
    for cell in sorted(table.cells, key=lambda cell: cell.colspan):
        covered = range(cell.col, cell.col + cell.colspan)
        lack = text_width(texts[id(cell)]) - sum(widths[c] for c in covered) - len(GAP) * (cell.colspan - 1)
        for extra in range(max(0, lack)):  # spread what a spanning text needs beyond its columns
            widths[covered[extra % cell.colspan]] += 1
    if width is not None:
        excess = sum(widths) + len(GAP) * (table.n_cols - 1) - width
        while excess > 0 and max(widths) > LEAST_WIDTH:
            widths[widths.index(max(widths))] -= 1
            excess -= 1
    return widths


def _is_numeric(table: Table, texts: dict[int, str], col: int) -> bool:
    """Whether most of the column's data cells are numbers."""
    data = [
        texts[id(cell)] for cell in table.cells if cell.col == col and cell.colspan == 1 and not cell.header
    ]
    filled = [text for text in data if text]
    return bool(filled) and sum(bool(_NUMBER.fullmatch(text)) for text in filled) * 2 > len(filled)


def _draw_row(
    row: list[Cell], number: int, texts: dict[int, str], widths: list[int], right: list[bool]
) -> list[str]:
    blocks = []
    for col, cell in enumerate(row):
        if cell.col != col:
            continue
        width = sum(widths[col : col + cell.colspan]) + len(GAP) * (cell.colspan - 1)
        lines = _wrap(texts[id(cell)], width) if cell.row == number else []
        if cell.colspan > 1:
            align = "center" if cell.header == "column" else "left"
        else:
            align = "right" if right[col] else "left"
        blocks.append((lines, width, align))
    height = max(1, max(len(lines) for lines, _, _ in blocks))
    return [
        GAP.join(_pad(lines[i] if i < len(lines) else "", width, align) for lines, width, align in blocks)
        for i in range(height)
    ]


def _pad(text: str, width: int, align: str) -> str:
    free = max(0, width - text_width(text))
    before = {"left": 0, "right": free, "center": free // 2}[align]
    return " " * before + text + " " * (free - before)


def _wrap(text: str, width: int) -> list[str]:
    """Break a text into lines of at most `width` places, at blanks where there are any."""
    lines = [""]
    for word in text.split(" "):
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if text_width(joined) <= width:
            lines[-1] = joined
            continue
        if lines[-1]:
            lines.append("")
        for character in word:
            if lines[-1] and text_width(lines[-1] + character) > width:
                lines.append("")
            lines[-1] += character
    return lines if text else []
