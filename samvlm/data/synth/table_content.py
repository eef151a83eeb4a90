"""What a synthetic table says: columns of values and labels, as many as its room takes."""

from .columns import label_column, text_column
from .dice import Dice
from .figures import Column, Conventions, numeric_column, series_column, small_column, title
from .looks import Look
from .page import plain, text_width
from .table_body import make_body
from .table_cells import Content, drawable
from .table_header import make_header

TALLEST = 60  # rows
_COLUMNS = {2: 1.2, 3: 2.5, 4: 3.5, 5: 3, 6: 2.5, 7: 2, 8: 1.5, 9: 1, 10: 0.8, 12: 0.6, 14: 0.4}


def make_content(dice: Dice, look: Look, width: float, height: float) -> Content:
    """Cells for a table that comes near to `width` x `height` pixels when set in `look`."""
    style, pitch = look.body, look.leading + look.pad_y
    conventions = Conventions.draw(dice)
    head_room = look.header_rows * pitch * 1.3
    n_body = max(1, min(TALLEST, int((height - head_room) / pitch)))
    if dice.chance(0.12):
        n_body = dice.integer(1, n_body)
    flat = height < 5 * pitch  # no room for titles of several lines
    columns, texts, widths = _fill_columns(dice, look, conventions, n_body, width, flat)
    n_cols = len(columns)
    items, header_rows = make_header(dice, look, columns, n_cols)
    body, sections = make_body(dice, look, texts, columns, header_rows, n_body, n_cols)
    items += body
    for item in items:
        item.text = drawable(dice, style, item.text)
    return Content(items, header_rows + n_body, n_cols, header_rows, widths, sections)


class _Columns:
    """An endless supply of columns of one kind of table."""

    def __init__(self, dice: Dice, conventions: Conventions) -> None:
        self.dice, self.conventions = dice, conventions
        self.kind = dice.weighted({"mixed": 6, "series": 1.6, "same": 1.4, "words": 1.0})
        self.previous: Column | None = None
        self.first = True

    def wanted(self) -> int:
        return self.dice.integer(5, 16) if self.kind == "series" else self.dice.weighted(_COLUMNS)

    def draw(self) -> Column:
        """The next column; the labels first."""
        dice, conventions = self.dice, self.conventions
        if self.first:
            return label_column(dice) if dice.chance(0.92) else numeric_column(dice, conventions)
        previous = self.previous
        if previous is not None and dice.chance(1.0 if self.kind in ("series", "same") else 0.45):
            return Column(title(dice), previous.make, previous.numeric)  # neighbours often hold the same kind
        if self.kind == "series":
            return series_column(dice, conventions)
        if self.kind == "words" or dice.chance(0.1):
            return text_column(dice, dice.choice((2, 4, 8)))
        return numeric_column(dice, conventions)

    def accept(self, column: Column) -> None:
        if not self.first and column.numeric:
            self.previous = column
        self.first = False


def _fill_columns(
    dice: Dice, look: Look, conventions: Conventions, n_body: int, width: float, flat: bool
) -> tuple[list[Column], list[list[str]], list[float]]:
    """Columns with their values, one after the other while there is room for one more."""
    style, pad = look.body, 2 * look.pad_x
    columns: list[Column] = []
    texts: list[list[str]] = []
    widths: list[float] = []
    used, misses = 0.0, 0
    supply = _Columns(dice, conventions)
    wanted = supply.wanted()
    while len(columns) < wanted and misses < 4:
        column = supply.draw()
        if misses == 3 and len(columns) < 2:  # a narrow page: make do with a figure or two
            column = small_column(dice)
        values = [drawable(dice, style, column.make()) for _ in range(n_body)]
        if columns and conventions.missing_share:
            missing = drawable(dice, style, conventions.missing)
            values = [missing if dice.chance(conventions.missing_share) else value for value in values]
        natural = max(text_width(value, style) for value in values)
        limit = width * (0.35 if columns else 0.4 if width < 220 else 0.5)
        if natural > limit:
            natural = max(
                limit, max(text_width(word, style) for value in values for word in value.split(" "))
            )
        words = column.header.split(" ") if look.header_rows else [""]
        words = [plain(column.header)] if flat and look.header_rows else words
        column_width = max(style.size, natural, *(text_width(word, look.head) for word in words))
        if used + column_width + pad > (width if columns else 0.7 * width):
            misses += 1
            if misses == 4 and not columns:
                columns, texts, widths = [column], [values], [max(style.size, width - pad)]
            continue
        columns.append(column)
        texts.append(values)
        widths.append(column_width)
        used += column_width + pad
        supply.accept(column)
    spare = width - used
    for number, column in enumerate(columns):  # titles get what is left, then wrap
        longest = text_width(plain(column.header), look.head) if look.header_rows else 0.0
        extra = min(max(0.0, longest - widths[number]), spare * dice.between(0.2, 1.0))
        widths[number] += extra
        spare -= extra
    return columns, texts, widths
