"""Stock lists as a dot-matrix printer sets them on fan-fold paper: images with their truth beside them.

    python scripts/make_printouts.py printouts --number 400

They stand in for a user's own documents in docs/lora_walk.md. No drawn training table looks like them: capitals made of
dots, rules made of characters, paper with green bars, group titles between asterisks. `0000.png` has its truth in
`0000.html`; list n of a seed is the same everywhere, apart from the typeface, which is the machine's first monospaced
one (scripts/make_synth.py --fonts).
"""

import argparse
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from samvlm.data.synth.dice import Dice
from samvlm.data.synth.fonts import Face, families
from samvlm.data.tables import Cell, Table

PITCH = 2  # pixels between two dots
CELL_WIDTH, CELL_HEIGHT = 7, 13  # dots a character takes
MARGIN = 8  # pixels around the text
GOODS = {
    "FASTENERS": "BOLT,NUT,WASHER,SCREW,RIVET,COTTER PIN,STUD,ANCHOR,CLIP",
    "BEARINGS": "BALL BEARING,BUSHING,ROLLER,RACE,SEAL RING,SLEEVE,SPACER",
    "ELECTRICAL": "FUSE,RELAY,SWITCH,CABLE,LAMP,SOCKET,COIL,TERMINAL,BREAKER",
    "PIPES": "ELBOW,TEE,VALVE,FLANGE,NIPPLE,UNION,GASKET,HOSE,COUPLING",
    "PAINTS": "PRIMER,ENAMEL,VARNISH,THINNER,FILLER,LACQUER,STAIN",
    "TOOLS": "FILE,DRILL,TAP,REAMER,CHISEL,SAW BLADE,WRENCH,HAMMER",
}
KINDS = (
    "HEX",
    "FLAT",
    "STEEL",
    "BRASS",
    "LONG",
    "SHORT",
    "HEAVY",
    "ZINC",
    "NO.2",
    "M8",
    "M12",
    "1/4 IN",
    "3/8 IN",
)
COLUMNS = {  # name: lines of the title, alignment
    "part": (("PART", "NO."), "l"),
    "name": (("", "DESCRIPTION"), "l"),
    "bin": (("", "BIN"), "c"),
    "unit": (("", "UNIT"), "c"),
    "hand": (("ON", "HAND"), "r"),
    "order": (("ON", "ORDER"), "r"),
    "price": (("UNIT", "PRICE"), "r"),
    "value": (("STOCK", "VALUE"), "r"),
}  # fmt: skip


@dataclass
class Line:
    """A line of the list: the texts of its cells, or one text over all columns."""

    cells: list[str]
    title: bool = False


def write_lines(dice: Dice) -> tuple[list[str], list[Line]]:
    """The columns of a list and its lines: groups with titles, articles, totals."""
    optional = [name for name in ("bin", "unit", "hand", "order", "price", "value") if dice.chance(0.6)]
    columns = ["part", "name", *(optional or ["hand"])]
    lines: list[Line] = []
    grouped = dice.chance(0.7)
    for group in dice.shuffled(list(GOODS))[: dice.integer(1, 3)]:
        if grouped:
            lines.append(Line([f"*** {group} ***"], title=True))
        prefix, total = dice.choice("ABDFHKMPRT"), 0.0
        for _ in range(dice.integer(2, 6)):
            hand, price = (
                dice.integer(0, dice.choice((9, 99, 4000))),
                dice.integer(3, dice.choice((99, 30000))) / 100,
            )
            total += hand * price
            values = {
                "part": f"{prefix}{dice.integer(10, 99)}-{dice.integer(100, 9999)}",
                "name": f"{dice.choice(GOODS[group].split(','))} {dice.choice(KINDS)}",
                "bin": f"{dice.choice('ABCDE')}{dice.integer(1, 40)}",
                "unit": dice.choice(("EA", "BOX", "FT", "KG", "SET")),
                "hand": f"{hand:,}" if hand else "",
                "order": str(dice.integer(1, 500)) if dice.chance(0.4) else "",
                "price": f"{price:.2f}",
                "value": f"{hand * price:,.2f}",
            }
            lines.append(Line([values[name] for name in columns]))
        if grouped and "value" in columns:
            lines.append(Line(["", "GROUP TOTAL", *("" for _ in columns[3:]), f"{total:,.2f}"]))
    return columns, lines


def to_table(columns: list[str], lines: list[Line]) -> Table:
    """The truth."""
    titles = [" ".join(filter(None, COLUMNS[name][0])) for name in columns]
    cells = [Cell(text, 0, col, header="column") for col, text in enumerate(titles)]
    for row, line in enumerate(lines, 1):
        if line.title:
            cells.append(Cell(line.cells[0].strip("* "), row, 0, colspan=len(columns), header="section"))
        else:
            cells += [Cell(text, row, col) for col, text in enumerate(line.cells)]
    return Table(cells, len(lines) + 1, len(columns))


