"""Workbooks of other programs, and files that are none: read as they are shown, never evaluated, within limits."""

import datetime
import io
import re
import zipfile

import pytest
from openpyxl import Workbook
from openpyxl.styles import Border, Font, Side
from patience import ends_soon

from samvlm.data.cells import MAX_GRID
from samvlm.data.spreadsheet import package
from samvlm.data.tables import Table

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def saved(book: Workbook) -> bytes:
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def workbook(sheet: str, strings: str = "", styles: str = "", more: dict[str, bytes] | None = None) -> bytes:
    """The smallest XLSX file around the content of a sheet's XML."""

    def relations(*targets: str) -> str:
        lines = "".join(
            f'<Relationship Id="r{i}" Type="{OFFICE}/{kind}" Target="{t}"/>'
            for i, (kind, _, t) in enumerate(t.partition("=") for t in targets)
        )
        return f'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{lines}</Relationships>'

    parts = {
        "_rels/.rels": relations("officeDocument=xl/book.xml"),
        "xl/book.xml": f'<workbook xmlns="{MAIN}" xmlns:r="{OFFICE}"><sheets><sheet name="S" sheetId="1" r:id="r0"/></sheets></workbook>',
        "xl/_rels/book.xml.rels": relations("worksheet=worksheets/a.xml", "sharedStrings=/xl/strings.xml", "styles=styles.xml"),
        "xl/worksheets/a.xml": sheet if sheet.startswith(("<?", "<!")) else f'<worksheet xmlns="{MAIN}">{sheet}</worksheet>',
        "xl/strings.xml": f'<sst xmlns="{MAIN}">{strings}</sst>',
        "xl/styles.xml": f'<styleSheet xmlns="{MAIN}">{styles}</styleSheet>',
    } | (more or {})  # fmt: skip
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return file.getvalue()


def rows_of(*args, **options) -> list[list[str]]:
    return Table.from_xlsx(workbook(*args, **options)).to_rows()


def test_values_come_as_they_are_shown():
    book = Workbook()
    sheet = book.active
    day = datetime.datetime(2024, 2, 29)
    values = [
        (34.7, "0.00", "34.70"), (1234567.891, "#,##0.0", "1,234,567.9"), (0.256, "0.0%", "25.6%"), (0.1 + 0.2, "General", "0.3"), (1e20, "General", "100000000000000000000"),
        (12, '"$"#,##0_-', "12"), (True, "General", "TRUE"), (day, "dd/mm/yyyy", "2024-02-29"), (day.replace(hour=13, minute=5), "d.m.yy h:mm", "2024-02-29 13:05:00"),
        (datetime.time(7, 30), "h:mm", "07:30:00"), ("#N/A", "General", "#N/A"), ("007", "@", "007"), (-5, "0;(0)", "-5"), (2.0, "General", "2"), (1e-9, "General", "1e-09"),
    ]  # fmt: skip
    for number, (value, code, _) in enumerate(values, 1):
        sheet.cell(number, 1, value).number_format = code
    assert [row[0] for row in Table.from_xlsx(saved(book)).to_rows()] == [shown for _, _, shown in values]


def test_formulas_are_never_evaluated():
    assert rows_of('<sheetData><row r="1"><c r="A1"><f>1+1</f><v>99</v></c><c r="B1"><f>cmd|" /C calc"!A0</f></c>'
                   '<c r="C1" t="str"><f>A1</f><v>kept</v></c><c r="D1"><f t="shared" si="0"/></c><c r="E1" t="e"><f>1/0</f><v>#DIV/0!</v></c></row></sheetData>'
                   ) == [["99", '=cmd|" /C calc"!A0', "kept", "", "#DIV/0!"]]  # fmt: skip


def test_strings_of_every_kind():
    strings = '<si><t>_x0041__x005F_x0042_</t></si><si><r><t>rich </t></r><r><t xml:space="preserve">text</t></r><rPh sb="0"><t>no</t></rPh></si>'
    sheet = '<sheetData><row><c t="s"><v>0</v></c><c t="s"><v>1</v></c><c t="inlineStr"><is><t>a&#10;b  c_x0000_</t></is></c><c t="d"><v>2024-01-01</v></c></row></sheetData>'
    assert rows_of(sheet, strings) == [["A_x0042_", "rich text", "a\nb c", "2024-01-01"]]
    with pytest.raises(ValueError, match="no shared string '7'"):
        rows_of('<sheetData><row><c t="s"><v>7</v></c></row></sheetData>', strings)


