"""ICDAR-2013: regions of PDF pages, cells with PDF points from the bottom left, and the faults of the original files."""

import random
from html import escape
from pathlib import Path

import numpy as np
import pytest
from documents import pdf
from layouts import as_held, converted, split_items, table_in
from random_tables import random_table

from samvlm.data.images import DocumentError
from samvlm.data.readers import READERS
from samvlm.data.tables import Cell, Table

LEFT, TOP, WIDTH, HEIGHT = 30, 85, 20, 10  # of a table's first cell and of each cell, in points
PAGE = f"{LEFT} {TOP - HEIGHT} {WIDTH} {HEIGHT} re f"  # its first cell is black
UNSAFE = dict.fromkeys([*range(9), 11, 12, *range(14, 32), 127])  # not in XML


def box_of(cell: Cell) -> tuple[int, int, int, int]:
    """x1, y1, x2, y2 in PDF points."""
    x1, y2 = LEFT + cell.col * WIDTH, TOP - cell.row * HEIGHT
    return x1, y2 - cell.rowspan * HEIGHT, x1 + cell.colspan * WIDTH, y2


def bounding(box) -> str:
    return "<bounding-box x1='{}' y1='{}' x2='{}' y2='{}'/>".format(*box)


def cell_xml(number: int, cell: Cell, row: int = 0, **changes: str) -> str:
    """A cell in the original layout: ends only where they differ, as most files have it."""
    places = {"start-row": cell.row + row, "start-col": cell.col}
    if cell.rowspan > 1:
        places["end-row"] = cell.row + row + cell.rowspan - 1
    if cell.colspan > 1:
        places["end-col"] = cell.col + cell.colspan - 1
    attributes = " ".join(f"{name}='{value}'" for name, value in (places | changes).items())
    text = escape(cell.text.translate(UNSAFE))
    return f"<cell id='{number}' {attributes}>{bounding(box_of(cell))}<content>{text}</content></cell>"


def region_xml(table: Table, page: int = 1, number: int = 1, row: int = 0) -> str:
    cells = "".join(cell_xml(n, cell, row) for n, cell in enumerate(table.cells, 1) if cell.text)
    return f"<region id='{number}' page='{page}' col-increment='0' row-increment='0'>{cells}</region>"