def typed(dice: Dice, columns: list[str], lines: list[Line]) -> list[str]:
    """The list as lines of characters."""
    rows = [line.cells for line in lines if not line.title]
    widths = [
        max(len(text) for text in (*COLUMNS[name][0], *(row[col] for row in rows))) + dice.integer(0, 2)
        for col, name in enumerate(columns)
    ]
    between, rule, framed = dice.choice((" | ", "  ", " : ", " ! ")), dice.choice("-="), dice.chance(0.5)
    left, right = (between.strip() + " ", " " + between.strip()) if framed and between.strip() else ("", "")

    def put(texts: list[str]) -> str:
        aligned = [
            {"l": str.ljust, "r": str.rjust, "c": str.center}[COLUMNS[name][1]](text, width)
            for name, text, width in zip(columns, texts, widths, strict=True)
        ]
        return left + between.join(aligned) + right

    across = rule * len(put([""] * len(columns)))
    if framed and between.strip():
        across = "+" + across[2:] + "+"
    body = []
    for line in lines:
        if line.title:
            body.append(left + line.cells[0].center(len(across) - len(left + right)) + right)
        else:
            body.append(put(line.cells))
    head = [put([COLUMNS[name][0][part] for name in columns]) for part in (0, 1)]
    return [across, *head, across, *body, across]


@cache
def typeface() -> Face:
    """The machine's first monospaced face."""
    return min(families(), key=lambda family: (family.kind != "mono", family.name)).face()


@cache
def dots(character: str) -> np.ndarray:
    """(CELL_HEIGHT, CELL_WIDTH) bool: where the needles strike."""
    cell = Image.new("1", (CELL_WIDTH, CELL_HEIGHT))
    pen = ImageDraw.Draw(cell)
    pen.fontmode = "1"
    pen.text((CELL_WIDTH / 2, 10), character, fill=1, font=typeface().open(10), anchor="ms")
    return np.asarray(cell)


def print_out(dice: Dice, text: list[str]) -> Image.Image:
    """Lines of characters as dots of uneven ink on green-barred paper."""
    cells = [[dots(character) for character in line.ljust(max(map(len, text)))] for line in text]
    struck = np.block(cells)  # (dots down, dots across)
    random = np.random.RandomState(
        int(dice.between(0, 2**31))
    )  # its numbers are the same in all versions of NumPy
    strength = struck * (1 - 0.3 * random.rand(*struck.shape))
    height, width = (side * PITCH + 2 * MARGIN for side in struck.shape)
    ink = np.zeros((height, width))
    for y in (-1, 0, 1):
        for x in (-1, 0, 1):  # a dot is three pixels wide and touches its neighbours
            spread = (1.0, 0.6, 0.2)[abs(y) + abs(x)]
            part = ink[MARGIN + y : height - MARGIN + y : PITCH, MARGIN + x : width - MARGIN + x : PITCH]
            np.maximum(part, spread * strength, out=part)
    paper = np.full((height, width, 3), (252.0, 252.0, 246.0))
    bar, tint = 3 * CELL_HEIGHT * PITCH, dice.choice(((222, 240, 222), (226, 236, 246), (252, 252, 246)))
    paper[(np.arange(height) + int(dice.between(0, 2 * bar))) // bar % 2 == 1] = tint
    ribbon = dice.between(0, 90)
    page = paper + ink[..., None] * (np.array([ribbon, ribbon, ribbon + 20]) - paper)
    return Image.fromarray(page.round().astype(np.uint8))


def make(seed: int, number: int) -> tuple[Image.Image, Table]:
    """List `number` of a seed: its image and its truth."""
    dice = Dice("printout", seed, number)
    columns, lines = write_lines(dice)
    return print_out(dice, typed(dice, columns, lines)), to_table(columns, lines)


def main(arguments: list[str] | None = None) -> int:
    """Write the lists; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where to write; made if it is not there")
    parser.add_argument("--number", type=int, default=400, help="of lists")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    if options.number < 1:
        parser.error(f"--number {options.number}: at least 1")
    options.folder.mkdir(parents=True, exist_ok=True)
    for number in range(options.number):
        image, table = make(options.seed, number)
        image.save(options.folder / f"{number:04}.png")
        (options.folder / f"{number:04}.html").write_text(table.to_html(), encoding="utf-8")
    print(f"{options.number} lists in {options.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
