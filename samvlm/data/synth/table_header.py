"""Header rows of a synthetic table: single titles, or titles over runs of columns."""

from .dice import Dice
from .figures import Column, title
from .looks import Look
from .table_cells import Item, column_align


def make_header(dice: Dice, look: Look, columns: list[Column], n_cols: int) -> tuple[list[Item], int]:
    """Items of the header rows, and how many rows there are."""
    rows = look.header_rows
    if rows == 0:
        return [], 0
    if rows > 1 and n_cols < 3:
        rows = 1
    align = [look.head_align or column_align(look, column, number) for number, column in enumerate(columns)]
    align = ["r" if a == "d" else a for a in align]
    if align and look.text_align == "l":
        align[0] = "l"

    def item(text: str, row: int, col: int, rowspan: int = 1, colspan: int = 1) -> Item:
        # Only a centred title, or one with a rule below, shows which columns it stands for.
        plain_left = look.head_align == "l" and col > 0 and look.rules != "none"
        where = "c" if colspan > 1 and not plain_left else align[col]
        return Item(text, row, col, rowspan, colspan, "column", look.head, where, "b")

    if rows == 1:
        return [item(column.header, 0, col) for col, column in enumerate(columns)], 1
    # Upper rows: runs of columns under common titles; a title for one column reaches down, or leaves a gap.
    mode = dice.choice(("span", "span", "top", "bottom"))  # where single titles stand
    items: list[Item] = []
    groups = _groups(dice, 1 if dice.chance(0.85) else 0, n_cols)
    repeat = [title(dice, 1) for _ in range(max(size for _, size in groups))] if dice.chance(0.4) else None
    if all(size == 1 for _, size in groups):
        return [item(column.header, 0, col) for col, column in enumerate(columns)], 1
    for start, size in groups:
        if size == 1:
            items += _single(item, columns[start].header, start, rows, mode)
            continue
        items.append(item(title(dice, dice.integer(1, 3)), 0, start, 1, size))
        level = 1
        if rows == 3:
            level = 2
            if size >= 4 and dice.chance(0.6):
                left = dice.integer(2, size - 2)
                items.append(item(title(dice, dice.integer(1, 2)), 1, start, 1, left))
                items.append(item(title(dice, dice.integer(1, 2)), 1, start + left, 1, size - left))
            else:
                items.append(item(title(dice, dice.integer(1, 2)), 1, start, 1, size))
        for offset in range(size):
            text = repeat[offset] if repeat else columns[start + offset].header
            items.append(item(text, level, start + offset))
    return items, rows


def _single(item, text: str, col: int, rows: int, mode: str) -> list[Item]:
    """The header of one column beside spanning titles."""
    if mode == "span":
        cell = item(text, 0, col, rows)
        cell.valign = "m"
        return [cell]
    place = 0 if mode == "top" else rows - 1
    return [item(text if row == place else "", row, col) for row in range(rows)]


def _groups(dice: Dice, first: int, n_cols: int) -> list[tuple[int, int]]:
    """The columns cut into runs (start, size); the label column stands alone if `first` is 1."""
    groups = [(0, 1)] if first else []
    col = first
    even = dice.choice((2, 2, 3, 4)) if dice.chance(0.5) else 0
    while col < n_cols:
        size = min(n_cols - col, even or dice.choice((1, 2, 2, 3, 3, 4, 5)))
        groups.append((col, size))
        col += size
    return groups
