"""XLSX as other programs read it: openpyxl and the XML itself."""

import io
import random
import re
import zipfile
from pathlib import Path

import pytest
from openpyxl import load_workbook
from random_tables import plain, random_table

import samvlm
from samvlm.data.spreadsheet.writer import MAX_TEXT, as_number, cell_text, sheet_names, write_xlsx
from samvlm.data.tables import Cell, Table

TABLE = Table(
    [
        Cell("Year", 0, 0, 2, 1, "column"), Cell("Sales", 0, 1, 1, 2, "column"), Cell("2003", 1, 1, header="column"), Cell("a\nb", 1, 2, header="column"),
        Cell("2004", 2, 0), Cell("-34.70", 2, 1, 2, 2), Cell("=A1", 3, 0),
    ],
    4, 3,
)  # fmt: skip


def opened(table: Table, **options):
    return load_workbook(io.BytesIO(table.to_xlsx(**options))).active


def test_what_a_spreadsheet_sees():
    sheet = opened(TABLE)
    assert [[cell.value for cell in row] for row in sheet.iter_rows()] == [
        ["Year", "Sales", None], [None, "2003", "a\nb"], [2004, -34.7, None], ["=A1", None, None],
    ]  # fmt: skip
    assert sorted(map(str, sheet.merged_cells.ranges)) == ["A1:A2", "B1:C1", "B3:C4"]
    assert sheet.freeze_panes == "A3"
    assert [sheet[place].font.b for place in ("A1", "B1", "B2", "C2", "A3", "A4")] == [True] * 4 + [False] * 2
    assert sheet["A4"].data_type == "s" and sheet["A4"].quotePrefix and not sheet["A3"].quotePrefix
    assert (sheet["A3"].number_format, sheet["B3"].number_format) == ("0", "0.00")
    assert sheet["B1"].alignment.horizontal == "center" and sheet["C2"].alignment.wrap_text
    assert all(sheet[place].border.bottom.style == "thin" for place in ("B2", "C2", "A3", "A4"))
    assert sheet.row_dimensions[2].height == 30 and sheet.row_dimensions[3].height is None


def test_raw_leaves_every_cell_text():
    assert [cell.value for cell in opened(TABLE, raw=True)["A"]] == ["Year", None, "2004", "=A1"]
    assert Table.from_xlsx(TABLE.to_xlsx(raw=True)) == TABLE


def test_round_trips_over_random_tables(tmp_path):
    rng = random.Random(4)
    for number in range(100):
        table = random_table(rng)
        path = tmp_path / "t.xlsx"
        data = table.to_xlsx(path if number % 2 else None, raw=number % 3 == 0)
        back = Table.from_xlsx(path if number % 2 else data)
        assert back == plain(table) and back.repairs == []


@pytest.mark.parametrize(
    "text",
    ["0", "7", "2004", "-12", "0.5", "-34.70", "100.00", "123456789012345", "-0.001", "0.00"],
)
def test_plain_numbers_keep_their_digits(text):
    number, code = as_number(text)
    assert f"{number:.{len(code.partition('.')[2])}f}" == text
    sheet = opened(Table.from_rows([[text]]))
    assert sheet["A1"].data_type == "n" and sheet["A1"].number_format == code
    assert Table.from_xlsx(Table.from_rows([[text]]).to_xlsx()).cells[0].text == text


@pytest.mark.parametrize(
    "text",
    ["", "007", "-0", "-0.00", "+5", "1,234", "1.234,5", "5%", "1e5", ".5", "5.", "1 000", "−2", "٣", "１", "1/2", "$3", "NaN", "inf", "TRUE",
     "1234567890123456", "0.1234567890123456", "2004-01-01", "#N/A", "0x10", "1_000", "1\n2"],
)  # fmt: skip
def test_everything_else_stays_text(text):
    assert as_number(text) is None
    if text.strip():
        assert opened(Table.from_rows([[text]]))["A1"].value == text.strip()
        assert opened(Table.from_rows([[text]]))["A1"].data_type == "s"


