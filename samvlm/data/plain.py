"""A table as aligned text for a terminal: columns as wide as their longest text, spans joined, long cells wrapped."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from .tables import Cell, Table

# A number with what may stand around it. No two repeats may match the same characters: models write long cells.
_NUMBER = re.compile(
    r"[-+−–±(<>≤≥~≈$€£¥]*\d[\d.,' \u00a0\u202f]*[%‰)]*(?: ?(?:[×x] ?10.*|±.*|\(.*[%‰)]))?", re.DOTALL
)
GAP = "  "
LEAST_WIDTH = 8  # columns are not squeezed below it
MOST_WIDTH = 500  # nor wider, on any screen: the text is wrapped


def draw_table(table: Table, width: int | None = None) -> str:
    """Return the table as lines of text; with `width`, wide columns are wrapped towards that many places.

    Numbers stand at the right of their column, everything else at the left; a rule follows the header rows.
    Control characters are left out: the text may go to a terminal.
    """
    texts = {id(cell): plain_text(cell.text) for cell in table.cells}
    needs = {place: text_width(text) for place, text in texts.items()}
    widths = [min(w, MOST_WIDTH) for w in column_widths(table, needs, len(GAP))]
    if width is not None:
        widths = _squeeze(widths, width - len(GAP) * (table.n_cols - 1))
    right = _numeric_columns(table, texts)
    header_rows = table.header_rows
    lines = []
    for number, row in enumerate(table.grid()):
        lines += _draw_row(row, number, texts, widths, right)
        if number + 1 == header_rows:
            lines.append(GAP.join("─" * w for w in widths))
    return "".join(line.rstrip() + "\n" for line in lines)


def plain_text(text: str) -> str:
    """The text on one line, without the characters that would steer a terminal."""
    text = " ".join(text.split())
    return "".join(c for c in text if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp"))


def text_width(text: str) -> int:
    """Places that a text takes in a terminal: two for wide (East Asian) characters, none for combining ones."""
    return len(text) if text.isascii() else sum(map(_places, text))


@lru_cache(maxsize=10_000)
def _places(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def column_widths(table: Table, needs: dict[int, int], gap: int = 0) -> list[int]:
    """Places that each column needs, at least 1, if a cell needs `needs[id(cell)]` and columns are `gap` apart."""
    widths = [1] * table.n_cols
    for cell in sorted(table.cells, key=lambda cell: cell.colspan):
        covered = range(cell.col, cell.col + cell.colspan)
        lack = needs[id(cell)] - sum(widths[c] for c in covered) - gap * (cell.colspan - 1)
        share, rest = divmod(max(0, lack), cell.colspan)
        for number, col in enumerate(covered):  # spread what a spanning text needs beyond its columns
            widths[col] += share + (number < rest)
    return widths


def _squeeze(widths: list[int], places: int) -> list[int]:
    """Narrow the widest columns, none below LEAST_WIDTH, until all together fit into `places`."""
    low, high = min(LEAST_WIDTH, max(widths)), max(widths)
    while low < high:
        level = (low + high) // 2
        if sum(min(w, level) for w in widths) >= places:
            high = level
        else:
            low = level + 1
    narrow = [min(w, high) for w in widths]
    excess = sum(narrow) - places
    for col, width in enumerate(narrow):
        if excess > 0 and width == high > LEAST_WIDTH:
            narrow[col] -= 1
            excess -= 1
    return narrow


def _numeric_columns(table: Table, texts: dict[int, str]) -> list[bool]:
    """For each column, whether most of its data cells are numbers."""
    filled, numbers = [0] * table.n_cols, [0] * table.n_cols
    for cell in table.cells:
        if cell.colspan == 1 and not cell.header and (text := texts[id(cell)]):
            filled[cell.col] += 1
            numbers[cell.col] += _NUMBER.fullmatch(text) is not None
    return [number * 2 > count for number, count in zip(numbers, filled, strict=True)]


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
    lines: list[str] = []
    line, used = "", 0
    for word in text.split(" "):
        wide = text_width(word)
        if line and used + 1 + wide <= width:
            line, used = f"{line} {word}", used + 1 + wide
            continue
        if line:
            lines.append(line)
        line, used = word, wide
        if used > width:
            *full, (line, used) = _cut(word, width)
            lines += [piece for piece, _ in full]
    return [*lines, line] if text else []


def _cut(word: str, width: int) -> list[tuple[str, int]]:
    """Cut a word into pieces of at most `width` places (one character at least), each with its places."""
    pieces, start, used = [], 0, 0
    for end, character in enumerate(word):
        wide = _places(character)
        if end > start and used + wide > width:
            pieces.append((word[start:end], used))
            start, used = end, 0
        used += wide
    return [*pieces, (word[start:], used)]
