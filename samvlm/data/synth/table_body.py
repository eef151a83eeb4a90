"""Body rows of a synthetic table: values, section rows, indented and shared labels, totals."""

from dataclasses import replace

from .dice import Dice
from .figures import Column
from .looks import Look
from .page import ITALIC
from .table_cells import Item, column_align
from .words import phrase


def make_body(
    dice: Dice, look: Look, texts: list[list[str]], columns: list[Column], top: int, n_body: int, n_cols: int
) -> tuple[list[Item], dict[int, str]]:
    """Items of the body rows, and which rows are section rows."""
    style = look.body
    labels = replace(style, bold=look.bold_labels, italic=dice.chance(0.05))
    styles = [replace(style, italic=dice.chance(0.03), bold=dice.chance(0.03)) for _ in columns]
    styles[0] = labels
    strong = [replace(style, bold=True) for style in styles]
    aligns = [column_align(look, column, number) for number, column in enumerate(columns)]
    sections = _sections(dice, look, n_body, n_cols, top)
    indent = dice.choice((0.0, 0.6, 1.0, 1.5)) * style.size
    steps = _steps(dice, n_body) if not sections and dice.chance(0.2) else []
    blank_parent = {col for col in range(1, n_cols) if dice.chance(0.7)} if dice.chance(0.6) else set()
    blank_child = {col for col in blank_parent ^ set(range(1, n_cols)) if dice.chance(0.5)}
    bold_parent = dice.chance(0.3)
    runs = (
        _runs(dice, n_body)
        if not sections and n_cols > 2 and dice.chance(0.3 if look.rules == "grid" else 0.12)
        else {}
    )
    total_row = dice.chance(0.12)
    items: list[Item] = []
    covered = 0
    for number in range(n_body):
        row = top + number
        if row in sections:
            items += _section_items(dice, look, row, n_cols, sections[row])
            continue
        depth = steps[number] if steps else int(bool(sections))
        parent = bool(steps) and number + 1 < n_body and steps[number + 1] > depth
        last = total_row and number == n_body - 1
        for col in range(n_cols):
            item_style = (strong if last or (parent and bold_parent) else styles)[col]
            text = texts[col][number]
            if steps and not last and col in (blank_parent if parent else blank_child):
                text = ""
            item = Item(text, row, col, style=item_style, align=aligns[col], valign=look.valign)
            if col == 0:
                if runs:
                    if covered:
                        covered -= 1
                        if look.rules == "grid":
                            continue  # the place belongs to the cell above
                        item.text = ""
                    else:
                        covered = runs.get(number, 1) - 1
                        if look.rules == "grid":
                            item.rowspan = covered + 1
                            item.valign = dice.choice("mmt") if look.valign == "t" else "m"
                else:
                    item.indent = indent * depth
                    if last:
                        item.text, item.indent = dice.choice(("Total", "All", "Sum", "Overall", text)), 0.0
            items.append(item)
    return items, sections


def _steps(dice: Dice, n_body: int) -> list[int]:
    """Depth of every row's label in a hierarchy of up to three levels."""
    steps, deepest = [0], dice.choice((1, 1, 2))
    for _ in range(n_body - 1):
        steps.append(min(deepest, steps[-1] + 1) if dice.chance(0.6) else dice.integer(0, steps[-1]))
    return steps


def _runs(dice: Dice, n_body: int) -> dict[int, int]:
    """Body rows that share one label: first row -> how many."""
    runs, row = {}, 0
    longest = dice.integer(2, 6)
    while row < n_body:
        runs[row] = min(dice.integer(1, longest), n_body - row)
        row += runs[row]
    return runs


def _sections(dice: Dice, look: Look, n_body: int, n_cols: int, top: int) -> dict[int, str]:
    """Rows that title those below them: a cell over the whole row where that shows, else text and empty cells."""
    if n_body < 4 or n_cols < 2 or not dice.chance(0.25):
        return {}
    kind = "span" if look.section_centred or look.section_shade else "plain"
    rows, row = {}, 0 if dice.chance(0.8) else dice.integer(1, n_body - 2)
    while row < n_body - 1:
        rows[top + row] = kind
        row += dice.integer(3, 8)
    return rows


def _section_items(dice: Dice, look: Look, row: int, n_cols: int, kind: str) -> list[Item]:
    style = replace(look.body, bold=dice.chance(0.6), italic=dice.chance(0.25))
    text = phrase(dice, dice.integer(1, 3)) + dice.choice(("", "", "", ":", ", n (%)", f" ({ITALIC}n"))
    text = text + ")" if text.endswith(f"({ITALIC}n") else text
    if kind == "span":
        where = "c" if look.section_centred else "l"
        return [Item(text, row, 0, 1, n_cols, "section", style, where, "m")]
    return [Item(text if col == 0 else "", row, col, style=style, valign="t") for col in range(n_cols)]
