"""Columns of words: row labels, names, dates, codes, marks."""

from .dice import Dice
from .figures import Column, Maker, title
from .words import DIGITS, MONTHS, UNITS, UPPER, accented, address, code, date, letters, phrase, token, word


def text_column(dice: Dice, longest: int = 4) -> Column:
    """A column of words, dates, codes, marks or anything."""
    kind = dice.weighted(
        {"words": 6, "word": 3, "date": 1.2, "code": 2, "mark": 1, "address": 0.3, "any": 1.2, "name": 1}
    )
    makers: dict[str, Maker] = {
        "words": lambda: phrase(dice, dice.integer(1, longest)),
        "word": lambda: word(dice),
        "date": lambda: date(dice),
        "code": lambda: code(dice),
        "address": lambda: address(dice),
        "any": lambda: " ".join(token(dice) for _ in range(dice.integer(1, 2))),
        "name": lambda: _person(dice),
    }
    if kind == "mark":
        marks = dice.choice(
            (
                ("yes", "no"),
                ("Yes", "No"),
                ("+", "-"),
                ("+", "−", "++", "±"),
                ("x", ""),
                ("•", ""),
                ("High", "Low"),
            )
        )
        makers["mark"] = lambda: dice.choice(marks)
    return Column(title(dice), makers[kind], numeric=kind in ("date", "mark"))


def _person(dice: Dice) -> str:
    """An author with a citation, as in review tables."""
    name = phrase(dice, 1, capital=1.0)
    name = accented(dice, name) if dice.chance(0.1) else name
    draw = dice.integer(0, 3)
    if draw == 0:
        return f"{name} et al. ({dice.integer(1980, 2030)})"
    if draw == 1:
        return f"{name} et al. [{dice.integer(1, 150)}]"
    if draw == 2:
        return f"{letters(dice, UPPER, 1, 1)}. {name}"
    return f"{name} {letters(dice, UPPER, 1, 2)}"


def label_column(dice: Dice) -> Column:
    """The first column: what the rows are called."""
    kind = dice.weighted(
        {
            "words": 7,
            "year": 1,
            "month": 0.5,
            "number": 1,
            "code": 1,
            "name": 1,
            "any": 0.6,
            "range": 0.7,
            "numbered": 0.5,
        }
    )
    if kind in ("year", "number", "month"):
        count = [
            dice.integer(1950, 2015) if kind == "year" else dice.integer(0, 11) if kind == "month" else 0
        ]
        step = dice.choice((1, 1, 1, 5)) if kind == "year" else 1
        ending = dice.choice(("", "", ".", ")", ":")) if kind == "number" else dice.choice(("", "", "", "*"))

        def follow() -> str:
            count[0] += step
            return (MONTHS[count[0] % 12] if kind == "month" else str(count[0])) + ending

        return Column(dice.choice(("Year", "No.", "Month", "", title(dice, 1))), follow, numeric=False)
    longest = dice.choice((2, 3, 3, 4, 6, 9))
    numbers = iter(range(1, 1000))
    mark = dice.choice((". ", ") ", ".", " - ", " "))
    makers: dict[str, Maker] = {
        "words": lambda: phrase(dice, dice.integer(1, longest)),
        "code": lambda: code(dice),
        "name": lambda: _person(dice),
        "any": lambda: " ".join(token(dice) for _ in range(dice.integer(1, 3))),
        "range": lambda: _range_label(dice),
        "numbered": lambda: f"{next(numbers)}{mark}{phrase(dice, dice.integer(2, 4 + longest))}",
    }
    return Column(dice.choice((title(dice), title(dice), "")), makers[kind], numeric=False)


def _range_label(dice: Dice) -> str:
    """A class of values: "≤ 65", "18–24 years", "Age (years)"."""
    low = dice.integer(0, 90)
    draw = dice.integer(0, 4)
    if draw == 0:
        return dice.choice(("<", ">", "≤", "≥", "< ", "≥ ")) + str(low)
    if draw == 1:
        return (
            f"{low}{dice.choice('–-')}{low + dice.integer(1, 20)}{dice.choice(('', '', ' years', ' days'))}"
        )
    if draw == 2:
        return f"{phrase(dice, dice.integer(1, 2))} ({dice.choice(UNITS)})"
    if draw == 3:
        return f"{phrase(dice, dice.integer(1, 2))}, n (%)"
    return phrase(dice, dice.integer(1, 2)) + " " + letters(dice, DIGITS, 1, 2)
