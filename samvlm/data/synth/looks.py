"""The look of a table: type, rules, shades, spacing and alignment, drawn together so that they fit each other."""

from dataclasses import dataclass, replace

from .dice import Dice
from .page import Colour, Type
from .typefaces import draw_type

RULES = {"booktabs": 5, "grid": 4, "rows": 2, "columns": 1, "head": 1.6, "frame": 0.8, "none": 1.6}
_HUES = (
    (20, 60, 120),
    (120, 30, 40),
    (20, 100, 60),
    (90, 40, 120),
    (0, 110, 130),
    (150, 90, 10),
    (60, 60, 60),
    (150, 20, 110),
)


@dataclass
class Look:
    """How one table is set. Lengths in pixels, coverages of rules in [0, 255]."""

    body: Type
    head: Type
    rules: str
    rule_ink: int  # coverage of ordinary rules
    heavy: int  # thickness of the outer rules of booktabs and of the frame
    dashed: bool
    double: bool
    leading: float  # from line to line within a cell
    pad_y: float  # above and below a row's text, together
    pad_x: float  # left and right of a cell's text, each
    header_rows: int
    head_shade: Colour | None
    head_ink: Colour | None
    zebra: Colour | None
    section_shade: Colour | None
    section_centred: bool
    number_align: str  # "l" | "r" | "c" | "d" (decimal)
    text_align: str
    head_align: str | None  # None: as the column
    valign: str  # of short cells in tall rows: "t" | "m" | "b"
    bold_labels: bool
    label_shade: Colour | None
    underline: bool  # titles instead of rules
    section_gap: float  # extra room above section rows
    colour: Colour
    paper: Colour


def draw_look(dice: Dice, width: int, height: int) -> Look:
    """A look for a table of about `width` x `height` pixels."""
    largest = 20.0 if min(width, height) > 150 else 14.0
    body = draw_type(dice, 9.0, largest)
    size = body.size
    rules = dice.weighted(RULES)
    header_rows = (
        dice.weighted({0: 0.7, 1: 6, 2: 2.6, 3: 0.6}) if height > 110 else dice.weighted({0: 0.5, 1: 6, 2: 1})
    )
    colourful = dice.chance(0.22)
    hue = dice.choice(_HUES) if colourful else (0, 0, 0)
    inverted = dice.chance(0.09)
    shaded = inverted or dice.chance(0.22)
    head_shade = head_ink = None
    if shaded and header_rows:
        head_shade = _deep(dice, hue) if inverted else _light(dice, hue)
        head_ink = (255, 255, 255) if inverted else None
    # Something must set the header off: its shade, its rule, or its weight.
    plain_is_enough = head_shade is not None or rules in ("booktabs", "head")
    bold = dice.chance(0.55) or not (plain_is_enough or dice.chance(0.35))
    italic = not bold and (dice.chance(0.3) or not plain_is_enough)
    head = replace(body, bold=bold, italic=italic)
    tight = dice.chance(0.4)
    dark = dice.integer(0, 90) if dice.chance(0.5) else 0
    ink = tuple(min(200, c + dark) for c in hue) if colourful and dice.chance(0.4) else (dark, dark, dark)
    paper = (255, 255, 255)
    if dice.chance(0.15):
        grey = dice.integer(225, 252)
        paper = _light(dice, hue) if colourful and dice.chance(0.4) else (grey, grey, grey)
    return Look(
        body=body,
        head=head,
        rules=rules,
        rule_ink=dice.choice((255, 255, 200, 150, 90)),
        heavy=dice.choice((1, 1, 2, 2, 3)),
        dashed=dice.chance(0.06),
        double=dice.chance(0.05),
        leading=size * dice.between(1.0, 1.3),
        pad_y=size * (dice.between(0.0, 0.35) if tight else dice.between(0.2, 1.0)),
        pad_x=size * (dice.between(0.25, 0.6) if rules in ("grid", "columns") else dice.between(0.3, 0.9)),
        header_rows=header_rows,
        head_shade=head_shade,
        head_ink=head_ink,
        zebra=_light(dice, hue) if dice.chance(0.12) else None,
        section_shade=_light(dice, hue) if dice.chance(0.4) else None,
        section_centred=dice.chance(0.5),
        number_align=dice.weighted({"r": 4, "c": 5, "l": 3, "d": 1.5}),
        text_align=dice.weighted({"l": 7, "c": 3}),
        head_align=dice.weighted({None: 3, "c": 4, "l": 2}),
        valign=dice.weighted({"t": 5, "m": 3, "b": 1}),
        bold_labels=dice.chance(0.12),
        label_shade=_light(dice, hue) if rules == "grid" and dice.chance(0.12) else None,
        underline=rules in ("none", "head", "booktabs") and dice.chance(0.06),
        section_gap=size * dice.choice((0.0, 0.0, 0.5, 1.0)),
        colour=ink,
        paper=paper,
    )


def _light(dice: Dice, hue: Colour) -> Colour:
    """A pale tint of `hue` that dark text stays readable on."""
    share = dice.between(0.06, 0.25)
    return tuple(round(255 - (255 - c) * share) for c in hue)


def _deep(dice: Dice, hue: Colour) -> Colour:
    """A dark tone of `hue` for white text."""
    share = dice.between(0.65, 1.0)
    return tuple(round(255 - (255 - c) * share) for c in hue)
