"""The look of a set table: type, rules, shades and spacing as a style sheet, in the manner of journals and of reports."""

from dataclasses import dataclass

from ..synth.dice import Dice
from ..synth.fonts import families

# Type that journals and reports are set in, by what stands in for it here; the rest of the families comes on top.
_USUAL = {
    "journal": {
        "Nimbus Roman": 4, "Liberation Serif": 4, "TeX Gyre Termes": 2, "Tinos": 2, "STIX": 2, "Nimbus Sans": 5,
        "Liberation Sans": 5, "Arimo": 3, "TeX Gyre Heros": 2, "Gillius ADF": 3, "Lato": 2.5, "Open Sans": 2, "PT Sans": 2.5,
        "Carlito": 2, "Linux Biolinum O": 1.5, "Latin Modern Roman": 1.5, "TeX Gyre Pagella": 1, "P052": 1, "Noto Sans": 1.5,
        "Nimbus Sans Narrow": 1.5, "C059": 1, "EB Garamond": 1, "Charis SIL": 0.7, "Linux Libertine O": 1, "Cabin": 1,
    },
    "report": {
        "Liberation Sans": 6, "Nimbus Sans": 5, "Arimo": 4, "Liberation Serif": 6, "Nimbus Roman": 4, "Tinos": 2,
        "Carlito": 3, "Liberation Mono": 1.2, "Nimbus Mono PS": 1.2, "Cousine": 0.6, "TeX Gyre Heros Cn": 1, "PT Sans": 1.5,
        "Nimbus Sans Narrow": 2, "Cabin": 1, "DejaVu Sans": 1.5, "Roboto Condensed": 1, "Caladea": 1.5, "Latin Modern Roman": 1,
        "TeX Gyre Schola": 0.7, "Roboto": 1, "Open Sans": 1.5, "Gillius ADF": 1,
    },
}  # fmt: skip
_RULES = {
    "journal": {
        "booktabs": 6,
        "head": 1.5,
        "rows": 1.3,
        "grid": 1.1,
        "none": 0.8,
        "ends": 0.8,
        "dotted": 0.3,
    },
    "report": {
        "grid": 3.2,
        "booktabs": 2,
        "rows": 1.6,
        "head": 2,
        "none": 1.6,
        "columns": 1,
        "open": 1,
        "dotted": 0.3,
    },
    "business": {"grid": 3, "rows": 3, "booktabs": 1, "head": 2, "none": 1, "dotted": 0.3, "open": 0.7},
}
_LIGHT = {"Open Sans": 4, "Lato": 3, "Roboto": 2, "Cantarell": 1, "Inter": 0.7, "Roboto Condensed": 0.6}
_INKS = ("#000", "#000", "#000", "#000", "#111", "#231f20", "#333", "#555", "#666")
_HUES = (
    (20, 60, 120),
    (120, 30, 40),
    (20, 100, 60),
    (160, 30, 130),
    (0, 110, 140),
    (245, 140, 40),
    (70, 130, 200),
    (120, 150, 40),
)


@dataclass
class Style:
    """How one table is set. Lengths in points; `scale` is pixels a point of its picture."""

    family: str
    size: float
    scale: float
    rules: str
    zebra: bool
    section_shade: bool
    section_rule: bool
    css: str  # of the table; "@" stands for its selector

    @property
    def ruled(self) -> bool:
        """Whether rules stand around every cell."""
        return self.rules == "grid"


