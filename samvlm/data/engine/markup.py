"""Tables as HTML: one page each, ready for a browser to print."""

from html import escape

from ..synth.dice import Dice
from ..synth.page import runs
from ..synth.subjects import make_plan
from ..synth.subjects.compose import compose, draw_manner
from ..synth.subjects.plan import Draft
from ..synth.subjects.words_reports import AGENCIES, DUTIES, SUBJECTS
from ..synth.subjects.words_science import FINDINGS
from .styles import Style, draw_style

PAGE_WIDTH, PAGE_HEIGHT = 1000, 2800  # points; what is drawn is cut out
LONG = 28  # characters from which on a text may wrap wherever it stands
BESIDE = 420  # points: width of captions and notes
SHORT = 9  # characters up to which a label never wraps
_ALIGN = {"l": "left", "c": "center", "r": "right"}


def make_table(manner: str, seed: int, number: int) -> tuple[Draft, Style, str]:
    """Table `number` of a seed: its cells, its look and the name of what it says."""
    dice = Dice("engine", manner, seed, number)
    plan = make_plan(dice, manner)
    values = dice.weighted(
        {"c": 4, "l": 3, "r": 1.2, "": 1.5}
    )  # alignment of all figures; "": as the plan has it
    if values:
        for title in plan.titles[1:]:
            title.align = values if title.align == "c" else title.align
    longest = max(len(text) for row in plan.rows for text in row.values)
    style = draw_style(dice, manner, len(plan.titles), longest)
    structure = draw_manner(dice, plan, style.ruled, style.section_shade or style.section_rule)
    draft = compose(dice, plan, structure)
    for item in draft.items:
        item.text = " ".join(item.text.split())
    if dice.chance(0.05):
        draft.above = caption(dice)
    if dice.chance(0.07):
        draft.below = note(dice)
    return draft, style, plan.kind


def caption(dice: Dice) -> str:
    """A title above a table."""
    number = (
        f"{dice.choice(('Table', 'TABLE', 'Tab.'))} {dice.integer(1, 12)}{dice.choice(('.', ':', '', ' –'))} "
    )
    return number + dice.choice((*FINDINGS, *SUBJECTS, *DUTIES))


def note(dice: Dice) -> str:
    """A remark below a table."""
    parts = [
        "*p < 0.05, **p < 0.01.",
        "CI, confidence interval; OR, odds ratio.",
        "Data are presented as mean ± SD or n (%).",
        "Abbreviations: BMI, body mass index; HR, hazard ratio.",
        f"Source: {dice.choice(AGENCIES)}.",
        "Figures may not add up to totals because of rounding.",
        f"a {dice.choice(FINDINGS)}.",
        f"1 {dice.choice(DUTIES)}.",
        "– not available.",
    ]
    return " ".join(dice.shuffled(parts)[: dice.integer(1, 3)])


def page_of(draft: Draft, style: Style, number: int) -> str:
    """A table as a page of HTML with its own style sheet."""
    name = f"t{number}"
    sheet = style.css.replace("@", f"#{name}")
    rows: list[list[str]] = [[] for _ in range(draft.n_rows)]
    for item in draft.items:
        classes = list(item.classes)
        if item.indent:
            classes.append(f"in{min(3, item.indent)}")
        if len(item.text) > LONG:
            classes.append("long")
        if item.col == 0 and len(item.text) <= SHORT:
            classes.append("short")
        if item.header == "column" and item.row + item.rowspan == draft.header_rows:
            classes.append("tall")
        look = f"text-align:{_ALIGN[item.align]}"
        look += f";vertical-align:{item.valign}" if item.valign else ""
        spans = f' rowspan="{item.rowspan}"' if item.rowspan > 1 else ""
        spans += f' colspan="{item.colspan}"' if item.colspan > 1 else ""
        text = "".join(_run(*run) for run in runs(item.text))
        text = f"<b>{text}</b>" if item.bold else text
        text = f"<i>{text}</i>" if item.italic else text
        text = f"<div>{text}</div>" if "over" in classes else text
        rows[item.row].append(f'<td{spans} class="{" ".join(classes)}" style="{look}">{text}</td>')
    head = "".join(f"<tr>{''.join(cells)}</tr>" for cells in rows[: draft.header_rows])
    body = "".join(f"<tr>{''.join(cells)}</tr>" for cells in rows[draft.header_rows :])
    line = f"font:{0.95 * style.size:.2f}pt '{style.family}';max-width:{BESIDE}pt"
    above, below = (
        f'<div class="beside" style="{line}">{escape(text)}</div>' if text else ""
        for text in (draft.above, draft.below)
    )
    return (
        f'<style>{sheet}</style><div class="page">{above}<table id="{name}">'
        f"{f'<thead>{head}</thead>' if head else ''}<tbody>{body}</tbody></table>{below}</div>\n"
    )


def _run(part: str, italic: bool, shift: float) -> str:
    text = escape(part)
    text = f"<i>{text}</i>" if italic else text
    return f"<sup>{text}</sup>" if shift > 0 else f"<sub>{text}</sub>" if shift < 0 else text


def document(pages: list[str]) -> str:
    """Pages as a whole HTML document."""
    return (
        '<!doctype html><meta charset="utf-8"><title>tables</title><style>'
        f"@page{{size:{PAGE_WIDTH}pt {PAGE_HEIGHT}pt;margin:20pt}}body{{margin:0;-webkit-print-color-adjust:exact}}"
        ".page{break-after:page}table{border-collapse:collapse}thead{display:table-row-group}"
        ".short{white-space:nowrap}.beside{margin:3pt 0}td{overflow-wrap:break-word}"
        f"</style>\n{''.join(pages)}"
    )
