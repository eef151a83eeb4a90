"""Tables in HTML: a forgiving reader (spans capped, overlaps resolved) and a writer in PubTabNet's form."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from html import escape

from lxml import etree

from .cells import MAX_GRID, MAX_SPAN, Cell, Layout, check_size, clean_text, place
from .safe_text import printable

_UNSAFE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")  # libxml2 stops at these
# fmt: off
_BLOCKS = frozenset({
    "address", "article", "blockquote", "dd", "div", "dl", "dt", "h1", "h2", "h3", "h4", "h5", "h6", "hr",
    "li", "ol", "p", "pre", "section", "table", "tr", "td", "th", "ul",
})
# fmt: on
_SILENT = frozenset({"script", "style", "template", "noscript"})
_SCOPES = {"col": "column", "colgroup": "column", "row": "row", "rowgroup": "section"}
_SCOPE_OF = {"column": "col", "row": "row", "section": "rowgroup"}


def write_html(cells: Iterable[Cell], n_rows: int, header_rows: int, wrap: bool, th: bool) -> str:
    """Return HTML of cells in reading order; the first `header_rows` rows stand in thead."""
    lines: list[list[str]] = [[] for _ in range(n_rows)]
    for cell in cells:
        spans = (f' rowspan="{cell.rowspan}"' if cell.rowspan > 1 else "") + (
            f' colspan="{cell.colspan}"' if cell.colspan > 1 else ""
        )
        text = escape(printable(cell.text), quote=False).replace("\n", "<br>")
        if th and cell.header:
            lines[cell.row].append(f'<th scope="{_SCOPE_OF[cell.header]}"{spans}>{text}</th>')
        else:
            lines[cell.row].append(f"<td{spans}>{text}</td>")
    rows = [f"<tr>{''.join(line)}</tr>" for line in lines]
    head, body = "".join(rows[:header_rows]), "".join(rows[header_rows:])
    table = (f"<thead>{head}</thead>" if head else "") + (f"<tbody>{body}</tbody>" if body else "")
    return f"<html><body><table>{table}</table></body></html>" if wrap else f"<table>{table}</table>"


def read_html(text: str) -> Layout:
    """Read the first table that has cells. Raises ValueError if there is none or it is too large."""
    for layout in read_all_html(text):
        return layout
    raise ValueError(
        f"no table with cells in {text[:60]!r}; expected HTML such as <table><tr><td>a</td></tr></table>"
    )


def read_all_html(text: str) -> Iterator[Layout]:
    """Read every table with cells that is not itself within a cell, in document order."""
    tables, cut = _parse(text)
    for table in tables:
        layout = _read_table(table)
        if layout is not None:
            layout.repairs.extend(cut)
            yield layout


def table_elements(text: str) -> Iterator[etree._Element]:
    """Yield the element of every table that is not within a cell, in document order; some may have no cells."""
    return _parse(text)[0]


def _parse(text: str) -> tuple[Iterator[etree._Element], list[str]]:
    """Return the elements of `table_elements`, and where the parser gave up (2,048 elements deep), [] for nowhere."""
    text = _UNSAFE.sub(" ", text)
    if not text.strip():
        return iter(()), []
    parser = etree.HTMLParser(remove_comments=True, remove_pis=True, encoding="utf-8", huge_tree=True)
    root = etree.fromstring(text.encode(), parser)
    if root is None:
        return iter(()), []
    limits = parser.error_log.filter_from_fatals()
    cut = [f"cut off by the parser ({limit.message.partition(',')[0]})" for limit in limits]
    tables = (table for table in root.iter("table") if next(table.iterancestors("td", "th"), None) is None)
    return tables, cut


def _rows(table: etree._Element) -> Iterator[tuple[list[etree._Element], bool]]:
    """Yield (cells of a row, whether it stands in thead); cells without a row make one."""
    parts = [(table, iter(table))]  # the table and the sections that are open; a section may hold others
    loose: list[etree._Element] = []
    while parts:
        part, children = parts[-1]
        child = next(children, None)
        if child is not None and child.tag in ("td", "th"):
            loose.append(child)
            continue
        if loose:
            yield loose, part.tag == "thead"
            loose = []
        if child is None:
            parts.pop()
        elif child.tag == "tr":
            yield [cell for cell in child if cell.tag in ("td", "th")], part.tag == "thead"
        elif child.tag in ("thead", "tbody", "tfoot"):
            parts.append((child, iter(child)))


def _span(value: str | None) -> int:
    """Read a span as browsers do: its leading digits, 1 if there are none, at most MAX_SPAN + 1 (0 stays 0)."""
    match = re.match(r"\s*\+?(\d+)", value or "")
    if not match:
        return 1
    digits = match.group(1).lstrip("0")[:5] or "0"
    return min(int(digits), MAX_SPAN + 1)


def _read_table(table: etree._Element) -> Layout | None:
    """Place the cells of one table on a grid, as the HTML standard does, without trusting any span."""
    cells: list[Cell] = []
    greedy: list[Cell] = []  # colspan beyond the limit: to the end of the table, where that is free
    repairs: list[str] = []
    heads: list[bool] = []
    pending: dict[int, int] = {}  # column -> rows that a cell above still covers
    widest = 0
    for elements, in_head in _rows(table):
        if not elements and not pending:
            continue  # an empty row that no cell reaches
        row, col = len(heads), 0
        in_head = in_head or (len(elements) <= MAX_GRID and _names_columns(elements))
        heads.append(in_head)
        check_size(len(heads), max(widest, len(elements), 1))  # before any text is read
        taken = set(pending)
        pending = {place: left - 1 for place, left in pending.items() if left > 1}
        for element in elements:
            while col in taken:
                col += 1
            rowspan, colspan = _span(element.get("rowspan")), _span(element.get("colspan"))
            rowspan = MAX_SPAN if rowspan == 0 else min(rowspan, MAX_SPAN)
            wish = 1 if colspan > MAX_SPAN else max(colspan, 1)
            width = 1
            while width < wish and col + width not in taken:
                width += 1
            if width < wish:
                repairs.append(f"row {row}, column {col}: colspan {wish} overlaps a cell, cut to {width}")
            cell = Cell(_text(element), row, col, rowspan, width, _header(element, in_head, col))
            if colspan > MAX_SPAN:
                greedy.append(cell)
            cells.append(cell)
            if rowspan > 1:
                pending.update((place, rowspan - 1) for place in range(col, col + width))
            col += width
            widest = max(widest, col)
            if len(heads) * widest > MAX_GRID:
                check_size(len(heads), widest)
    if not cells:
        return None
    return _finish(cells, greedy, heads, repairs)


def _finish(cells: list[Cell], greedy: list[Cell], heads: list[bool], repairs: list[str]) -> Layout:
    """Clip spans to the table, then fill the places that no cell covers."""
    n_rows, n_cols = len(heads), max(cell.col + cell.colspan for cell in cells)
    check_size(n_rows, n_cols)
    for cell in cells:
        if cell.row + cell.rowspan > n_rows:
            if cell.rowspan < MAX_SPAN:
                repairs.append(f"row {cell.row}, column {cell.col}: rowspan {cell.rowspan} cut to the table")
            cell.rowspan = n_rows - cell.row
    grid = place(cells, n_rows, n_cols)
    for cell in greedy:
        lines = grid[cell.row : cell.row + cell.rowspan]
        while cell.col + cell.colspan < n_cols and all(
            line[cell.col + cell.colspan] is None for line in lines
        ):
            for line in lines:
                line[cell.col + cell.colspan] = cell
            cell.colspan += 1
    for row, line in enumerate(grid):
        gaps = [col for col, cell in enumerate(line) if cell is None]
        if gaps:
            repairs.append(f"row {row}: {n_cols - len(gaps)} of {n_cols} columns, padded with empty cells")
            cells.extend(Cell("", row, col, header="column" if heads[row] else None) for col in gaps)
    return Layout(cells, n_rows, n_cols, repairs)


def _header(element: etree._Element, in_head: bool, col: int) -> str | None:
    """Header kind: by `scope`, else column within thead; a bare th is a row header in column 0 of the body."""
    if element.tag == "th":
        return _SCOPES.get((element.get("scope") or "").lower()) or (
            "row" if col == 0 and not in_head else "column"
        )
    return "column" if in_head else None


def _names_columns(elements: list[etree._Element]) -> bool:
    """Whether a row outside thead is a header row all the same: th's without scope, else empty cells at most."""
    heads = [element for element in elements if element.tag == "th"]
    return bool(heads) and all(
        element.get("scope") is None if element.tag == "th" else not _text(element) for element in elements
    )


def _text(element: etree._Element) -> str:
    """Text content: tags dropped, blanks collapsed, `<br>` a newline, blocks apart by a blank."""
    if len(element) == 0:
        return clean_text((element.text or "").replace("\n", " "))
    parts: list[str] = []
    for event, node in etree.iterwalk(element, events=("start", "end")):
        if event == "start":
            if node.tag in _SILENT:
                continue
            if node is not element and node.tag in _BLOCKS:
                parts.append(" ")
            parts.append("\n" if node.tag == "br" else (node.text or "").replace("\n", " "))
        elif node is not element:
            parts.append((" " if node.tag in _BLOCKS else "") + (node.tail or "").replace("\n", " "))
    return clean_text("".join(parts))
