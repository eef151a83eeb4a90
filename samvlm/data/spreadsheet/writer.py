"""Tables as XLSX workbooks, a sheet a table: merged cells kept, header rows bold and frozen, text never a formula."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence

from ..cells import Cell
from ..delimited import would_run
from ..plain import column_widths, text_width
from ..safe_text import printable
from ..tables import Table

MAX_ROWS, MAX_COLUMNS = 1_048_576, 16_384  # of a sheet
MAX_TEXT = 32_767  # UTF-16 units of a cell
MAX_DIGITS = 15  # that a spreadsheet keeps of a number
MAX_NAME = 31  # UTF-16 units of a sheet's name
MAX_FROZEN = 20  # header rows; more would leave no room to scroll in
NARROWEST, WIDEST = 4, 60  # columns, in characters
MARGIN = 2  # of a column, in characters
LINE, TALLEST = 15, 409  # points: a line of text, the tallest row

_NUMBER = re.compile(r"(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?")
_LIKE_ESCAPE = re.compile(r"_(?=x[0-9A-Fa-f]{4}_)")
_UNDERSCORE = "_x005F_"
_NOT_IN_NAMES = re.compile(r"[\[\]:*?/\\\s]+")


def write_xlsx(tables: Sequence[Table], names: Sequence[str] | None = None, raw: bool = False) -> bytes:
    """Return a workbook with one sheet for each table, `names` made legal and unique as sheet names.

    A cell is text, typed as such: no spreadsheet runs it, and "=1+1" is marked so that editing does not either. A
    plain number in the body (`2004`, `-34.70`: no sign but a minus, no leading zeros, at most 15 digits) becomes a
    number that is shown with just these digits; any other (`1,234`, `007`, `5%`, `-0`) and those of header rows stay
    text, with `raw` all do. Control characters become blanks. A text of more than 32,767 characters, the most that a
    cell holds, is cut and ends in "…". Every place has a thin border, by which the reader knows the table's size.

    Raises ValueError for a table of more than 16,384 columns.
    """
    from openpyxl import Workbook

    book = Workbook()
    book.properties.creator = "samvlm"
    book.remove(book.active)
    titles = sheet_names(names or [f"Table {number}" for number in range(1, len(tables) + 1)])
    for title, table in zip(titles, tables, strict=True):
        _fill(book.create_sheet(title), table, raw)
    if not tables:
        book.create_sheet("Empty")  # a workbook has one at least
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def sheet_names(names: Iterable[str]) -> list[str]:
    """Turn names into legal sheet names that differ, also where case does not count, by " (2)", " (3)" …

    At most 31 characters, none of `[]:*?/\\`, no apostrophe at an end, not empty and not "History".
    """
    taken: set[str] = {"history"}
    found = []
    for name in names:
        base = _NOT_IN_NAMES.sub(" ", printable(name)).strip(" '") or "Sheet"
        title, number = _cut_units(base, MAX_NAME).strip(" '"), 1
        while title.casefold() in taken:
            number += 1
            ending = f" ({number})"
            title = _cut_units(base, MAX_NAME - len(ending)).strip(" '") + ending
        taken.add(title.casefold())
        found.append(title)
    return found


def cell_text(text: str) -> str:
    """Return a text as a sheet's XML holds it: printable, cut to what a cell may hold, `_x0041_` escaped.

    Spreadsheets read `_xHHHH_` as the character of that number (ECMA-376, ST_Xstring).
    """
    written = _LIKE_ESCAPE.sub(_UNDERSCORE, printable(text))
    if _units(written) <= MAX_TEXT:
        return written
    written = _cut_units(written, MAX_TEXT - 1)
    for length in range(len(_UNDERSCORE) - 1, 0, -1):
        written = written.removesuffix(_UNDERSCORE[:length])  # an escape that the cut went through
    return written + "…"


def as_number(text: str) -> tuple[int | float, str] | None:
    """Return a plain number and the format that shows it with just the digits of the text, or None."""
    match = _NUMBER.fullmatch(text)
    if not match:
        return None
    sign, whole, decimals = match[1], match[2], match[3] or ""
    if len(whole) + len(decimals) > MAX_DIGITS or (sign and not (whole + decimals).strip("0")):
        return None
    return (float(text), "0." + "0" * len(decimals)) if decimals else (int(text), "0")


def _fill(sheet: object, table: Table, raw: bool) -> None:
    """Write one table into an empty sheet of openpyxl."""
    from openpyxl.utils import get_column_letter
    from openpyxl.worksheet.cell_range import CellRange

    if table.n_rows > MAX_ROWS or table.n_cols > MAX_COLUMNS:
        raise ValueError(
            f"a sheet holds {MAX_ROWS} rows x {MAX_COLUMNS} columns, not {table.n_rows} x {table.n_cols}; "
            "split the table, or write CSV"
        )
    styles: dict[tuple[object, ...], object] = {}
    header_rows = table.header_rows
    for cell in table.cells:
        in_head = cell.row < header_rows
        number = None if raw or in_head else as_number(cell.text)
        quoted = number is None and would_run(printable(cell.text))
        key = (in_head, in_head and cell.colspan > 1, number and number[1], quoted)
        first = sheet.cell(cell.row + 1, cell.col + 1)
        if key not in styles:
            _style(first, *key)
            styles[key] = first._style
        for row in range(cell.row + 1, cell.row + cell.rowspan + 1):
            for col in range(cell.col + 1, cell.col + cell.colspan + 1):
                sheet.cell(row, col)._style = styles[key]  # one object for all of a kind
        if number:
            first.value = number[0]
        elif cell.text:
            first._value = cell_text(
                cell.text
            )  # `value` would take "=1" for a formula and "#N/A" for an error
            first.data_type = "s"
        if cell.rowspan > 1 or cell.colspan > 1:
            last = (cell.row + cell.rowspan, cell.col + cell.colspan)
            area = CellRange(
                min_row=first.row, min_col=first.column, max_row=last[0], max_col=last[1], title=None
            )
            sheet.merged_cells.ranges.add(area)
    widths = _widths(table)
    for col, width in enumerate(widths, 1):
        sheet.column_dimensions[get_column_letter(col)].width = width + MARGIN
    for row, height in enumerate(_heights(table, widths), 1):
        if height > 1:
            sheet.row_dimensions[row].height = min(height * LINE, TALLEST)
    if 0 < header_rows < table.n_rows and header_rows <= MAX_FROZEN:
        sheet.freeze_panes = f"A{header_rows + 1}"


def _style(cell: object, bold: bool, centred: bool, number_format: str | None, quoted: bool) -> None:
    """Give a cell of openpyxl the looks of its kind."""
    from openpyxl.styles import Alignment, Border, Font, Side

    line = Side(style="thin", color="BFBFBF")
    cell.border = Border(left=line, right=line, top=line, bottom=line)
    cell.font = Font(bold=bold)
    cell.alignment = Alignment(
        horizontal="center" if centred else None, vertical="top", wrap_text=number_format is None
    )
    if number_format:
        cell.number_format = number_format
    cell.quotePrefix = quoted  # Excel's own sign for text that looks like a formula


def _widths(table: Table) -> list[int]:
    """Columns as wide as their longest line, within bounds; longer text is wrapped."""
    needs = {id(cell): _longest_line(cell) for cell in table.cells}
    return [min(max(width, NARROWEST), WIDEST) for width in column_widths(table, needs)]


def _heights(table: Table, widths: list[int]) -> list[int]:
    """Lines of text that each row has to show, so that no program needs to measure wrapped text."""
    heights = [1] * table.n_rows
    for cell in sorted(table.cells, key=lambda cell: cell.rowspan):
        width = sum(widths[cell.col : cell.col + cell.colspan]) + MARGIN * (cell.colspan - 1)
        lines = sum(max(1, -(-text_width(line) // width)) for line in cell.text[:MAX_TEXT].split("\n"))
        last = cell.row + cell.rowspan
        heights[last - 1] += max(0, lines - sum(heights[cell.row : last]))
    return heights


def _longest_line(cell: Cell) -> int:
    return max(text_width(line) for line in cell.text[:MAX_TEXT].split("\n"))


def _units(text: str) -> int:
    """Length in UTF-16 units, by which spreadsheets count: two for an emoji."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2


def _cut_units(text: str, units: int) -> str:
    """The start of a text that is at most `units` UTF-16 units long."""
    if text.isascii():
        return text[:units]
    return text.encode("utf-16-le")[: units * 2].decode("utf-16-le", errors="ignore")
