"""What a synthetic table says: header rows with spans, labels, values, sections, sized to fit a given room."""

from dataclasses import dataclass, field

from .columns import Column, Conventions, label_column, numeric_column, text_column, title
from .dice import Dice
from .looks import Look
from .page import ITALIC, Type, plain, text_width
from .characters import ASCII
from .words import phrase

TALLEST = 60  # rows


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


def drawable(dice: Dice, style: Type, text: str) -> str:
    """`text` with what the family cannot draw replaced by ASCII letters, blanks made single."""
    if not style.can_draw(text):
        known = style.family.drawable
        text = "".join(c if c in known or plain(c) == "" else dice.choice(ASCII[34:59]) for c in text)
    return " ".join(text.split())


def make_content(dice: Dice, look: Look, width: float, height: float) -> Content:
    """Cells for a table that comes near to `width` x `height` pixels when set in `look`."""
    style, pitch = look.body, look.leading + look.pad_y
    conventions = Conventions.draw(dice)
    head_room = look.header_rows * pitch * 1.3
    n_body = max(1, min(TALLEST, int((height - head_room) / pitch)))
    if dice.chance(0.12):
        n_body = dice.integer(1, n_body)
    wanted = dice.weighted({2: 1.2, 3: 2.5, 4: 3.5, 5: 3, 6: 2.5, 7: 2, 8: 1.5, 9: 1, 10: 0.8, 12: 0.6, 14: 0.4})
    columns, texts, widths = _fill_columns(dice, look, conventions, n_body, wanted, width)
    n_cols = len(columns)
    items, header_rows = _header(dice, look, columns, n_cols)
    body, sections = _body(dice, look, texts, columns, header_rows, n_body, n_cols)
    items += body
    for item in items:
        item.text = drawable(dice, style, item.text)
    return Content(items, header_rows + n_body, n_cols, header_rows, widths, sections)


def _fill_columns(
    dice: Dice, look: Look, conventions: Conventions, n_body: int, wanted: int, width: float
) -> tuple[list[Column], list[list[str]], list[float]]:
    """Columns with their values, one after the other while there is room for one more."""
    style, pad = look.body, 2 * look.pad_x
    columns: list[Column] = []
    texts: list[list[str]] = []
    widths: list[float] = []
    used, misses = 0.0, 0
    wordy = dice.chance(0.12)  # a table of words, not numbers
    repeat: Column | None = None
    while len(columns) < wanted and misses < 4:
        if not columns:
            column = label_column(dice) if dice.chance(0.9) else numeric_column(dice, conventions)
        elif repeat is not None and dice.chance(0.5):
            column = Column(title(dice), repeat.make, repeat.numeric)  # neighbours often hold the same kind
        elif wordy or dice.chance(0.12):
            column = text_column(dice, dice.choice((2, 4, 8)))
        else:
            column = numeric_column(dice, conventions)
        values = [drawable(dice, style, column.make()) for _ in range(n_body)]
        if columns and conventions.missing_share:
            missing = drawable(dice, style, conventions.missing)
            values = [missing if dice.chance(conventions.missing_share) else value for value in values]
        natural = max(text_width(value, style) for value in values)
        limit = width * (0.5 if not columns else 0.35)
        if natural > limit:
            natural = max(limit, max(text_width(word, style) for value in values for word in value.split(" ")))
        words = column.header.split(" ") if look.header_rows else [""]
        column_width = max(style.size, natural, *(text_width(word, look.head) for word in words))
        if used + column_width + pad > width:
            misses += 1
            if misses == 4 and not columns:
                columns, texts, widths = [column], [values], [max(style.size, width - pad)]
            continue
        columns.append(column)
        texts.append(values)
        widths.append(column_width)
        used += column_width + pad
        repeat = column if column.numeric else None
    spare = width - used
    for number, column in enumerate(columns):  # titles get what is left, then wrap
        longest = text_width(plain(column.header), look.head) if look.header_rows else 0.0
        extra = min(max(0.0, longest - widths[number]), spare * dice.between(0.2, 1.0))
        widths[number] += extra
        spare -= extra
    return columns, texts, widths


def _header(dice: Dice, look: Look, columns: list[Column], n_cols: int) -> tuple[list[Item], int]:
    """Items of the header rows, and how many rows there are."""
    rows = look.header_rows
    if rows == 0:
        return [], 0
    if rows > 1 and n_cols < 3:
        rows = 1
    align = [look.head_align or _column_align(look, column, number) for number, column in enumerate(columns)]
    align = ["r" if a == "d" else a for a in align]
    if align and look.text_align == "l":
        align[0] = "l"

    def item(text: str, row: int, col: int, rowspan: int = 1, colspan: int = 1) -> Item:
        where = "c" if colspan > 1 and look.head_align != "l" else align[col]
        return Item(text, row, col, rowspan, colspan, "column", look.head, where, "b")

    if rows == 1:
        return [item(column.header, 0, col) for col, column in enumerate(columns)], 1
    # Upper rows: runs of columns under common titles; a title for one column reaches down, or leaves a gap.
    mode = dice.choice(("span", "span", "top", "bottom"))  # where single titles stand
    items: list[Item] = []
    groups = _groups(dice, 1 if dice.chance(0.85) else 0, n_cols)
    repeat = [title(dice, 1) for _ in range(max(size for _, size in groups))] if dice.chance(0.4) else None
    if all(size == 1 for _, size in groups):
        return [item(column.header, 0, col) for col, column in enumerate(columns)], 1
    for start, size in groups:
        if size == 1:
            items += _single(item, columns[start].header, start, rows, mode)
            continue
        items.append(item(title(dice, dice.integer(1, 3)), 0, start, 1, size))
        level = 1
        if rows == 3:
            level = 2
            if size >= 4 and dice.chance(0.6):
                left = dice.integer(2, size - 2)
                items.append(item(title(dice, dice.integer(1, 2)), 1, start, 1, left))
                items.append(item(title(dice, dice.integer(1, 2)), 1, start + left, 1, size - left))
            else:
                items.append(item(title(dice, dice.integer(1, 2)), 1, start, 1, size))
        for offset in range(size):
            text = repeat[offset] if repeat else columns[start + offset].header
            items.append(item(text, level, start + offset))
    return items, rows


