"""Hostile tables through every reader, every export and back: a valid table or one clear error, in bounded time."""

import csv
import io
import json
import re
import resource
from collections.abc import Callable

import pytest
from hostile_tables import ODD_TEXTS, PAYLOADS, TRIGGERS, html_tables, other_texts
from lxml import html
from patience import ends_soon
from random_tables import plain

from samvlm.data.cells import MAX_GRID, MAX_SPAN, clean_text
from samvlm.data.plain import draw_table
from samvlm.data.safe_text import printable
from samvlm.data.spreadsheet.writer import MAX_COLUMNS
from samvlm.data.tables import Cell, Table

pandas = pytest.importorskip("pandas")

READERS = (Table.from_html, Table.from_otsl, Table.from_json, Table.from_csv, Table.from_markdown)
TAGS = {"html", "body", "table", "thead", "tbody", "tr", "td", "th", "br"}
FORMULA = re.compile(r"[=@＝＠]|[+\-＋－](?![\d\s.,$€£¥eE%+-]*$)")  # no number, no lone sign
UNSEEN = "\ufeff\u202e \t\r\n"
STEERING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
HTML, OTHER = list(html_tables()), list(other_texts())


@pytest.fixture(scope="module", autouse=True)
def memory():
    """All of it together takes less than a gigabyte more than what was there."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_000_000


def timed(call: Callable, *arguments, **options):
    """The call's result; it fails if it took too long."""
    with ends_soon(call.__qualname__):
        return call(*arguments, **options)


def read(reader: Callable, text: str) -> Table | None:
    """The table, or None after an error that says on one line what is wrong, not with a megabyte."""
    try:
        return timed(reader, text)
    except ValueError as error:
        assert 20 < len(str(error)) < 600 and "\n" not in str(error), error
        return None


def shown(table: Table) -> Table:
    """The table with its texts as documents hold them."""
    cells = [
        Cell(clean_text(printable(c.text)), c.row, c.col, c.rowspan, c.colspan, c.header) for c in table.cells
    ]
    return Table(cells, table.n_rows, table.n_cols)


def check_exports(table: Table) -> None:
    """Write every format and read it back."""
    assert table.n_rows * table.n_cols <= MAX_GRID
    assert timed(Table.from_json, timed(table.to_json)) == table
    assert timed(Table.from_otsl, timed(table.to_otsl)) == table
    seen = shown(table)
    for th, expected in ((True, seen), (False, plain(seen))):
        text = timed(table.to_html, th=th)
        assert timed(Table.from_html, text) == expected or max(c.colspan for c in table.cells) > MAX_SPAN
        assert {element.tag for element in html.document_fromstring(text).iter()} <= TAGS
        text.encode()
    check_flat(table, seen)
    check_workbook(table, plain(seen))
    for index in (False, True):
        frame = timed(table.to_dataframe, index)
        assert len(frame) == table.n_rows - (table.header_rows if table.header_rows <= 20 else 0)
        assert timed(Table.from_dataframe, frame).n_rows >= len(frame)
    for width in (None, 80):
        drawn = timed(draw_table, table, width)
        assert not STEERING.search(drawn) and drawn.endswith("\n")


def check_flat(table: Table, seen: Table) -> None:
    """CSV and Markdown: the texts, without spans."""
    rows = seen.to_rows()
    text = timed(table.to_csv)
    assert_nothing_runs(text)
    longest = max(len(cell.text) for cell in seen.cells)
    if longest < 100_000 and not rows[0][0].startswith("\ufeff"):
        assert timed(Table.from_csv, text, header_rows=0).to_rows() == rows
    timed(table.to_csv, raw=True)
    if seen.header_rows and not any(rows[0]):
        rows = rows[1:]  # an empty header is how Markdown says that there is none
    text = timed(table.to_markdown)
    if rows:
        assert timed(Table.from_markdown, text).to_rows() == rows
    text.encode()


def check_workbook(table: Table, expected: Table) -> None:
    """XLSX: texts, spans and header rows; a text beyond what a cell holds is cut."""
    if table.n_cols > MAX_COLUMNS:
        with pytest.raises(ValueError, match="a sheet holds"):
            table.to_xlsx()
        return
    back = timed(Table.from_xlsx, timed(table.to_xlsx))
    assert (
        back.to_html(th=True) == expected.to_html(th=True)
        or max(len(c.text) for c in expected.cells) > 30_000
    )
    assert (back.n_rows, back.n_cols, len(back.cells)) == (
        expected.n_rows,
        expected.n_cols,
        len(expected.cells),
    )