def write(folder: Path, *tables: str, name: str = "eu-002", pages: int = 1, reg: str | None = None) -> Path:
    """Write the files of a document; `tables` are the inner XML of each table."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.pdf").write_bytes(pdf(*[PAGE] * pages))
    body = "".join(f"<table id='{n}'>{table}</table>" for n, table in enumerate(tables, 1))
    start = f"<?xml version='1.0' encoding='UTF-8'?>\n<document filename='{name}.pdf'>"
    (folder / f"{name}-str.xml").write_text(f"{start}{body}</document>", "utf-8")
    if reg is not None:
        (folder / f"{name}-reg.xml").write_text(f"{start}{reg}</document>", "utf-8")
    return folder


def read(folder: Path, **options) -> tuple[list, list]:
    return split_items(READERS["icdar2013"](folder, **options))


SMALL = Table.from_rows([["a", "b"], ["c", "d"]])


def trimmed(table: Table) -> Table:
    """The table without the first and last rows and columns that hold no text: the layout cannot tell of them."""
    cells = [c for c in table.cells if c.text]
    top, left = min(c.row for c in cells), min(c.col for c in cells)
    kept = [Cell(c.text, c.row - top, c.col - left, c.rowspan, c.colspan) for c in cells]
    return Table(kept, max(c.row + c.rowspan for c in kept), max(c.col + c.colspan for c in kept))


def flat(table: Table) -> Table:
    """The table with an empty cell at each place of an empty cell with spans, which the layout leaves out."""
    return Table([c for c in table.cells if c.text], table.n_rows, table.n_cols)


def test_random_tables_come_back(tmp_path):
    tables = []
    for seed in range(60):
        table = as_held(random_table(random.Random(seed), max_side=5))
        if any(cell.text for cell in table.cells):
            tables.append(trimmed(flat(table)))
    write(tmp_path, *[region_xml(table) for table in tables])
    items, rejected = read(tmp_path)
    assert not rejected and len(items) == len(tables) > 40
    for number, (item, table) in enumerate(zip(items, tables, strict=True), 1):
        assert item.id == f"eu-002_t{number}"
        assert table_in(item.target) == table and "<thead>" not in item.target["html"]


@pytest.mark.parametrize("dpi", [72, 144])
def test_the_picture_and_its_boxes(tmp_path, dpi):
    write(tmp_path, region_xml(SMALL))
    ((item,), _) = read(tmp_path, dpi=dpi)
    picture = np.asarray(item.image().convert("L"))
    scale = dpi / 72
    assert picture.shape == pytest.approx(((2 * HEIGHT + 8) * scale, (2 * WIDTH + 8) * scale), abs=2)
    rows, cols = np.nonzero(picture < 128)
    ink = (cols.min(), rows.min(), cols.max() + 1, rows.max() + 1)
    assert item.extra["boxes"][0] == pytest.approx(ink, abs=1)
    first, below = item.extra["boxes"][0], item.extra["boxes"][2]
    assert below[1] == pytest.approx(first[3], abs=0.1)  # y goes down
    assert (item.source, item.split, item.extra["page"]) == ("icdar2013", None, 1)
    assert "no explicit licence" in item.licence


def test_the_region_file_tells_the_part_of_the_page(tmp_path):
    reg = f"<table id='1'><region id='1' page='1'>{bounding((10, 40, 190, 95))}</region></table>"
    write(tmp_path, region_xml(SMALL), reg=reg)
    ((item,), _) = read(tmp_path, dpi=72)
    assert item.image().size == pytest.approx((188, 63), abs=2)
    write(tmp_path, region_xml(SMALL), reg=reg.replace("190", "19O"))
    ((item,), _) = read(tmp_path, dpi=72)
    assert item.image().size == pytest.approx((48, 28), abs=2)


def test_a_table_over_several_pages(tmp_path):
    other = Table.from_rows([["e", "f"], ["g", "h"]])
    several = region_xml(SMALL) + region_xml(other, page=2, number=2, row=2)
    write(tmp_path, several, region_xml(other, page=2), pages=2)
    items, rejected = read(tmp_path)
    assert not rejected
    assert [(i.id, i.extra["page"]) for i in items] == [
        ("eu-002_t1_r1", 1),
        ("eu-002_t1_r2", 2),
        ("eu-002_t2", 2),
    ]
    assert [table_in(item.target) for item in items] == [SMALL, other, other]
    assert not any("repairs" in item.extra for item in items)


def test_quirks_of_the_original_files(tmp_path):
    a, b, c = Cell("a", 0, 0), Cell("b", 0, 1, 1, 2), Cell("c & d", 1, 0)
    broken = cell_xml(3, c).replace("x1='30'", "x1='26ß'")
    region = f"<region id='1' page='1'>{cell_xml(1, a, -1)}{cell_xml(2, b, -1)}"
    region = (
        region.replace("end-col", "col-end") + broken.replace("start-row='1'", "start-row='0'") + "</region>"
    )
    write(tmp_path, region, region_xml(SMALL, row=-1).replace("row-increment='0'", "row-increment='1'"))
    ((item, second), rejected) = read(tmp_path)
    assert not rejected
    assert table_in(second.target) == SMALL and "repairs" not in second.extra
    assert table_in(item.target) == Table([a, b, c], 2, 3)
    assert item.extra["boxes"][2:] == [None, None, None]
    assert item.extra["repairs"] == ["rows counted from -1, not 0", "1 cells without a box that can be used"]


EU_001 = """<?xml version="1.0" encoding="UTF-8"?>
<document filename="bm_eu-001-str.xml"
    xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:noNamespaceSchemaLocation="competition-entry-structure-model.xsd">
    <table id="1">
        <region col-increment="0" id="1" page="1" row-increment="0">
            <cell end-col="2" id="1" start-col="1" start-row="0">
                <bounding-box x1="50" x2="90" y1="75" y2="85"/>
                <content>THRESHOLD</content>
                <instruction instr-id="325" subinstr-id="-1"/>
                <instruction instr-id="328" subinstr-id="0"/>
            </cell>
            <cell id="1" start-col="1" start-row="1">
                <bounding-box x1="50" x2="70" y1="65" y2="75"/>
                <content>to air\nkg/year</content>
                <instruction instr-id="379" subinstr-id="0"/>
            </cell>
            <cell id="1" start-col="0" start-row="1">
                <bounding-box x1="30" x2="50" y1="65" y2="75"/>
                <content>Methane (CH4)</content>
            </cell>
        </region>
    </table>
