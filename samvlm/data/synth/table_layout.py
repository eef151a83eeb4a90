"""Where everything in a table goes: wrapped lines, column edges, row edges."""

from dataclasses import dataclass

from .dice import Dice
from .fitting import shorten, wrap
from .looks import Look
from .page import SUB, SUPER, Type, text_width
from .table_cells import Content, Item


@dataclass
class Layout:
    """Edges in pixels: column c lies between xs[c] and xs[c + 1], row r between ys[r] and ys[r + 1]."""

    xs: list[float]
    ys: list[float]


def arrange(
    dice: Dice, look: Look, content: Content, left: float, top: float, width: float, height: float
) -> Layout:
    """Wrap all cells, drop rows that do not fit, set the edges. Changes `content` in place."""
    pad = 2 * look.pad_x
    stretch = max(0.0, width - sum(content.widths) - pad * content.n_cols)
    if dice.chance(0.15):
        stretch *= dice.random()
    xs = [left]
    # Labels take part in the stretching only now and then: real tables keep them tight.
    weights = [dice.choice((0.3, 1.0)) if col == 0 else 1.0 for col in range(content.n_cols)]
    share = stretch / sum(weights)
    for col_width, weight in zip(content.widths, weights, strict=True):
        xs.append(xs[-1] + col_width + pad + share * weight)
    for item in content.items:
        room = xs[item.col + item.colspan] - xs[item.col] - pad - item.indent
        style = item.style or look.body
        item.text = shorten(item.text, style, room + look.pad_x)
        item.lines = wrap(item.text, style, room + 0.5)
    heights = _row_heights(look, content)
    _drop_rows(content, heights, height)
    if heights[0] > height:  # one row is left and even that is too tall
        _cut_lines(content, max(1, int((height - look.pad_y) / look.leading)))
        heights = _row_heights(look, content)
    spare = height - sum(heights)
    if spare > 0 and dice.chance(0.75):
        extra = min(spare / len(heights), look.body.size * 0.8)
        heights = [row + extra for row in heights]
        look.pad_y += extra
    ys = [top]
    for row in heights:
        ys.append(ys[-1] + row)
    return Layout(xs, ys)


def _row_heights(look: Look, content: Content) -> list[float]:
    """Height of every row: its tallest single-row cell; a taller spanning cell stretches its last row."""
    lines = [1] * content.n_rows
    for item in content.items:
        if item.rowspan == 1:
            lines[item.row] = max(lines[item.row], len(item.lines))
    for item in content.items:
        if item.rowspan > 1:
            last = item.row + item.rowspan - 1
            lack = len(item.lines) - sum(lines[item.row : last + 1])
            if lack > 0:
                lines[last] += lack
    heights = [count * look.leading + look.pad_y for count in lines]
    for row in content.sections:
        heights[row] += look.section_gap
    return heights


def _drop_rows(content: Content, heights: list[float], height: float) -> None:
    """Remove rows from the end until the table is no taller than `height`; at least one row stays."""
    while len(heights) > 1 and (sum(heights) > height or len(heights) - 1 in content.sections):
        heights.pop()
    keep = len(heights)
    if keep == content.n_rows:
        return
    content.n_rows = keep
    content.header_rows = min(content.header_rows, keep)
    content.items = [item for item in content.items if item.row < keep]
    for item in content.items:
        item.rowspan = min(item.rowspan, keep - item.row)


def _cut_lines(content: Content, most: int) -> None:
    """Keep the first `most` lines of every cell."""
    for item in content.items:
        if len(item.lines) > most:
            item.lines = item.lines[:most]
            item.text = " ".join(item.lines)


def decimal_offset(item: Item, style: Type) -> float:
    """Width of a number up to its decimal point (to its end where it has none), for aligning."""
    text = item.lines[0]
    for spot, char in enumerate(text):
        if char in ".,( ±" + SUPER + SUB and spot and text[spot - 1].isdigit():
            return text_width(text[:spot], style)
    return text_width(text, style)