def test_years_that_head_columns_stay_text():
    assert [cell.value for cell in opened(Table.from_rows([["2003", "2004"], ["1", "2"]], 1))[1]] == [
        "2003",
        "2004",
    ]


def test_characters_that_xml_does_not_know():
    assert cell_text("a\0b\x1b\ud800\uffff") == "a b   "
    assert cell_text("_x0041_") == "_x005F_x0041_" and cell_text("_x41_ x0041_") == "_x41_ x0041_"
    texts = ["_x0041_", "_x005F_", "__x0041__x0042_", "_xD800_", "x005F_", "a\0b"]
    table = Table([Cell(text, row, 0) for row, text in enumerate(texts)], len(texts), 1)
    assert [cell.text for cell in Table.from_xlsx(table.to_xlsx()).cells] == [*texts[:-1], "a b"]


@pytest.mark.parametrize(
    "text", ["a" * 40_000, "🙂" * 20_000, "_x0041_" * 20_000, "é" * MAX_TEXT + "x", "\0" * 99_999]
)
def test_long_text_is_cut_where_a_cell_ends(text):
    written = cell_text(text)
    assert MAX_TEXT / 3 < len(written.encode("utf-16-le")) / 2 <= MAX_TEXT and written.endswith("…")
    assert cell_text("b" * MAX_TEXT) == "b" * MAX_TEXT
    data = Table([Cell(text, 0, 0)], 1, 1).to_xlsx()
    assert load_workbook(io.BytesIO(data)).active["A1"].value == written


def test_sheet_names():
    names = [
        "a/b:c*d?e[f]g\\h",
        "A B C D E F G H",
        "",
        "History",
        "'x'",
        "x" * 40,
        "X" * 40,
        "🙂" * 30,
        "a\0b\nc",
        "Sheet",
        "sheet",
    ]
    found = sheet_names(names)
    assert found[:5] == ["a b c d e f g h", "A B C D E F G H (2)", "Sheet", "History (2)", "x"]
    assert len({name.casefold() for name in found}) == len(names)
    for name in found:
        assert 0 < len(name.encode("utf-16-le")) <= 62 and not set(name) & set("[]:*?/\\\0\n")
        assert not name.startswith("'") and not name.endswith("'")
    book = load_workbook(io.BytesIO(write_xlsx([TABLE] * len(names), names)))
    assert book.sheetnames == found


def test_several_tables_are_several_sheets():
    tables = [TABLE, Table.from_rows([["x"]])]
    assert Table.all_from_xlsx(write_xlsx(tables)) == {"Table 1": TABLE, "Table 2": tables[1]}
    assert Table.from_xlsx(write_xlsx(tables), sheet="Table 2") == tables[1]
    assert load_workbook(io.BytesIO(write_xlsx([]))).sheetnames == ["Empty"]


def test_many_header_rows_are_bold_but_not_frozen():
    table = Table.from_rows([[str(number)] for number in range(40)], 30)
    assert opened(table).freeze_panes is None
    assert Table.from_xlsx(table.to_xlsx()) == table
    heads = Table.from_rows([["a"], ["b"]], 2)
    assert Table.from_xlsx(heads.to_xlsx()) == heads


def test_too_wide_for_a_sheet():
    with pytest.raises(ValueError, match=r"holds 1048576 rows x 16384 columns, not 1 x 16385"):
        Table([], 1, 16_385).to_xlsx()
    assert Table.from_xlsx(Table([], 1, 16_384).to_xlsx()).n_cols == 16_384


def test_the_workbook_is_xml_without_formulas():
    with zipfile.ZipFile(io.BytesIO(TABLE.to_xlsx())) as archive:
        assert archive.testzip() is None
        text = archive.read("xl/worksheets/sheet1.xml").decode()
    assert "<f>" not in text and "=A1" in text


def test_openpyxl_and_pandas_are_imported_only_when_used():
    """They take a second, which every start would pay."""
    sources = [path.read_text() for path in Path(samvlm.__file__).parent.rglob("*.py")]
    assert [source for source in sources if re.search(r"^ +from openpyxl", source, re.M)]
    assert not [
        source for source in sources if re.search(r"^(import|from) (openpyxl|pandas)\b", source, re.M)
    ]