def _single(item, text: str, col: int, rows: int, mode: str) -> list[Item]:
    """The header of one column beside spanning titles."""
    if mode == "span":
        cell = item(text, 0, col, rows)
        cell.valign = "m"
        return [cell]
    place = 0 if mode == "top" else rows - 1
    return [item(text if row == place else "", row, col) for row in range(rows)]


def _groups(dice: Dice, first: int, n_cols: int) -> list[tuple[int, int]]:
    """The columns cut into runs (start, size); the label column stands alone if `first` is 1."""
    groups = [(0, 1)] if first else []
    col = first
    even = dice.choice((2, 2, 3, 4)) if dice.chance(0.5) else 0
    while col < n_cols:
        size = min(n_cols - col, even or dice.choice((1, 2, 2, 3, 3, 4, 5)))
        groups.append((col, size))
        col += size
    return groups


def _column_align(look: Look, column: Column, number: int) -> str:
    if number == 0:
        return "l" if look.text_align == "l" else "c"
    return look.number_align if column.numeric else look.text_align


def _body(
    dice: Dice, look: Look, texts: list[list[str]], columns: list[Column], top: int, n_body: int, n_cols: int
) -> tuple[list[Item], dict[int, str]]:
    """Items of the body rows, and which rows are section rows."""
    style = look.body
    labels = Type(style.family, style.size, look.bold_labels, False, style.hinted, style.kerning, style.tracking)
    aligns = [_column_align(look, column, number) for number, column in enumerate(columns)]
    sections = _sections(dice, look, n_body, n_cols, top)
    indent = dice.choice((0.0, 0.6, 1.0, 1.5)) * style.size
    stepped = not sections and dice.chance(0.15)  # indented rows under some rows
    runs = _runs(dice, n_body) if not sections and n_cols > 2 and dice.chance(0.12) else {}
    total_row = dice.chance(0.12)
    items: list[Item] = []
    inside = covered = 0
    for number in range(n_body):
        row = top + number
        if row in sections:
            items += _section_items(dice, look, row, n_cols, sections[row])
            inside = 1
            continue
        if stepped:
            inside = int(dice.chance(0.65)) if number else 0
        last = total_row and number == n_body - 1
        row_style = Type(style.family, style.size, True, False, style.hinted, style.kerning, style.tracking) if last else style
        for col in range(n_cols):
            text = texts[col][number]
            item = Item(text, row, col, style=labels if col == 0 and not last else row_style, align=aligns[col], valign=look.valign)
            if col == 0:
                if runs:
                    if covered:
                        covered -= 1
                        if look.rules == "grid":
                            continue  # the place belongs to the cell above
                        item.text = ""
                    else:
                        covered = runs.get(number, 1) - 1
                        if look.rules == "grid":
                            item.rowspan = covered + 1
                            item.valign = dice.choice("mmt") if look.valign == "t" else "m"
                else:
                    item.indent = indent if inside else 0.0
                    if last:
                        item.text, item.indent = dice.choice(("Total", "All", "Sum", "Overall", text)), 0.0
            items.append(item)
    return items, sections


def _runs(dice: Dice, n_body: int) -> dict[int, int]:
    """Body rows that share one label: first row -> how many."""
    runs, row = {}, 0
    longest = dice.integer(2, 6)
    while row < n_body:
        runs[row] = min(dice.integer(1, longest), n_body - row)
        row += runs[row]
    return runs


def _sections(dice: Dice, look: Look, n_body: int, n_cols: int, top: int) -> dict[int, str]:
    """Rows that title those below them: a cell over the whole row where that shows, else text and empty cells."""
    if n_body < 4 or n_cols < 2 or not dice.chance(0.25):
        return {}
    kind = "span" if look.section_centred or look.section_shade else "plain"
    rows, row = {}, 0 if dice.chance(0.8) else dice.integer(1, n_body - 2)
    while row < n_body - 1:
        rows[top + row] = kind
        row += dice.integer(3, 8)
    return rows


def _section_items(dice: Dice, look: Look, row: int, n_cols: int, kind: str) -> list[Item]:
    base = look.body
    style = Type(base.family, base.size, dice.chance(0.6), dice.chance(0.25), base.hinted, base.kerning, base.tracking)
    text = phrase(dice, dice.integer(1, 3)) + dice.choice(("", "", "", ":", ", n (%)", f" ({ITALIC}n"))
    text = text + ")" if text.endswith(f"({ITALIC}n") else text
    if kind == "span":
        where = "c" if look.section_centred else "l"
        return [Item(text, row, 0, 1, n_cols, "section", style, where, "m")]
    return [Item(text if col == 0 else "", row, col, style=style, valign="t") for col in range(n_cols)]
