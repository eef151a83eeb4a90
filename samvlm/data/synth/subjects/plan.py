"""What a table says, before it has a look: titles of columns under groups, rows of labels and values."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ...tables import Cell, Table
from ..dice import Dice
from ..figures import Conventions
from ..page import plain
from ..words import invented

MISSING = ("–", "—", "-", "…", "NA", "n.a.", "ND", "N/A", "", "", "ns")


@dataclass
class Title:
    """A column: its title, and the titles above it from the top down."""

    text: str
    above: tuple[str, ...] = ()
    align: str = "c"  # of its values: "l" | "c" | "r"


@dataclass
class Row:
    """A row: values by column, the label among them. Texts may hold the marks of synth/page.py.

    kind:  "values" | "parent" (of indented rows below) | "section" (a title of the rows below; values[0] alone
           counts) | "total"
    depth: steps by which the label is indented
    cover: rows that share the label of this one, itself included; their own values[0] are ""
    """

    values: list[str]
    kind: str = "values"
    depth: int = 0
    cover: int = 1


@dataclass
class Plan:
    """A table to be. `manner` is "journal" | "report" | "business", `kind` what its maker is called."""

    titles: list[Title]
    rows: list[Row]
    manner: str
    kind: str
    grouped: bool = False  # labels in column 0 are shared by runs of rows


@dataclass
class Item:
    """A cell with its place. Texts may hold marks; names as in synth/table_cells.py."""

    text: str
    row: int
    col: int
    rowspan: int = 1
    colspan: int = 1
    header: str | None = None
    align: str = "l"
    valign: str = ""  # "": as the table's
    indent: int = 0
    bold: bool = False
    italic: bool = False
    classes: list[str] = field(default_factory=list)


@dataclass
class Draft:
    """A table that is ready to be set: cells on a grid.

    above, below: a line that a careless crop has left there; no part of the table
    """

    items: list[Item]
    n_rows: int
    n_cols: int
    header_rows: int
    above: str = ""
    below: str = ""

    def table(self) -> Table:
        """The truth."""
        cells = [
            Cell(plain(item.text), item.row, item.col, item.rowspan, item.colspan, item.header)
            for item in self.items
        ]
        return Table(cells, self.n_rows, self.n_cols)


def row_count(dice: Dice, low: int = 3, high: int = 60) -> int:
    """How many body rows: about 11, now and then up to 60."""
    middle = dice.weighted({4: 2.2, 7: 3, 12: 4, 20: 2.2, 34: 1.1, 48: 0.5})
    return min(high, max(low, round(middle * 2.0 ** dice.between(-0.7, 0.5))))


def some(dice: Dice, options: Sequence[str], number: int) -> list[str]:
    """Up to `number` different entries, in their order half of the time."""
    spots = dice.shuffled(range(len(options)))[:number]
    if dice.chance(0.4):
        spots.sort()
    return [options[spot] for spot in spots]


def strange(dice: Dice, text: str, share: float = 0.12) -> str:
    """`text` with a word replaced by one that exists nowhere, now and then: spelling must not be guessed."""
    if not dice.chance(share):
        return text
    words = text.split(" ")
    spot = dice.integer(0, len(words) - 1)
    other = invented(dice)
    words[spot] = other.capitalize() if words[spot][:1].isupper() else other
    return " ".join(words)


def told(dice: Dice, sentences: Sequence[str]) -> str:
    """A remark of one sentence or of several, now and then with a word that exists nowhere."""
    parts = [strange(dice, dice.choice(sentences), 0.3) for _ in range(dice.choice((1, 1, 1, 2, 2, 3)))]
    return dice.choice(("; ", ". ")).join(parts)


class Numbers:
    """Figures in the conventions of one table."""

    def __init__(self, dice: Dice, journal: bool = True) -> None:
        self.dice = dice
        self.style = Conventions.draw(dice)
        if self.style.decimal == "," and dice.chance(0.7 if journal else 0.4):
            self.style.decimal, self.style.thousands = ".", dice.choice((",", "", ","))
        self.gap = dice.choice((" ", " ", " ", ""))
        self.percent = dice.choice(("", "", "%", "%"))
        self.p_digits = dice.choice((2, 3, 3, 3, 4))
        self.p_zero = dice.choice(("0", "0", "0", ""))
        self.brackets = dice.choice(("()", "()", "()", "[]"))

    def fixed(self, value: float, digits: int) -> str:
        return self.style.fixed(value, digits)

    def count(self, top: float = 3.0, low: float = 0.0) -> str:
        return self.fixed(int(10 ** self.dice.between(low, top)), 0)

    def share(self, digits: int = 1) -> str:
        return self.fixed(100 * self.dice.random() ** 1.5, digits) + self.percent

    def count_share(self, digits: int = 1, top: float = 3.0) -> str:
        inside = self.fixed(100 * self.dice.random() ** 1.3, digits) + self.percent
        return f"{self.count(top)}{self.gap}{self.brackets[0]}{inside}{self.brackets[1]}"

    def spread(self, digits: int = 1, size: float = 1.5, bracketed: bool = False) -> str:
        value = 10 ** self.dice.between(size - 0.8, size)
        deviation = self.fixed(value * self.dice.between(0.05, 0.5), digits)
        if bracketed:
            return f"{self.fixed(value, digits)}{self.gap}({deviation})"
        return self.fixed(value, digits) + self.style.plus_minus + deviation

    def interval(self, digits: int = 2, shape: str = "{m} ({a}{d}{b})", middle: float | None = None) -> str:
        dice = self.dice
        middle = 10 ** dice.between(-0.5, 0.8) if middle is None else middle
        low, high = middle * dice.between(0.35, 0.95), middle * dice.between(1.05, 2.6)
        a, m, b = (self.fixed(value, digits) for value in (low, middle, high))
        return shape.format(a=a, m=m, b=b, d=self.style.dash)

    def p_value(self) -> str:
        dice = self.dice
        sign = dice.choice(("<", "<", "< "))
        if dice.chance(0.28):
            return f"{sign}{self.p_zero}{self.style.decimal}" + dice.choice(
                ("001", "001", "01", "05", "0001")
            )
        text = self.fixed(dice.random() ** 2, self.p_digits)
        return text if self.p_zero else text.removeprefix("0")
