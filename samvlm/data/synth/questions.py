"""Kind "question": a small table of numbers and a question about it with one exact answer."""

from dataclasses import replace
from decimal import Decimal

from ..tables import Table
from .dice import Dice
from .figures import Conventions
from .fitting import cut
from .looks import Look, draw_look
from .page import Drawn, Page, Type, plain, text_width
from .rules import draw_rules, draw_shades
from .table_cells import Content, Item, drawable
from .table_layout import arrange
from .tables import draw_items, to_cell, write_answer
from .words import UPPER, code, invented, letters, phrase

KINDS = {
    "cell": 5,
    "sum": 1.5,
    "largest": 1,
    "smallest": 1,
    "row largest": 1.5,
    "row smallest": 1,
    "rows": 1,
    "columns": 0.5,
    "above": 1,
}


def draw_question(dice: Dice, width: int, height: int) -> Drawn:
    """A page of `width` x `height` with a table, a question about it and the answer."""
    look = replace(draw_look(dice, width, height), header_rows=1)
    if look.rules in ("grid", "none", "columns", "rows"):
        look.head = replace(look.head, bold=True)
    conventions = Conventions.draw(dice)
    while True:  # a table needs a row and a number: with type this small one always comes
        content, values = _content(dice, look, conventions, width - 8, height - 6)
        layout = arrange(dice, look, content, 4, 3, width - 8, height - 6)
        if content.n_rows > 1 and content.n_cols > 1:
            break
        look.body = replace(look.body, size=9.0)
        look.head = replace(look.head, size=9.0)
        look.leading, look.pad_y, look.pad_x = 10.0, 1.0, 3.0
    _, offsets = write_answer(content)
    page = Page(width, height)
    page.paper, page.colour = look.paper, look.colour
    draw_shades(page, look, content, layout)
    draw_rules(dice, page, look, content, layout)
    draw_items(page, look, content, layout, dict.fromkeys(offsets, -1))
    kind, question, answer = ask(dice, content, values, conventions)
    table = Table([to_cell(item) for item in content.items], content.n_rows, content.n_cols)
    meta = {
        "family": look.body.family.name,
        "size": look.body.size,
        "hinted": look.body.hinted,
        "question": kind,
    }
    return Drawn(page, "question", answer, meta, question, table)


def _content(
    dice: Dice, look: Look, conventions: Conventions, width: float, height: float
) -> tuple[Content, list[list[Decimal]]]:
    """A table with distinct labels, distinct titles and plain numbers; `values[row][column]` without header, labels."""
    style, pad = look.body, 2 * look.pad_x
    pitch = look.leading + look.pad_y
    n_body = max(1, min(dice.integer(2, 12), int((height - 1.5 * pitch) / pitch)))
    labels = distinct(dice, style, n_body, dice.choice(("word", "words", "year", "code")), 0.45 * width)
    used = max(text_width(label, style) for label in labels)
    used = max(used, min(3 * style.size, 0.45 * width)) + pad
    widths, columns = [used - pad], []
    titles = [cut(dice.choice(("Name", "Item", "Region", "Year", "Group")), look.head, used - pad)]
    digits = dice.choice((0, 0, 1, 2))
    top = dice.between(1, 4)
    for title in distinct(
        dice, look.head, dice.integer(1, 6), dice.choice(("word", "word", "words", "year")), 0.4 * width
    ):
        if title in titles or title in labels:
            continue
        numbers = [
            Decimal(int(10 ** (top * dice.between(0.3, 1)) * 10**digits)).scaleb(-digits)
            for _ in range(n_body)
        ]
        texts = [conventions.fixed(number, digits) for number in numbers]
        room = max(max(text_width(text, style) for text in texts), text_width(title, look.head)) + 2
        if used + room + pad > width:
            break
        used += room + pad
        widths.append(room)
        titles.append(title)
        columns.append((numbers, texts))
    items = [
        Item(
            drawable(dice, style, text),
            0,
            col,
            header="column",
            style=look.head,
            align="l" if col == 0 else "c",
            valign="b",
        )
        for col, text in enumerate(titles)
    ]
    align = look.number_align
    for row in range(n_body):
        items.append(Item(labels[row], row + 1, 0, style=style, valign=look.valign))
        for col, (_, texts) in enumerate(columns):
            items.append(Item(texts[row], row + 1, col + 1, style=style, align=align, valign=look.valign))
    values = [[numbers[row] for numbers, _ in columns] for row in range(n_body)]
    return Content(items, n_body + 1, len(titles), 1, widths, {}), values


def distinct(dice: Dice, style: Type, count: int, kind: str, room: float) -> list[str]:
    """`count` different names of one kind, each at most `room` pixels wide; initials where names are too wide."""
    if kind == "year":
        first, step = dice.integer(1960, 2020), dice.choice((1, 1, 2, 5))
        years = [str(first + step * number) for number in range(count)]
        if text_width(years[0], style) <= room:
            return years
    found: dict[str, None] = {}
    tries = 0
    while len(found) < count:
        tries += 1
        if tries > 10 * count:
            text = letters(dice, UPPER, 1, 2)
        elif kind == "code":
            text = code(dice) if dice.chance(0.5) else letters(dice, UPPER, 2, 4)
        elif kind == "word":
            text = invented(dice).capitalize() if dice.chance(0.5) else phrase(dice, 1, capital=1.0)
        else:
            text = phrase(dice, dice.integer(1, 2), capital=1.0)
        text = drawable(dice, style, text)
        if tries > 10 * count or (len(text) <= 18 and text_width(text, style) <= room):
            found[text] = None
    return list(found)


def ask(
    dice: Dice, content: Content, values: list[list[Decimal]], conventions: Conventions
) -> tuple[str, str, str]:
    """(kind, question, answer) about a table whose first row and column are titles and labels.

    Numbers are answered in the table's own spelling.
    """
    texts = {(item.row, item.col): plain(item.text) for item in content.items}
    n_rows, n_cols = content.n_rows - 1, content.n_cols - 1
    row, col = dice.integer(1, n_rows), dice.integer(1, n_cols)
    column = [values[r][col - 1] for r in range(n_rows)]
    title, digits = texts[0, col], -int(column[0].as_tuple().exponent)
    largest, smallest = max(column), min(column)
    kind = dice.weighted(KINDS)
    if kind.startswith("row ") and column.count(largest if kind == "row largest" else smallest) > 1:
        kind = "cell"
    if kind == "sum":
        return (
            kind,
            dice.choice((f"What is the sum of {title}?", f"What is the total of {title}?")),
            conventions.fixed(sum(column), digits),
        )
    if kind == "largest":
        return kind, f"What is the largest {title}?", conventions.fixed(largest, digits)
    if kind == "smallest":
        return kind, f"What is the smallest {title}?", conventions.fixed(smallest, digits)
    if kind == "row largest":
        return kind, f"Which row has the largest {title}?", texts[column.index(largest) + 1, 0]
    if kind == "row smallest":
        return kind, f"Which row has the smallest {title}?", texts[column.index(smallest) + 1, 0]
    if kind == "rows":
        return kind, "How many rows are below the header?", str(n_rows)
    if kind == "columns":
        return kind, "How many columns are there?", str(n_cols + 1)
    if kind == "above":
        bar = column[row - 1]
        count = sum(value > bar for value in column)
        return kind, f"In how many rows is {title} above {conventions.fixed(bar, digits)}?", str(count)
    return kind, f"What is the {title} of {texts[row, 0]}?", texts[row, col]
