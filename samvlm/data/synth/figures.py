"""Columns of figures: how a table writes numbers, and the kinds of numbers there are."""

from collections.abc import Callable
from dataclasses import dataclass

from .dice import Dice
from .page import ITALIC, PLAIN, SUPER
from .words import UNITS, code, grouped, phrase

Maker = Callable[[], str]


@dataclass
class Conventions:
    """How one table writes numbers."""

    minus: str
    decimal: str
    thousands: str
    dash: str
    plus_minus: str
    missing: str
    missing_share: float

    @classmethod
    def draw(cls, dice: Dice) -> "Conventions":
        comma = dice.chance(0.1)
        return cls(
            minus=dice.choice("-−−–"),
            decimal="," if comma else ".",
            thousands=dice.choice((".", " ", "")) if comma else dice.choice((",", ",", ",", " ", "")),
            dash=dice.choice(("–", "–", "-", " – ", " - ", " to ", "−")),
            plus_minus=dice.choice((" ± ", "±", " ± ", " +/- ")),
            missing=dice.choice(
                ("", "", "", "-", "–", "—", "n.a.", "NA", "N/A", "…", "*", "n/a", ":", "ns", "ND")
            ),
            missing_share=dice.choice((0, 0, 0, 0.03, 0.1, 0.3)),
        )

    def fixed(self, value: float, digits: int) -> str:
        """`value` with `digits` decimals in this table's spelling."""
        text = f"{abs(value):.{digits}f}"
        if self.thousands and abs(value) >= 1000:
            whole, _, rest = text.partition(".")
            text = grouped(int(whole), self.thousands) + (self.decimal + rest if rest else "")
        elif self.decimal != ".":
            text = text.replace(".", self.decimal)
        return self.minus + text if value < 0 and float(f"{value:.{digits}f}") else text


@dataclass
class Column:
    """One column: `make` writes a value, `header` is its title, `numeric` decides its alignment."""

    header: str
    make: Maker
    numeric: bool = True
    value: Callable[[], float] | None = None  # for questions: the number behind the next text


_HEADS = (
    "n",
    "N",
    "No.",
    "%",
    "n (%)",
    "Total",
    "Mean",
    "SD",
    "Median",
    "Min",
    "Max",
    "Value",
    "Change",
    "Score",
    "Sum",
)


def title(dice: Dice, words: int | None = None) -> str:
    """A column title: a phrase, a year, a statistic, with a unit or a mark now and then."""
    draw = dice.random()
    if words is None and draw < 0.12:
        return str(dice.integer(1960, 2035))
    if words is None and draw < 0.24:
        return dice.choice(_HEADS)
    if words is None and draw < 0.30:
        return code(dice)
    text = phrase(dice, words or dice.integer(1, 3))
    draw = dice.random()
    if draw < 0.13:
        return f"{text} ({dice.choice(UNITS)})"
    if draw < 0.17:
        return f"{text} (n = {dice.integer(1, 999)})"
    if draw < 0.20:
        return f"{text}, {dice.choice(UNITS)}"
    if draw < 0.25:
        return text + dice.choice(
            ("*", "†", f"{SUPER}a", f"{SUPER}b", f"{SUPER}1", " (%)", ":", ".", " [%]", " #")
        )
    return text


def numeric_column(dice: Dice, style: Conventions) -> Column:
    """A column of numbers of one kind."""
    kind = dice.weighted(_NUMERIC)
    return _NUMERIC_MAKERS[kind](dice, style)


def _plain(dice: Dice, style: Conventions) -> Column:
    digits = dice.choice((0, 0, 1, 1, 2, 2, 3, 4))
    top = dice.between(0, 5 if digits == 0 else 3.3)
    spread, signed = dice.choice((0.3, 1.0, 2.0)), dice.chance(0.12)
    marks = dice.chance(0.08)

    def make() -> str:
        value = 10 ** (top - spread * dice.random())
        text = style.fixed(-value if signed and dice.chance(0.4) else value, digits)
        return (
            text + SUPER + dice.choice(("*", "**", "***", "a", "b", "†"))
            if marks and dice.chance(0.3)
            else text
        )

    return Column(title(dice), make)


def series_column(dice: Dice, style: Conventions) -> Column:
    """Figures of statistical yearbooks: counts of one size with separators, for many columns of a table."""
    digits = dice.choice((0, 0, 0, 1))
    low = dice.between(0.5, 5)
    spread = dice.between(0.3, 1.5)
    separator = style.thousands or ","

    def make() -> str:
        value = 10 ** (low + spread * dice.random())
        return style.fixed(value, 1) if digits else grouped(int(value), separator)

    return Column(title(dice), make)


def small_column(dice: Dice) -> Column:
    """Small whole numbers under a short title, where there is little room."""
    return Column(dice.choice(("n", "N", "%", "No.", "I", "x", "Q1", "A")), lambda: str(dice.integer(0, 99)))


def _percent(dice: Dice, style: Conventions) -> Column:
    digits, sign = dice.choice((0, 1, 1, 2)), dice.choice(("%", "%", " %", ""))
    plus = dice.chance(0.15)

    def make() -> str:
        value = dice.between(-20, 60) if plus else dice.between(0, 100)
        return ("+" if plus and value > 0 else "") + style.fixed(value, digits) + sign

    return Column(dice.choice((title(dice), "%", "Share (%)", title(dice) + " (%)", "Rate")), make)


