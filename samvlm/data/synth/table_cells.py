"""Cells of a synthetic table in the making, shared by the files that fill, arrange and draw it."""

from dataclasses import dataclass, field

from .dice import Dice
from .figures import Column
from .looks import Look
from .page import MARKS, Type
from .words import UPPER


@dataclass(slots=True)
class Item:
    """A cell in the making. `text` may hold marks; `lines` is the text as set, after wrapping."""

    text: str
    row: int
    col: int
    rowspan: int = 1
    colspan: int = 1
    header: str | None = None
    style: Type | None = None
    align: str = "l"
    valign: str = "t"
    indent: float = 0.0
    lines: list[str] = field(default_factory=list)


@dataclass
class Content:
    """The cells of a table (row-major within the body) and the room each column asks for, paddings not included."""

    items: list[Item]
    n_rows: int
    n_cols: int
    header_rows: int
    widths: list[float]
    sections: dict[int, str]  # row -> "span" | "plain"


_PLAINER = str.maketrans(
    {"–": "-", "—": "-", "−": "-", "≥": ">", "≤": "<", "∼": "~", "≈": "~", "±": "+/-", "×": "x", "…": "..."}
    | {"’": "'", "‘": "'", "“": '"', "”": '"', "μ": "u", "µ": "u", "²": "2", "³": "3", "†": "*", "‡": "**"}
    | {"€": "EUR", "£": "GBP", "•": "-"}
)


def drawable(dice: Dice, style: Type, text: str) -> str:
    """`text` with single blanks, and with plainer spellings or any letter for what the family cannot draw."""
    if not style.can_draw(text):
        known = style.family.drawable
        text = "".join(c if c in known or c in MARKS else c.translate(_PLAINER) for c in text)
        text = "".join(c if c in known or c in MARKS else dice.choice(UPPER) for c in text)
    return " ".join(text.split())


def column_align(look: Look, column: Column, number: int) -> str:
    """Alignment of the values of column `number`: "l", "c", "r" or "d" (decimal)."""
    if number == 0:
        return "l" if look.text_align == "l" else "c"
    return look.number_align if column.numeric else look.text_align