def draw_style(dice: Dice, manner: str, columns: int, longest: int) -> Style:
    """A look for a table with `columns` columns whose longest text has `longest` characters."""
    usual = _USUAL["journal" if manner == "journal" else "report"]
    weights = {f.name: usual.get(f.name, 0.12 * f.weight) for f in families()}
    light = dice.chance(0.2 if manner == "journal" else 0.05)
    family = dice.weighted(weights)
    if light:  # as some publishers print: at 72 dpi hardly more than grey hairlines
        family = dice.weighted(
            {name: weight for name, weight in _LIGHT.items() if name in weights} or weights
        )
    if manner == "journal":
        size, scale = (
            dice.between(6.3, 9.2),
            dice.between(0.97, 1.06) if dice.chance(0.72) else dice.between(1.2, 2.4),
        )
    elif manner == "report":
        size, scale = (
            dice.between(6.5, 10.5),
            dice.between(1.9, 2.1) if dice.chance(0.5) else dice.between(1.0, 2.6),
        )
    else:
        size, scale = dice.between(8, 12), dice.between(1.0, 2.4)
    rules = dice.weighted(_RULES[manner])
    hue = dice.choice(_HUES) if dice.chance(0.2) else None
    zebra = rules != "grid" and dice.chance(0.1 if manner == "journal" else 0.14)
    section_shade, section_rule = dice.chance(0.2), rules != "none" and dice.chance(0.15)
    lines = [
        f"@{{font:{size:.2f}pt/{dice.between(1.05, 1.4):.2f} '{family}';{_width(dice, manner, columns, longest)}"
        f"color:{dice.choice(_INKS)};font-weight:{300 if light else 400}"
        f"{';letter-spacing:' + format(dice.between(-0.15, 0.3), '.2f') + 'pt' if dice.chance(0.1) else ''}}}",
        _spacing(dice, rules),
        *_rules(dice, rules, hue),
        *_shades(dice, rules, hue, zebra, section_shade, section_rule),
        f"@ sup,@ sub{{font-size:{dice.between(62, 78):.0f}%;line-height:0}}",
        f"@ tbody td{{vertical-align:{dice.weighted({'top': 5, 'middle': 2.5, 'bottom': 1, 'baseline': 1.5})}}}",
        f"@ thead td{{vertical-align:{dice.weighted({'bottom': 5, 'middle': 2, 'top': 2})}}}",
    ]
    if dice.chance(0.75):  # figures stay on one line, labels wrap
        lines.append("@ tbody td:not(:first-child):not(.long){white-space:nowrap}")
    for depth in (1, 2, 3):
        lines.append(f"@ td.in{depth}{{padding-left:{depth * size * _INDENTS[dice.integer(0, 4)]:.1f}pt}}")
    if dice.chance(0.06):
        lines.append("@ thead td{font-size:92%}")
    lines.append(f"@{{font-variant-ligatures:{'common-ligatures' if dice.chance(0.4) else 'none'}}}")
    return Style(family, size, scale, rules, zebra, section_shade, section_rule, "\n".join(lines))


_INDENTS = (0.8, 1.0, 1.3, 1.6, 2.2)


def _width(dice: Dice, manner: str, columns: int, longest: int) -> str:
    """The measure: a column of the page, its width, or as wide as the text is."""
    narrow = columns <= 4 and longest < 60
    kind = dice.weighted({"auto": 3, "column": 2.5 if narrow else 0.1, "page": 3, "between": 1.5})
    if kind == "auto":
        return f"max-width:{dice.between(400, 640):.0f}pt;"
    low, high = {"column": (225, 260), "page": (460, 530), "between": (280, 420)}[kind]
    return f"width:{dice.between(low, high):.0f}pt;"


def _spacing(dice: Dice, rules: str) -> str:
    tight = dice.chance(0.55)
    above = dice.between(0, 1.2) if tight else dice.between(1, 4.5)
    below = above if dice.chance(0.7) else dice.between(0, 1.5) if tight else dice.between(1, 4)
    side = dice.between(1.5, 4) if rules in ("grid", "columns", "open") else dice.between(1, 7)
    text = f"@ td{{padding:{above:.1f}pt {side:.1f}pt {below:.1f}pt}}"
    if rules not in ("grid", "columns") and dice.chance(0.4):
        text += "@ td:first-child{padding-left:0}@ td:last-child{padding-right:0}"
    return text


