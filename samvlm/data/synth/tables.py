"""Kind "table": a table that fills its image, with OTSL as the answer."""

from ..otsl import ECEL, FCEL, LCEL, NL, TOKEN_OF, UCEL, XCEL
from ..tables import Cell, Table
from .dice import Dice
from .fitting import cut
from .looks import Look, draw_look
from .page import Drawn, Page, plain, text_width
from .rules import draw_rules, draw_shades
from .table_cells import Content, Item, drawable
from .table_content import make_content
from .table_layout import Layout, arrange, decimal_offset
from .words import phrase


def draw_table(dice: Dice, width: int, height: int) -> Drawn:
    """A page of `width` x `height` with one table, and its OTSL."""
    look = draw_look(dice, width, height)
    left, top = dice.between(1, 8), dice.between(1, 6)
    right, bottom = dice.between(1, 8), dice.between(1, 6)
    content = make_content(dice, look, width - left - right, height - top - bottom)
    return set_table(dice, look, content, (left, top, right, bottom), width, height)


def set_table(
    dice: Dice,
    look: Look,
    content: Content,
    margins: tuple[float, float, float, float],
    width: int,
    height: int,
) -> Drawn:
    """The page with `content` set in `look` within its margins (left, top, right, bottom), and its OTSL."""
    left, top, right, bottom = margins
    layout = arrange(dice, look, content, left, top, width - left - right, height - top - bottom)
    answer, offsets = write_answer(content)
    page = Page(width, height)
    page.paper, page.colour = look.paper, look.colour
    draw_shades(page, look, content, layout)
    draw_rules(dice, page, look, content, layout)
    draw_items(page, look, content, layout, offsets)
    if dice.chance(0.04):
        draw_remnant(dice, page, look, content, layout)
    table = Table([to_cell(item) for item in content.items], content.n_rows, content.n_cols)
    meta = {
        "family": look.body.family.name,
        "size": look.body.size,
        "hinted": look.body.hinted,
        "rules": look.rules,
    }
    meta |= {"rows": content.n_rows, "cols": content.n_cols, "header_rows": content.header_rows}
    return Drawn(page, "table", answer, meta, table=table)


def to_cell(item: Item) -> Cell:
    """The cell of the finished table."""
    return Cell(plain(item.text), item.row, item.col, item.rowspan, item.colspan, item.header)


def write_answer(content: Content) -> tuple[str, dict[int, int]]:
    """The OTSL of the table, and where each item's text starts in it (by id of the item)."""
    places: dict[tuple[int, int], tuple[Item, str]] = {}
    for item in content.items:
        for row in range(item.row, item.row + item.rowspan):
            for col in range(item.col, item.col + item.colspan):
                token = XCEL if row > item.row and col > item.col else UCEL if row > item.row else LCEL
                places[row, col] = (item, token)
    parts: list[str] = []
    offsets: dict[int, int] = {}
    length = 0
    for row in range(content.n_rows):
        for col in range(content.n_cols):
            item, token = places[row, col]
            text = ""
            if (item.row, item.col) == (row, col):
                text = plain(item.text)
                token = TOKEN_OF[item.header] if item.header else FCEL if text else ECEL
                offsets[id(item)] = length + len(token)
            parts.append(token + text)
            length += len(token) + len(text)
        parts.append(NL)
        length += len(NL)
    return "".join(parts), offsets


def draw_items(page: Page, look: Look, content: Content, layout: Layout, offsets: dict[int, int]) -> None:
    """Put every cell's lines on the page, in the order of the answer."""
    points = _decimal_points(look, content)
    size = look.body.size
    for item in sorted(content.items, key=lambda item: (item.row, item.col)):
        if not item.text:
            continue
        style = item.style or look.body
        x0, x1 = layout.xs[item.col] + look.pad_x, layout.xs[item.col + item.colspan] - look.pad_x
        y0, y1 = layout.ys[item.row], layout.ys[item.row + item.rowspan]
        spare = y1 - y0 - len(item.lines) * look.leading
        inset = min(spare, look.pad_y) / 2
        y = y0 + {"t": inset, "m": spare / 2, "b": spare - inset}[item.valign]
        if item.row in content.sections and item.header != "section":
            y = y1 - inset - len(item.lines) * look.leading
        baseline = y + (look.leading - size) / 2 + 0.78 * size
        position = offsets[id(item)]
        for line in item.lines:
            wide = text_width(line, style)
            if item.align == "d":
                whole, rest = points[item.col]
                x = (x0 + x1 - whole - rest) / 2 + whole - decimal_offset(item, style)
                x = min(max(x, x0), x1 - wide)
            else:
                x = {"l": x0 + item.indent, "c": (x0 + x1 - wide) / 2, "r": x1 - wide}[item.align]
            x = max(0.0, min(x, page.width - wide))
            end = page.text(x, baseline, line, style, position)
            if look.underline and item.header == "column":
                page.box(x, baseline + 2, end, baseline + 3, look.rule_ink)
            position += len(plain(line)) + 1
            baseline += look.leading


def draw_remnant(dice: Dice, page: Page, look: Look, content: Content, layout: Layout) -> None:
    """The lower part of a text line above the table, left by a careless crop: no part of the answer."""
    text = drawable(dice, look.body, phrase(dice, dice.integer(3, 12)))
    text = cut(text, look.body, page.width - layout.xs[0])
    known = len(page.chars)
    page.text(layout.xs[0], layout.ys[0] - look.body.size * dice.between(0.3, 0.6), text, look.body)
    page.forget(known)


def _decimal_points(look: Look, content: Content) -> dict[int, tuple[float, float]]:
    """For each decimally aligned column the greatest widths before and after the point."""
    points: dict[int, tuple[float, float]] = {}
    for item in content.items:
        if item.align == "d" and item.text and item.colspan == 1:
            style = item.style or look.body
            whole = decimal_offset(item, style)
            rest = text_width(item.lines[0], style) - whole
            before = points.get(item.col, (0.0, 0.0))
            points[item.col] = (max(before[0], whole), max(before[1], rest))
    return points
