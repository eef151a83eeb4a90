"""A plan becomes cells on a grid: header rows with spans, section rows, shared labels."""

from dataclasses import dataclass

from ..dice import Dice
from .plan import Draft, Item, Plan, Title


@dataclass
class Manner:
    """How structure shows. `section`: "span" (one cell over the row: shaded, centred or ruled off) | "plain"."""

    section: str
    section_align: str
    single: str  # titles beside groups: "span" (one tall cell) | "top" | "bottom" (empty cells beside)
    cover: str  # shared labels: "span" | "blank"
    bold_head: bool
    italic_head: bool
    bold_section: bool
    italic_section: bool
    head_align: str  # "l" | "c" | "as" (as the column)
    bold_total: bool
    bold_label: bool


def draw_manner(dice: Dice, plan: Plan, ruled: bool, shown: bool) -> Manner:
    """`ruled`: every cell has rules around it. `shown`: section rows are shaded or ruled off."""
    span = shown or ruled or dice.chance(0.3)
    return Manner(
        section="span" if span else "plain",
        section_align=("c" if dice.chance(0.5) else "l") if shown or ruled else ("c" if span else "l"),
        single=dice.weighted({"span": 7 if ruled else 2, "top": 1, "bottom": 1.5}),
        cover="span" if ruled or dice.chance(0.3) else "blank",
        bold_head=dice.chance(0.62 if plan.manner == "journal" else 0.55),
        italic_head=dice.chance(0.06),
        bold_section=dice.chance(0.5),
        italic_section=dice.chance(0.25),
        head_align=dice.weighted({"as": 4, "c": 3, "l": 2}),
        bold_total=dice.chance(0.4),
        bold_label=dice.chance(0.07),
    )


def compose(dice: Dice, plan: Plan, manner: Manner) -> Draft:
    """The cells of a plan, row by row."""
    items, top = _head(plan.titles, manner)
    n_cols = len(plan.titles)
    row_number = top
    left = 0
    for row in plan.rows:
        if row.kind == "section":
            items += _section(row.values[0], row_number, n_cols, manner)
        else:
            total = row.kind == "total"
            for col, text in enumerate(row.values):
                item = Item(text, row_number, col, align=plan.titles[col].align)
                item.bold = (total and manner.bold_total) or (col == 0 and manner.bold_label)
                if total:
                    item.classes.append("total")
                if col == 0:
                    item.indent = row.depth
                    if plan.grouped and left:
                        left -= 1
                        if manner.cover == "span":
                            continue
                    elif plan.grouped and row.cover > 1:
                        left = row.cover - 1
                        if manner.cover == "span":
                            item.rowspan, item.valign = row.cover, dice.choice(("middle", "middle", "top"))
                        item.classes.append("group")
                items.append(item)
        row_number += 1
    return Draft(items, row_number, n_cols, top)


def _section(text: str, row: int, n_cols: int, manner: Manner) -> list[Item]:
    if manner.section == "span" and n_cols > 1:
        item = Item(text, row, 0, 1, n_cols, "section", manner.section_align, classes=["section"])
        item.bold, item.italic = manner.bold_section, manner.italic_section
        return [item]
    items = [Item(text if col == 0 else "", row, col, classes=["open"]) for col in range(n_cols)]
    items[0].bold, items[0].italic = manner.bold_section, manner.italic_section
    return items


def _head(titles: list[Title], manner: Manner) -> tuple[list[Item], int]:
    """Header cells, and in how many rows they stand; none at all if no column has a title."""
    if not any(title.text or title.above for title in titles):
        return [], 0
    depth = 1 + max(len(title.above) for title in titles)
    items: list[Item] = []

    def put(text: str, row: int, col: int, rowspan: int = 1, colspan: int = 1) -> Item:
        align = "c" if colspan > 1 else titles[col].align if manner.head_align == "as" else manner.head_align
        if col == 0 and colspan == 1:
            align = titles[0].align
        item = Item(text, row, col, rowspan, colspan, "column", align)
        item.bold, item.italic = manner.bold_head, manner.italic_head
        if colspan > 1 and row + 1 < depth:
            item.classes.append("over")
        items.append(item)
        return item

    col = 0
    while col < len(titles):
        title = titles[col]
        if not title.above:
            _single(put, title.text, col, depth, manner)
            col += 1
            continue
        _group(put, titles, col, _run(titles, col, 1), 0, depth)
        col += _run(titles, col, 1)
    items.sort(key=lambda item: (item.row, item.col))
    return items, depth


def _run(titles: list[Title], col: int, level: int) -> int:
    """How many columns from `col` on share their first `level` upper titles."""
    shared = titles[col].above[:level]
    end = col
    while end < len(titles) and titles[end].above[:level] == shared:
        end += 1
    return end - col


def _group(put, titles: list[Title], col: int, size: int, level: int, depth: int) -> None:
    """The title at `level` over `size` columns, and what stands below it down to the last header row."""
    above = titles[col].above
    last = level == len(above) - 1
    tall = depth - 1 - level if last else 1  # reaches down to the row above the columns' own titles
    put(above[level], level, col, tall, size)
    if last:
        for offset in range(size):
            put(titles[col + offset].text, depth - 1, col + offset)
        return
    start = col
    while start < col + size:
        width = min(_run(titles, start, level + 2), col + size - start)
        _group(put, titles, start, width, level + 1, depth)
        start += width


def _single(put, text: str, col: int, depth: int, manner: Manner) -> None:
    if manner.single == "span" and depth > 1:
        put(text, 0, col, depth).valign = "middle"
        return
    place = 0 if manner.single == "top" else depth - 1
    for row in range(depth):
        put(text if row == place else "", row, col)