def assert_nothing_runs(text: str) -> None:
    """No cell of a CSV starts a formula, wherever a program takes cells to end."""
    text.encode()
    limit = csv.field_size_limit(10_000_000)
    try:
        for delimiter in ",;\t":
            for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
                assert not [cell for cell in row if FORMULA.match(cell.lstrip(UNSEEN))]
    finally:
        csv.field_size_limit(limit)


def test_there_are_enough():
    assert len(HTML) + len(OTHER) + len(ODD_TEXTS) + len(TRIGGERS + PAYLOADS) > 300
    short = [text for _, text in HTML if len(text) < 5000]
    assert sum(read(Table.from_html, text) is not None for text in short) > 110


@pytest.mark.parametrize("text", [text for _, text in HTML + OTHER], ids=[name for name, _ in HTML + OTHER])
def test_a_hostile_text_is_a_table_or_an_error(text):
    tables = [table for reader in READERS if (table := read(reader, text)) is not None]
    small = [table for table in tables if len(table.cells) <= 4000]
    for number, table in enumerate(small):
        if table not in small[:number]:
            check_exports(table)


@pytest.mark.parametrize("text", ODD_TEXTS.values(), ids=ODD_TEXTS)
def test_a_hostile_cell_survives(text):
    """Cells as a model may answer them: every text at every kind of place."""
    text = clean_text(text)
    check_exports(
        Table(
            [
                Cell(text, 0, 0, 1, 2, "column"),
                Cell(text, 1, 0, 2, 1, "row"),
                Cell(text, 1, 1),
                Cell("1", 2, 1),
                Cell(text, 3, 0, 1, 2, "section"),
            ],
            4,
            2,
        )
    )
    assert json.loads(Table([Cell(text, 0, 0)], 1, 1).to_json())["cells"][0]["text"] == text  # raw


@pytest.mark.parametrize("payload", TRIGGERS + PAYLOADS)
def test_formulas_never_run(payload):
    texts = [payload, f" {payload}", payload * 2, f"'{payload}", f"a\n{payload}", f"a;{payload}", "-2.5"]
    cells = [Cell(text, row, 0, header=None if row else "column") for row, text in enumerate(texts)]
    table = Table(cells, len(texts), 1)
    assert_nothing_runs(table.to_csv())
    rows = shown(table).to_rows()
    assert Table.from_csv(table.to_csv(), header_rows=0).to_rows() == rows
    assert [cell.text for cell in Table.from_json(table.to_json()).cells] == texts
    for raw in (False, True):
        *seen, number = other_program(table.to_xlsx(raw=raw))
        assert [[clean_text(value or "")] for _, value in seen] == rows[:-1]
        assert {kind for kind, value in seen if value is not None} <= {"s"}
        assert number == (("s", "-2.5") if raw else ("n", -2.5))


def other_program(data: bytes) -> list[tuple[str, object]]:
    """Kind and value of the cells of the first column, as openpyxl reads them."""
    from openpyxl import load_workbook

    return [(row[0].data_type, row[0].value) for row in load_workbook(io.BytesIO(data)).active.iter_rows()]


@pytest.mark.parametrize(
    "cell",
    [
        Cell("a", 0, 0, 10**9, 10**9), Cell("a", 0, 0, float("nan")), Cell("a", 0, 0, 1.5), Cell("a", 0, 0, -3), Cell("a", 0, 0, "2"), Cell("a", 0, 0, None),
        Cell("a", 10**9, 0), Cell(None, 0, 0), Cell("a" * 10**6, 5, 5), Cell(7, 0, 0), Cell("a", 0, 0, header=["column"]),
    ],
)  # fmt: skip
def test_impossible_cells_are_refused_in_a_line(cell):
    with pytest.raises(ValueError) as caught:
        timed(Table, [cell], 2, 2)
    assert 20 < len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "size", [(1e9, 1), (10**9, 10**9), (float("nan"), 2), (0, 1), (-5, 5), ("2", 2), (None, None)]
)
def test_impossible_sizes_are_refused(size):
    with pytest.raises(ValueError):
        timed(Table, [], *size)


def test_not_a_number_stays_out_of_json():
    cell = Cell("a", 0, 0, confidence=float("nan"), box=(0.0, float("inf"), 1.0, 1.0))
    assert json.loads(Table([cell], 1, 1).to_json())["cells"] == [{"text": "a", "row": 0, "col": 0}]


def test_what_the_parser_leaves_out_is_listed():
    table = Table.from_html(f"<table><tr><td>a{'<b>' * 5000}x</td></tr></table>")
    assert "x" in table.cells[0].text or "Excessive depth" in table.repairs[0]
    assert Table.from_html("<table><tr><td a=b a=c>&nosuch;<foo>x</td></tr></table>").repairs == []