</document>
"""


def test_the_other_way_the_files_are_written(tmp_path):
    (write(tmp_path) / "eu-002-str.xml").write_text(EU_001, "utf-8")
    ((item,), rejected) = read(tmp_path)
    assert not rejected
    assert table_in(item.target).to_rows() == [["", "THRESHOLD", ""], ["Methane (CH4)", "to air kg/year", ""]]
    assert [box is None for box in item.extra["boxes"]] == [True, False, False, False, True]


def one(*cells: str) -> str:
    return f"<region id='1' page='1'>{''.join(cells)}</region>"


@pytest.mark.parametrize(
    ("region", "reason"),
    [
        (
            one(cell_xml(1, Cell("a", 0, 3, 1, 2), **{"end-col": "0"})),
            "starts in column 3 and ends in column 0",
        ),
        (one(cell_xml(1, Cell("a", 0, 0, 2, 2)), cell_xml(2, Cell("b", 1, 1))), "overlaps"),
        (one(cell_xml(1, Cell("a", 0, 0), **{"start-row": "O"})), "start-row='O' of a <cell>"),
        (one(cell_xml(1, Cell("a", 0, 0)).replace("start-row", "row")), "has no start-row"),
        (one(cell_xml(1, Cell("a", 0, 0), **{"end-row": "999999999999"})), "exceeds"),
        (one(), "neither the region nor a cell"),
        (one("<cell start-row='0' start-col='0'/>"), "neither the region nor a cell"),
        (region_xml(SMALL, page=7), "page 7 is not there"),
        (region_xml(SMALL).replace("page='1'", ""), "pages count from 1"),
        (region_xml(SMALL).replace("page='1'", "page='0'"), "pages count from 1"),
        (one(cell_xml(1, Cell("a", 0, 0)).replace("'30'", "'3000'").replace("'50'", "'3050'")), "outside"),
    ],
)
def test_a_broken_region_is_rejected_alone(tmp_path, region, reason):
    write(tmp_path, region_xml(SMALL), region, region_xml(SMALL))
    items, (rejected,) = read(tmp_path)
    assert [item.id for item in items] == ["eu-002_t1", "eu-002_t3"]
    assert reason in rejected.reason and rejected.where.endswith("eu-002-str.xml: table 2")


def test_broken_documents_are_rejected_alone(tmp_path):
    good = region_xml(SMALL)
    for name in "abcde":
        write(tmp_path, good, name=name)
    (tmp_path / "b.pdf").unlink()
    (tmp_path / "c.pdf").write_bytes(b"%PDF-1.7 cut off")
    (tmp_path / "d-str.xml").write_text("<!DOCTYPE d [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><d>&e;</d>")
    (tmp_path / "e-str.xml").write_text("<document/>")
    items, rejected = read(tmp_path)
    assert [item.id for item in items] == ["a_t1"]
    for one_of_them, reason in zip(
        rejected, ("no such file", "damaged", "DOCTYPE", "no <region>"), strict=True
    ):
        assert reason in one_of_them.reason


def test_a_page_that_cannot_be_drawn_says_so(tmp_path):
    write(tmp_path, region_xml(SMALL))
    ((item,), _) = read(tmp_path)
    (tmp_path / "eu-002.pdf").unlink()
    with pytest.raises(DocumentError, match="no such file"):
        item.image()


def test_splits_are_folders(tmp_path):
    for folder in ("competition-dataset-eu", "eu-dataset", "other"):
        write(tmp_path / folder, region_xml(SMALL), name=folder)
    items, _ = read(tmp_path)
    assert {item.id: item.split for item in items} == {
        "competition-dataset-eu_t1": "test",
        "eu-dataset_t1": "train",
        "other_t1": None,
    }
    assert [item.id for item in read(tmp_path, split="test")[0]] == ["competition-dataset-eu_t1"]
    assert len(read(tmp_path / "other" / "other-str.xml")[0]) == 1


def test_paths_of_another_kind(tmp_path):
    (tmp_path / "eu-002.pdf").write_bytes(pdf(PAGE))
    for path in (tmp_path, tmp_path / "none", tmp_path / "none-str.xml", tmp_path / "eu-002.pdf"):
        with pytest.raises(ValueError, match=r"-str\.xml"):
            READERS["icdar2013"](path)


def test_records(tmp_path):
    write(tmp_path / "data", region_xml(SMALL), region_xml(SMALL, page=2), pages=2)
    records = converted("icdar2013", tmp_path / "data", tmp_path)
    assert [record.id for record in records] == ["eu-002_t1", "eu-002_t2"]
    assert [record.image.name for record in records] == ["eu-002_t1.png", "eu-002_t2.png"]
    assert Table.from_otsl(records[1].answer) == SMALL and records[1].extra["page"] == 2