def _rules(dice: Dice, rules: str, hue: tuple[int, int, int] | None) -> list[str]:
    ink = _rgb(hue) if hue and dice.chance(0.5) else dice.choice(("#000", "#000", "#000", "#555", "#999"))
    thin, thick = dice.choice((0.25, 0.5, 0.5, 0.75)), dice.choice((0.5, 0.75, 1.0, 1.5, 2.0))
    hair, heavy = f"{thin}pt solid {ink}", f"{thick}pt solid {ink}"
    ends = f"@{{border-top:{heavy};border-bottom:{heavy}}}"
    below_head = (
        f"@ thead tr:last-child td,@ thead td.tall{{border-bottom:{dice.choice((hair, hair, heavy))}}}"
    )
    over = f"@ td.over{{border-bottom:{hair}}}"
    if dice.chance(0.5):  # rules below common titles do not touch each other
        over = f"@ td.over>div{{border-bottom:{hair};margin:0 {dice.between(1, 5):.1f}pt}}"
    total = dice.choice(
        ("", f"@ td.total{{border-top:{hair}}}", f"@ td.total{{border-top:{hair};border-bottom:{hair}}}")
    )
    if rules == "booktabs":
        return [ends, below_head, over, total]
    if rules == "ends":
        return [ends, over]
    if rules == "head":
        return [
            below_head,
            over,
            total,
            f"@{{border-{dice.choice(('top', 'bottom'))}:{hair}}}" if dice.chance(0.4) else "",
        ]
    if rules in ("rows", "dotted"):
        kind = "dotted" if rules == "dotted" else "solid"
        between = f"@ tbody tr+tr>td{{border-top:{thin}pt {kind} {ink}}}"
        return [ends if dice.chance(0.75) else "", below_head, over, between]
    if rules == "grid":
        return [f"@ td{{border:{hair}}}", f"@{{border:{heavy}}}" if dice.chance(0.3) else ""]
    if rules == "open":  # a grid without its sides
        return [f"@ td{{border:{hair}}}@ td:first-child{{border-left:0}}@ td:last-child{{border-right:0}}"]
    if rules == "columns":
        extra = [below_head, over, ends if dice.chance(0.6) else ""]
        return [f"@ td+td{{border-left:{hair}}}", *extra]
    return [over if dice.chance(0.6) else "", total if dice.chance(0.5) else ""]


def _shades(
    dice: Dice,
    rules: str,
    hue: tuple[int, int, int] | None,
    zebra: bool,
    section_shade: bool,
    section_rule: bool,
) -> list[str]:
    lines = []
    tint = _rgb(hue, dice.between(0.1, 0.3)) if hue else _rgb((0, 0, 0), dice.between(0.05, 0.2))
    if dice.chance(0.5 if hue else 0.1):
        if dice.chance(0.5) and hue:
            lines.append(f"@ thead td{{background:{_rgb(hue, dice.between(0.75, 1))};color:#fff}}")
        else:
            lines.append(f"@ thead td{{background:{tint}}}")
    if zebra:
        lines.append(f"@ tbody tr:nth-child({dice.choice(('odd', 'even'))}) td{{background:{tint}}}")
    if section_shade:
        lines.append(f"@ td.section{{background:{tint}}}")
    if section_rule:
        lines.append("@ td.section{border-top:0.5pt solid #000;border-bottom:0.5pt solid #000}")
    if dice.chance(0.25):
        gap = dice.between(2, 8)
        lines.append(f"@ td.section,@ td.open{{padding-top:{gap:.1f}pt}}")
    if dice.chance(0.08):
        lines.append(f"@ td.total{{background:{tint}}}")
    if dice.chance(0.04):
        lines.append(f"@{{background:{_rgb(hue or (120, 110, 60), 0.08)}}}")
    return lines


def _rgb(hue: tuple[int, int, int], share: float = 1.0) -> str:
    return "#" + "".join(f"{round(255 - (255 - part) * share):02x}" for part in hue)
