"""Sheets of workbooks as tables: merged cells as spans, numbers as they are shown, nothing evaluated.

openpyxl reads workbooks for editing: it builds an object for each place of a merged range, be it the whole sheet, and
loads pictures and charts. Here only what a table needs is read, within limits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lxml import etree

from ..cells import MAX_GRID, Cell, Layout, check_size, clean_text
from ..safe_text import printable
from .package import Package, local_name
from .styles import Style, pick, read_styles, shown_number

MAX_TEXT = 50_000_000  # characters of all cells of a sheet
MAX_ROWS, MAX_COLUMNS = 1_048_576, 16_384  # of a sheet

_PLACE = re.compile(r"([A-Z]{1,3})([1-9][0-9]{0,6})")
_ROW = re.compile(r"[1-9][0-9]{0,6}")
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")
_ID = (
    "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id",
    "{http://purl.oclc.org/ooxml/officeDocument/relationships}id",  # "strict" files
)


class Entry(NamedTuple):
    """A cell of a sheet that shows something: text or a border."""

    text: str
    bold: bool


class Sheet(NamedTuple):
    """What is read of a sheet: entries by (row, column) from 0, merged ranges (ends included), frozen rows."""

    entries: dict[tuple[int, int], Entry]
    merged: list[tuple[int, int, int, int]]
    frozen: int


class Workbook:
    """The sheets of a workbook, read one at a time: `sheets` maps names to parts.

    source: a path or the file's bytes. Raises ValueError for what is no XLSX file, damaged, or beyond the limits.
    """

    def __init__(self, source: str | Path | bytes):
        self.package = Package(source)
        main = {relation.kind: relation.target for relation in self.package.relations("")}
        part = main.get("officeDocument", "xl/workbook.xml")
        if part not in self.package or not part.endswith(".xml"):
            raise self.package.problem("a zip, but no XLSX file; save it as .xlsx")
        relations = self.package.relations(part)
        self.since_1904 = False
        self.sheets = self._sheets(part, {relation.id: relation.target for relation in relations})
        others = {relation.kind: relation.target for relation in relations}
        self.strings = [string_of(si) for si in self.package.elements(others.get("sharedStrings", ""), "si")]
        self.styles = read_styles(self.package, others.get("styles", ""))

    def _sheets(self, part: str, targets: dict[str, str]) -> dict[str, str]:
        sheets = {}
        for element in self.package.elements(part, "workbookPr", "sheet"):
            if local_name(element) == "workbookPr":
                self.since_1904 = element.get("date1904") in ("1", "true")
                continue
            target = targets.get(next((element.get(name) for name in _ID if element.get(name)), ""), "")
            if target in self.package:
                sheets[element.get("name", target)] = target
        return sheets

    def read(self, part: str) -> Sheet:
        """Read one sheet. Raises ValueError if it is damaged or shows more than `MAX_GRID` cells."""
        entries: dict[tuple[int, int], Entry] = {}
        merged: list[tuple[int, int, int, int]] = []
        frozen = length = 0
        row = col = -1
        for element in self.package.elements(part, "c", "row", "mergeCell", "pane"):
            kind = local_name(element)
            if kind == "c":
                row, col = self._place(element, row, col)
                entry = self._entry(element)
                length += len(entry.text) if entry else 0
                if entry:
                    entries[row, col] = entry
                if len(entries) > MAX_GRID or length > MAX_TEXT:
                    raise self.package.problem(
                        f"{part} has more than {MAX_GRID} filled cells or {MAX_TEXT} characters; split the sheet"
                    )
            elif kind == "row":
                row, col = self._next_row(element, row), -1
            elif kind == "mergeCell":
                merged.append(self._range(element.get("ref", "")))
                if len(merged) > MAX_GRID:
                    raise self.package.problem(
                        f"{part} has more than {MAX_GRID} merged ranges; split the sheet"
                    )
            elif element.get("state", "split").startswith("frozen"):
                frozen = int(number_of(element.get("ySplit")) or 0)
        return Sheet(entries, merged, frozen)

    def _place(self, element: etree._Element, row: int, col: int) -> tuple[int, int]:
        """Row and column of a cell; where it does not say them, it follows the one before."""
        reference = element.get("r")
        if reference is None:
            line = element.getparent()
            before = None if line is None else line.get("r")
            return (self._row(before) if before else max(row, 0)), self._column(col + 1)
        return self._point(reference)

    def _next_row(self, element: etree._Element, row: int) -> int:
        number = element.get("r")
        return (self._row(number) if number else row) + 1

    def _row(self, number: str) -> int:
        if not _ROW.fullmatch(number) or int(number) > MAX_ROWS:
            raise self.package.damage("a sheet", f"no row is numbered {number[:20]!r}")
        return int(number) - 1

    def _column(self, col: int) -> int:
        if col >= MAX_COLUMNS:
            raise self.package.damage("a sheet", f"a row has more than {MAX_COLUMNS} columns")
        return col

    def _point(self, reference: str) -> tuple[int, int]:
        match = _PLACE.fullmatch(reference.replace("$", ""))
        if not match:
            raise self.package.damage("a sheet", f"{reference[:20]!r} is no place of it")
        col = 0
        for letter in match[1]:
            col = col * 26 + ord(letter) - ord("A") + 1
        return self._row(match[2]), self._column(col - 1)

    def _range(self, reference: str) -> tuple[int, int, int, int]:
        first, _, last = reference.partition(":")
        (top, left), (bottom, right) = self._point(first), self._point(last or first)
        return min(top, bottom), min(left, right), max(top, bottom), max(left, right)

    def _entry(self, element: etree._Element) -> Entry | None:
        style = pick(self.styles, element.get("s"), Style())
        text = self._text(element, style)
        return Entry(text, style.bold) if text or style.framed else None

    def _text(self, element: etree._Element, style: Style) -> str:
        """What the cell shows: the value stored with a formula, the formula itself where none is stored."""
        kind = element.get("t", "n")
        if kind == "inlineStr":
            inline = element.find("{*}is")
            return "" if inline is None else string_of(inline)
        value = element.findtext("{*}v")
        if value is None:
            formula = element.findtext("{*}f")
            return _clean(f"={formula}") if formula else ""
        if kind == "s":
            text = pick(self.strings, value.strip(), None)
            if text is None:
                raise self.package.damage("a sheet", f"there is no shared string {value[:20]!r}")
            return text
        if kind == "b":
            return "TRUE" if value.strip() == "1" else "FALSE"
        if kind == "n" and (number := number_of(value)) is not None:
            return shown_number(value.strip(), number, style.format, self.since_1904)
        return _clean(_unescape(value))


def number_of(text: str | None) -> float | None:
    """A finite number, None for what is none."""
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if abs(number) < 1e300 else None


def string_of(element: etree._Element) -> str:
    """The text of a string, rich text joined, without phonetic hints."""
    runs = element.xpath("./*[local-name()='t'] | ./*[local-name()='r']/*[local-name()='t']")
    return _clean(_unescape("".join(run.text or "" for run in runs)))


def _unescape(text: str) -> str:
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text) if "_x" in text else text


def _clean(text: str) -> str:
    return clean_text(printable(text.replace("\r\n", "\n")))


def to_layout(sheet: Sheet, header_rows: int | None) -> Layout:
    """Place what a sheet shows on a grid that ends with its outermost cells. Raises ValueError if it is too large.

    Column headers are the first `header_rows` rows; None: the frozen rows, else the leading rows that are all bold.
    """
    top, left = (min(place[axis] for place in sheet.entries) for axis in (0, 1))
    n_rows = max(row for row, _ in sheet.entries) - top + 1
    n_cols = max(col for _, col in sheet.entries) - left + 1
    check_size(n_rows, n_cols)
    taken: dict[tuple[int, int], tuple[int, int]] = {}  # covered place -> first place of its cell
    spans: dict[tuple[int, int], tuple[int, int]] = {}
    repairs = []
    for first_row, first_col, last_row, last_col in sheet.merged:
        row, col = max(first_row - top, 0), max(first_col - left, 0)
        height, width = min(last_row - top + 1, n_rows) - row, min(last_col - left + 1, n_cols) - col
        if height < 1 or width < 1 or height * width == 1:
            continue
        places = [(r, c) for r in range(row, row + height) for c in range(col, col + width)]
        if any(place in taken for place in places):
            raise ValueError(f"merged ranges overlap at row {row}, column {col} of the table; part them")
        taken.update(dict.fromkeys(places, (row, col)))
        spans[row, col] = (height, width)
    texts = {(row - top, col - left): entry for (row, col), entry in sheet.entries.items()}
    for place, first in taken.items():
        if place != first and (hidden := texts.pop(place, None)) and hidden.text:
            repairs.append(f"row {place[0]}, column {place[1]}: a text under a merged cell was left out")
    if header_rows is None:
        header_rows = sheet.frozen - top
        if not 0 < header_rows < n_rows:
            bold = [True] * n_rows
            filled = [False] * n_rows
            for (row, _), entry in texts.items():
                bold[row] &= entry.bold
                filled[row] = True
            header_rows = next((r for r in range(n_rows) if not (bold[r] and filled[r])), n_rows)
    cells = []
    for row in range(n_rows):
        for col in range(n_cols):
            if taken.get((row, col), (row, col)) == (row, col):
                entry = texts.get((row, col))
                header = "column" if row < header_rows else None
                cells.append(
                    Cell(entry.text if entry else "", row, col, *spans.get((row, col), (1, 1)), header)
                )
    return Layout(cells, n_rows, n_cols, repairs)


def read_all_xlsx(source: str | Path | bytes, header_rows: int | None = None) -> Iterator[tuple[str, Layout]]:
    """Yield the name and the table of every sheet that shows something; `header_rows` as in `to_layout`."""
    workbook = Workbook(source)
    for name, part in workbook.sheets.items():
        sheet = workbook.read(part)
        if sheet.entries:
            yield name, _named(workbook, name, sheet, header_rows)


def read_xlsx(source: str | Path | bytes, name: str | None = None, header_rows: int | None = None) -> Layout:
    """Read the sheet of this name, None: the first that shows something. Raises ValueError if there is none."""
    if name is None:
        for _, layout in read_all_xlsx(source, header_rows):
            return layout
        raise ValueError(f"{Package(source).name}: no sheet with cells; give one with a table")
    workbook = Workbook(source)
    if name not in workbook.sheets:
        known = ", ".join(map(repr, list(workbook.sheets)[:10]))
        raise workbook.package.problem(f"no sheet {name!r}; it has {known}")
    return _named(workbook, name, workbook.read(workbook.sheets[name]), header_rows)


def _named(workbook: Workbook, name: str, sheet: Sheet, header_rows: int | None) -> Layout:
    if not sheet.entries:
        raise workbook.package.problem(f"the sheet {name!r} shows no cell; give another")
    try:
        return to_layout(sheet, header_rows)
    except ValueError as error:
        raise workbook.package.problem(f"sheet {name!r}: {error}") from error