def test_only_the_part_with_something_in_it_is_the_table():
    book = Workbook()
    sheet = book.active
    sheet["C5"], sheet["D6"] = "a", "b"
    sheet["Z99"].font = Font(bold=True)  # empty, however formatted
    sheet["E6"].border = Border(left=Side(style="thin"))
    assert Table.from_xlsx(saved(book)).to_rows() == [["a", "", ""], ["", "b", ""]]


def test_merged_cells_become_spans_within_the_table():
    book = Workbook()
    sheet = book.active
    for place, value in {"A1": "title", "A2": "x", "B2": "y", "A3": "z", "B3": "w"}.items():
        sheet[place] = value
    for area in ("A1:XFD1", "B2:B3", "D9:E1048576"):
        sheet.merged_cells.add(area)
    table = Table.from_xlsx(saved(book))
    assert [(cell.text, cell.rowspan, cell.colspan) for cell in table.cells] == [
        ("title", 1, 2),
        ("x", 1, 1),
        ("y", 2, 1),
        ("z", 1, 1),
    ]
    assert table.repairs == ["row 2, column 1: a text under a merged cell was left out"]


@pytest.mark.parametrize("merged", ["A1:B2 A2:B3", "A1:A2 A1:A2"])
def test_merged_ranges_that_overlap(merged):
    cells = "".join(f'<row r="{r}"><c r="A{r}"><v>1</v></c><c r="B{r}"><v>2</v></c></row>' for r in (1, 2, 3))
    ranges = "".join(f'<mergeCell ref="{ref}"/>' for ref in merged.split())
    with pytest.raises(ValueError, match="merged ranges overlap at row"):
        rows_of(f"<sheetData>{cells}</sheetData><mergeCells>{ranges}</mergeCells>")


def test_header_rows():
    book = Workbook()
    sheet = book.active
    for row in (["a", "b"], [1, 2], [3, 4]):
        sheet.append(row)
    assert Table.from_xlsx(saved(book)).header_rows == 0
    assert Table.from_xlsx(saved(book), header_rows=1).header_rows == 1
    sheet["A1"].font = sheet["B1"].font = Font(bold=True)
    assert Table.from_xlsx(saved(book)).header_rows == 1
    sheet.freeze_panes = "B3"
    assert Table.from_xlsx(saved(book)).header_rows == 2


def test_sheets_by_name():
    book = Workbook()
    book.create_sheet("full")["A1"] = "x"
    book.create_chartsheet("chart")
    book.create_sheet("last")["B2"] = "y"
    data = saved(book)
    assert {name: table.to_rows() for name, table in Table.all_from_xlsx(data).items()} == {
        "full": [["x"]],
        "last": [["y"]],
    }
    assert Table.from_xlsx(data).to_rows() == [["x"]] and Table.from_xlsx(data, sheet="last").to_rows() == [
        ["y"]
    ]
    with pytest.raises(ValueError, match="no sheet 'none'; it has 'Sheet', 'full'"):
        Table.from_xlsx(data, sheet="none")
    with pytest.raises(ValueError, match="'Sheet' shows no cell"):
        Table.from_xlsx(data, sheet="Sheet")


def test_strict_files_and_other_encodings():
    data = workbook('<sheetData><row><c t="str"><v>é</v></c></row></sheetData>')
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w") as new:
        for name in old.namelist():
            text = old.read(name).decode().replace(MAIN, "http://purl.oclc.org/ooxml/spreadsheetml/main")
            new.writestr(
                name,
                text.replace(OFFICE, "http://purl.oclc.org/ooxml/officeDocument/relationships").encode(
                    "utf-16"
                ),
            )
    assert Table.from_xlsx(file.getvalue()).to_rows() == [["é"]]


