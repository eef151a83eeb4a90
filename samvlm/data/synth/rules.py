"""Rules and shades of a table."""

from .dice import Dice
from .looks import Look
from .page import Page
from .table_cells import Content
from .table_layout import Layout


def draw_shades(page: Page, look: Look, content: Content, layout: Layout) -> None:
    """Backgrounds of zebra rows, section rows and the header; the header's ink where it is inverted."""
    xs, ys = layout.xs, layout.ys
    if look.zebra:
        for row in range(content.header_rows, content.n_rows, 2):
            page.shade(xs[0], ys[row], xs[-1], ys[row + 1], look.zebra)
    if look.label_shade:
        page.shade(xs[0], ys[content.header_rows], xs[1], ys[-1], look.label_shade)
    if look.section_shade:
        for row, kind in content.sections.items():
            if kind == "span" and row < content.n_rows:
                page.shade(xs[0], ys[row], xs[-1], ys[row + 1], look.section_shade)
    if look.head_shade and content.header_rows:
        page.shade(xs[0], ys[0], xs[-1], ys[content.header_rows], look.head_shade)
        if look.head_ink:
            page.tint(xs[0], ys[0], xs[-1], ys[content.header_rows], look.head_ink)


def draw_rules(dice: Dice, page: Page, look: Look, content: Content, layout: Layout) -> None:
    """All lines that the look asks for."""
    xs, ys = layout.xs, layout.ys
    left, right, top, bottom = xs[0], xs[-1], ys[0], ys[-1]
    heads = content.header_rows
    thin = 1

    def across(y: float, x0: float = left, x1: float = right, thick: int = thin) -> None:
        _line(page, x0, y - thick / 2, x1, y - thick / 2 + thick, look, thick)

    def down(x: float, y0: float, y1: float, thick: int = thin) -> None:
        _line(page, x - thick / 2, y0, x - thick / 2 + thick, y1, look, thick)

    if look.rules == "grid":
        _grid(page, look, content, layout, across, down)
    if look.rules in ("booktabs", "frame", "rows") and not (look.rules == "rows" and dice.chance(0.3)):
        across(top, thick=look.heavy)
        across(bottom, thick=look.heavy)
    if look.rules in ("booktabs", "head", "rows", "frame", "columns") and heads:
        thick = dice.choice((1, 1, look.heavy))
        across(ys[heads], thick=thick)
        if look.double:
            across(ys[heads] + 2 + thick, thick=1)
    if look.rules == "rows":
        spans = _covered(content)
        for row in range(heads + 1, content.n_rows):
            across(ys[row], xs[1] if (row, 0) in spans else left)
    if look.rules == "columns":
        for col in range(1, content.n_cols):
            for row in range(content.n_rows):
                if not _inside_span(content, row, col):
                    down(xs[col], ys[row], ys[row + 1])
        if dice.chance(0.4):
            across(top, thick=look.heavy)
            across(bottom, thick=look.heavy)
    if look.rules == "frame":
        down(left, top, bottom, look.heavy)
        down(right, top, bottom, look.heavy)
    if look.rules != "grid" and heads > 1 and (look.rules != "none" or dice.chance(0.5)):
        trim = dice.choice((0.0, 0.5, 1.0)) * look.pad_x
        for item in content.items:
            if item.header == "column" and item.colspan > 1 and item.row + 1 < heads:
                across(ys[item.row + 1], xs[item.col] + trim, xs[item.col + item.colspan] - trim)
    if look.rules == "booktabs" and content.sections and dice.chance(0.4):
        for row in content.sections:
            if heads < row < content.n_rows:
                across(ys[row])


def _grid(page: Page, look: Look, content: Content, layout: Layout, across, down) -> None:
    """A line at every edge between two cells, and around them unless the look leaves the sides open."""
    xs, ys = layout.xs, layout.ys
    owner: dict[tuple[int, int], int] = {}
    for number, item in enumerate(content.items):
        for row in range(item.row, item.row + item.rowspan):
            for col in range(item.col, item.col + item.colspan):
                owner[row, col] = number
    for row in range(content.n_rows + 1):
        thick = (
            look.heavy if row in (0, content.n_rows) or (row == content.header_rows and look.double) else 1
        )
        start = None
        for col in range(content.n_cols + 1):
            edge = col < content.n_cols and (
                row in (0, content.n_rows) or owner.get((row - 1, col)) != owner.get((row, col))
            )
            if edge and start is None:
                start = col
            if not edge and start is not None:
                across(ys[row], xs[start], xs[col], thick)
                start = None
    for col in range(content.n_cols + 1):
        outer = col in (0, content.n_cols)
        start = None
        for row in range(content.n_rows + 1):
            edge = row < content.n_rows and (outer or owner.get((row, col - 1)) != owner.get((row, col)))
            if edge and start is None:
                start = row
            if not edge and start is not None:
                down(xs[col], ys[start], ys[row], look.heavy if outer else 1)
                start = None


def _covered(content: Content) -> set[tuple[int, int]]:
    """Places of the first column that belong to the cell above."""
    return {
        (row, 0)
        for item in content.items
        if item.col == 0
        for row in range(item.row + 1, item.row + item.rowspan)
    }


def _inside_span(content: Content, row: int, col: int) -> bool:
    """True if one cell covers both sides of the left edge of column `col` in `row`."""
    return any(
        item.row <= row < item.row + item.rowspan and item.col < col < item.col + item.colspan
        for item in content.items
        if item.colspan > 1
    )


def _line(page: Page, x0: float, y0: float, x1: float, y1: float, look: Look, thick: int) -> None:
    ink = 255 if thick > 1 else look.rule_ink
    if not look.dashed or thick > 1:
        page.box(x0, y0, x1, y1, ink)
        return
    spot, along = (x0, x1 - x0 > y1 - y0) if x1 - x0 > y1 - y0 else (y0, False)
    end = x1 if along else y1
    while spot < end:
        stop = min(spot + 2, end)
        if along:
            page.box(spot, y0, stop, y1, ink)
        else:
            page.box(x0, spot, x1, stop, ink)
        spot += 4