def _count_share(dice: Dice, style: Conventions) -> Column:
    digits, sign = dice.choice((0, 1, 1, 2)), dice.choice(("", "", "%", " %"))
    top, brackets, glue = dice.between(1, 3.5), dice.choice(("()", "()", "[]")), dice.choice((" ", " ", ""))

    def make() -> str:
        share = style.fixed(dice.between(0, 100), digits)
        return (
            f"{style.fixed(int(10 ** (top * dice.random())), 0)}{glue}{brackets[0]}{share}{sign}{brackets[1]}"
        )

    return Column(
        dice.choice(("n (%)", "N (%)", title(dice) + " n (%)", title(dice), f"{ITALIC}n{PLAIN} (%)")), make
    )


def _mean_spread(dice: Dice, style: Conventions) -> Column:
    digits, top = dice.choice((1, 1, 2, 2, 3)), dice.between(0, 2.5)
    brackets = dice.chance(0.35)

    def make() -> str:
        value = 10 ** (top * dice.random())
        spread = style.fixed(value * dice.between(0.02, 0.6), digits)
        return style.fixed(value, digits) + (f" ({spread})" if brackets else style.plus_minus + spread)

    return Column(
        dice.choice(("Mean ± SD", "Mean (SD)", title(dice), title(dice), title(dice) + " (SD)")), make
    )


def _interval(dice: Dice, style: Conventions) -> Column:
    digits, dash = dice.choice((1, 2, 2, 3)), dice.choice((style.dash, style.dash, ", "))
    shape = dice.choice(
        ("{m} ({a}{d}{b})", "{a}{d}{b}", "({a}{d}{b})", "[{a}{d}{b}]", "{m} [{a}{d}{b}]", "{m} ({a}{d}{b})")
    )

    def make() -> str:
        middle = 10 ** dice.between(-0.7, 1.2)
        low, high = middle * dice.between(0.4, 0.95), middle * dice.between(1.05, 2.5)
        a, m, b = (style.fixed(value, digits) for value in (low, middle, high))
        return shape.format(a=a, b=b, m=m, d=dash)

    return Column(
        dice.choice(("95% CI", "95 % CI", "OR (95% CI)", "HR (95% CI)", "Range", title(dice), "IQR")), make
    )


def _p_value(dice: Dice, style: Conventions) -> Column:
    digits, gap, letter = dice.choice((2, 3, 3, 4)), dice.choice(("", "", " ")), dice.choice(("P", "p", "p"))
    stars, named = dice.chance(0.3), dice.chance(0.1)

    def make() -> str:
        value = dice.random() ** 2
        if dice.chance(0.25):
            text = f"<{gap}0{style.decimal}" + dice.choice(("001", "01", "05", "0001"))
        else:
            text = style.fixed(value, digits)
            text = f"= {text}" if named else text
        text = f"{ITALIC}{letter}{PLAIN} {text}" if named else text
        return (
            text + dice.choice(("*", "**", "***", f"{SUPER}*", f"{SUPER}a"))
            if stars and dice.chance(0.35)
            else text
        )

    heads = (
        f"{ITALIC}{letter}{PLAIN} value",
        f"{letter}-value",
        f"{letter} value",
        f"{ITALIC}{letter}",
        letter,
    )
    return Column(dice.choice(heads) + dice.choice(("", "", "", "*", "a")), make)


def _currency(dice: Dice, style: Conventions) -> Column:
    sign, digits, top = (
        dice.choice(("$", "$", "€", "£", "US$", "¥")),
        dice.choice((0, 0, 2)),
        dice.between(2, 6),
    )
    after, negative = dice.chance(0.2), dice.chance(0.2)

    def make() -> str:
        amount = style.fixed(10 ** (top * dice.between(0.4, 1)), digits)
        text = f"{amount} {sign}" if after else sign + amount
        return f"({text})" if negative and dice.chance(0.3) else text

    return Column(dice.choice((title(dice), "Cost", "Price", "Amount", f"Total ({sign})")), make)


def _scientific(dice: Dice, style: Conventions) -> Column:
    digits, power = dice.choice((0, 1, 2, 3)), dice.integer(0, 3)

    def make() -> str:
        mantissa, exponent = style.fixed(dice.between(1, 10), digits), dice.integer(1, 12)
        if power == 0:
            return f"{mantissa}E-{exponent:02}"
        if power == 1:
            return f"{mantissa}e-{exponent}"
        gap = " " if power == 2 else ""
        return f"{mantissa}{gap}×{gap}10{SUPER}{style.minus}{exponent}"

    return Column(title(dice), make)


def _units(dice: Dice, style: Conventions) -> Column:
    unit, digits = dice.choice(UNITS), dice.choice((0, 1, 2))
    prefix = dice.choice(("", "", "", "≥", "≤", "<", ">", "∼", "~", "≈"))

    def make() -> str:
        return f"{prefix}{style.fixed(10 ** dice.between(-0.5, 3), digits)} {unit}"

    return Column(title(dice), make)


_NUMERIC_MAKERS = {
    "plain": _plain, "percent": _percent, "count": _count_share, "mean": _mean_spread, "interval": _interval,
    "p": _p_value, "currency": _currency, "scientific": _scientific, "units": _units,
}  # fmt: skip
_NUMERIC = {
    "plain": 10, "percent": 2.5, "count": 1.6, "mean": 1.3, "interval": 1.3, "p": 1.2, "currency": 0.8,
    "scientific": 0.6, "units": 0.6,
}  # fmt: skip