def test_what_is_no_workbook(tmp_path):
    good = workbook("<sheetData><row><c><v>1</v></c></row></sheetData>")
    assert Table.from_xlsx(good).to_rows() == [["1"]]
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("a.txt", "x")
    bad = {
        "no XLSX file": [b"", b"<html>", b"a,b\n", b"PK\x03\x04", good[: len(good) // 2], zipped.getvalue()],
        "old .xls file, or encrypted": [b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)],
        "no sheet with cells": [saved(Workbook())],
        "is damaged": [
            workbook("<sheetData><row>"), workbook("<?xml version='1.0'?><a>&b;</a>"), workbook('<sheetData><row r="0"><c><v>1</v></c></row></sheetData>'),
            workbook('<sheetData><row><c r="AAAA1"><v>1</v></c></row></sheetData>'), workbook('<sheetData><row><c r="ZZZ1"><v>1</v></c></row></sheetData>'),
            workbook('<sheetData><row><c r="A9999999"><v>1</v></c></row></sheetData>'), workbook('<c><v>1</v></c><mergeCell ref="A1:"/><mergeCell ref="x"/>'),
            workbook('<sheetData><row>' + '<c/>' * 20_000 + '</row></sheetData>'), workbook("\xff".encode("latin-1").decode("latin-1") + "<", ""),
        ],
    }  # fmt: skip
    for message, files in bad.items():
        for data in files:
            with pytest.raises(ValueError, match=message):
                Table.from_xlsx(data)
    (tmp_path / "a.xlsx").write_bytes(b"no")
    with pytest.raises(ValueError, match=r"^a\.xlsx: no XLSX file"):
        Table.from_xlsx(tmp_path / "a.xlsx")
    for name in ("missing.xlsx", "."):
        with pytest.raises(ValueError, match="cannot be read"):
            Table.from_xlsx(tmp_path / name)


def test_any_damaged_byte_is_a_table_or_an_error():
    data = Table.from_rows([["a", "1"], ["b", "2"]], 1).to_xlsx()
    for place in range(0, len(data), 37):
        broken = bytearray(data)
        broken[place] ^= 0x55
        try:
            assert Table.from_xlsx(bytes(broken)).n_rows >= 1
        except ValueError as error:
            assert "the workbook" in str(error)


def bomb(part: str, size: int) -> bytes:
    return workbook("<sheetData/>", more={part: b" " * size})


DTD = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY f SYSTEM "file:///etc/passwd">]>'
CELL = '<worksheet><sheetData><row><c t="str"><v>&b;&f;</v></c></row></sheetData></worksheet>'
EMPTY = '<row><c r="XFD1"><v>1</v></c></row><row r="1048576"><c r="A1048576"><v>1</v></c></row>'


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bomb("xl/worksheets/a.xml", 10**8), "holds 100000000 bytes, more than"),
        (lambda: bomb("xl/strings.xml", 10**8), "holds 100000000 bytes"),
        (lambda: workbook(DTD + CELL), "declares a document type"),
        (lambda: workbook("<?xml version='1.0' encoding='utf-7'?>" + "+ADwAIQ-DOCTYPE x+AD4-" + CELL), "is damaged"),
        (lambda: workbook("", more={"xl/worksheets/a.xml": ("\ufeff" + DTD + CELL).encode("utf-16-le")}), "declares a document type"),
        (lambda: workbook("", more={"xl/strings.xml": DTD.encode() + b"<sst/>"}), "declares a document type"),
        (lambda: workbook(f"<sheetData>{EMPTY}</sheetData>"), rf"1048576 rows x 16384 columns exceeds {MAX_GRID}"),
        (lambda: workbook(f"<sheetData>{'<row><c><v>1</v></c></row>' * (MAX_GRID + 1)}</sheetData>"), "more than 100000 filled cells"),
        (lambda: workbook('<c><v>1</v></c>' + '<mergeCell ref="A1:B2"/>' * (MAX_GRID + 1)), "more than 100000 merged ranges"),
        (lambda: workbook("<x/>" * (package.MAX_ELEMENTS + 1)), "more than 1000000 elements"),
        (lambda: workbook("<sheetData>" + '<row><c t="s"><v>0</v></c></row>' * 600 + "</sheetData>", f"<si><t>{'a' * 100_000}</t></si>"), "50000000 characters"),
        (lambda: workbook("<a>" * 100_000), "is damaged"),
    ],
)  # fmt: skip
def test_bombs_are_refused(make, message):
    data = make()
    with ends_soon(), pytest.raises(ValueError, match=message) as caught:
        Table.from_xlsx(data)
    assert len(str(caught.value)) < 300


def test_zips_that_lie():
    data = bytearray(workbook("<sheetData/>", more={"xl/worksheets/a.xml": b"x" * 30_000_000}))
    for match in re.finditer(rb"PK\x01\x02", bytes(data)):  # claim a small size in the directory
        if data[match.start() + 46 :].startswith(b"xl/worksheets/a.xml"):
            data[match.start() + 24 : match.start() + 28] = (100).to_bytes(4, "little")
    with pytest.raises(ValueError, match="is damaged"):
        Table.from_xlsx(bytes(data))
    with pytest.raises(ValueError, match="a zip of more than 10000 files"):
        Table.from_xlsx(b"PK\x01\x02" * 20_000)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("_rels/.rels", "x")
        archive.writestr("xl/workbook.xml", "x")
    with pytest.raises(ValueError, match="in a way that XLSX does not know"):
        Table.from_xlsx(packed.getvalue())
