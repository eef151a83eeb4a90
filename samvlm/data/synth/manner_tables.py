"""Kind "table" in a style: what journals, reports and shops say, drawn as fast as any table."""

from dataclasses import replace

from .dice import Dice
from .looks import Look, draw_look
from .page import Drawn, plain, text_width
from .subjects import MIX, PROFILES, make_plan
from .subjects.compose import Manner, compose, draw_manner
from .subjects.plan import Draft, Plan, Title
from .table_cells import Content, Item, drawable
from .tables import set_table

STYLES = ("any", *PROFILES)
"""Names of styles; "any" is one of the others each time."""
TRIES = 8  # plans of which the one is taken that fills the page best
ENOUGH = 0.15  # of the height may stay empty


def draw_manner_table(dice: Dice, width: int, height: int, style: str) -> Drawn:
    """A page of `width` x `height` with one table in a style, and its OTSL."""
    manner = dice.weighted(MIX) if style == "any" else style
    look = draw_look(dice, width, height)
    margins = (dice.between(1, 8), dice.between(1, 6), dice.between(1, 8), dice.between(1, 6))
    room = height - margins[1] - margins[3]
    plan = make_plan(dice, manner)
    for _ in range(TRIES - 1):
        if _misfit(plan, look, room) < ENOUGH * room:
            break
        plan = min(plan, make_plan(dice, manner), key=lambda plan: _misfit(plan, look, room))
    structure = draw_manner(dice, plan, look.rules == "grid", look.section_shade is not None)
    widths = _fit(dice, plan, look, structure, width - margins[0] - margins[2])
    content = _content(dice, compose(dice, plan, structure), look, widths)
    drawn = set_table(dice, look, content, margins, width, height)
    if drawn.table.n_rows == drawn.table.header_rows:  # no room for more than titles: leave them out
        plan.titles = [Title("", align=title.align) for title in plan.titles]
        plan.rows = [row for row in plan.rows if row.kind != "section"]
        content = _content(dice, compose(dice, plan, structure), look, widths)
        drawn = set_table(dice, look, content, margins, width, height)
    drawn.meta |= {"manner": manner, "kind": plan.kind}
    return drawn


def _misfit(plan: Plan, look: Look, height: float) -> float:
    """How far the rows are from filling the page; rows too many cost less, for they are left out."""
    lack = height - (len(plan.rows) + 1.5) * (look.leading + look.pad_y)
    return lack if lack > 0 else -0.3 * lack


def _fit(dice: Dice, plan: Plan, look: Look, structure: Manner, width: float) -> list[float]:
    """Drop the last columns until the others have room; the widths that these ask for."""
    style = replace(look.body, bold=structure.bold_head)
    rows = [row for row in plan.rows if row.kind != "section"]
    widths: list[float] = []
    used = 0.0
    for col, title in enumerate(plan.titles):
        texts = [drawable(dice, look.body, row.values[col]) for row in rows]
        natural = max(text_width(text, look.body) for text in texts)
        words = [word for text in texts for word in text.split(" ")]
        least = max(text_width(word, look.body) for word in words or [""])
        head = max(text_width(drawable(dice, style, word), style) for word in title.text.split(" "))
        limit = width * (0.45 if col == 0 else 0.3)
        wanted = max(min(natural, limit), least, head)
        if col >= 2 and used + wanted + 2 * look.pad_x > width:
            break
        widths.append(wanted)
        used += wanted + 2 * look.pad_x
    if used > width:  # even two do not fit side by side: words are cut
        share = max(0.2, (width - 2 * look.pad_x * len(widths)) / sum(widths))
        widths = [each * min(1.0, share) for each in widths]
    del plan.titles[len(widths) :]
    for row in plan.rows:
        del row.values[max(1, len(widths)) :]
    return widths


def _content(dice: Dice, draft: Draft, look: Look, widths: list[float]) -> Content:
    """The cells as the drawn tables have them."""
    items, sections = [], {}
    step = dice.choice((0.6, 1.0, 1.5)) * look.body.size
    for item in draft.items:
        base = look.head if item.header == "column" else look.body
        style = replace(base, bold=item.bold, italic=item.italic)
        align = "r" if item.align == "r" else item.align
        where = item.valign[:1] or ("b" if item.header == "column" else look.valign)
        made = Item(
            drawable(dice, style, item.text), item.row, item.col, item.rowspan, item.colspan, item.header
        )
        made.style, made.align, made.valign, made.indent = style, align, where, item.indent * step
        items.append(made)
        if item.header == "section":
            sections[item.row] = "span"
        elif "open" in item.classes and item.col == 0:
            sections[item.row] = "plain"
    if not any(plain(item.text) for item in items):
        items[0].text = "x"
    look.header_rows = draft.header_rows
    return Content(items, draft.n_rows, draft.n_cols, draft.header_rows, widths, sections)
