"""WTW: cells of photographed tables by their corners, several tables in an image, no text."""

import random
from pathlib import Path

import numpy as np
import pytest
from documents import drawing
from layouts import converted, split_items, table_in
from random_tables import random_table

from samvlm.data.readers import READERS
from samvlm.data.tables import Cell, Table

WIDTH, HEIGHT = 30, 12


def cell_box(cell: Cell, left: int, top: int) -> tuple[int, int, int, int]:
    x, y = left + cell.col * WIDTH, top + cell.row * HEIGHT
    return x, y, x + cell.colspan * WIDTH, y + cell.rowspan * HEIGHT


def objects(table: Table, number: int = 0, left: int = 10, top: int = 20, tilt: int = 0) -> str:
    """<object>s in the layout of the release; `tilt` moves the right corners down."""
    out = []
    for cell in table.cells:
        x0, y0, x1, y1 = cell_box(cell, left, top)
        corners = ((x0, y0), (x1, y0 + tilt), (x1, y1 + tilt), (x0, y1))
        points = "".join(f"<x{n}>{x}</x{n}><y{n}>{y}</y{n}>" for n, (x, y) in enumerate(corners, 1))
        box = f"<xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1 + tilt}</ymax>{points}"
        place = f"<startcol>{cell.col}</startcol><endcol>{cell.col + cell.colspan - 1}</endcol>"
        place += f"<startrow>{cell.row}</startrow><endrow>{cell.row + cell.rowspan - 1}</endrow>"
        out.append(
            "<object><name>box</name><pose>Unspecified</pose><truncated>0</truncated><difficult>0</difficult>"
            f"<bndbox>{box}<tableid>{number}</tableid>{place}</bndbox></object>"
        )
    return "".join(out)


def older(table: Table) -> str:
    """<table> of <tablecell>s, the layout that the project's own scripts read."""
    out = []
    for cell in table.cells:
        ends = zip(("x0", "y0", "x1", "y1"), cell_box(cell, 10, 20), strict=True)
        box = "".join(f"<{name}>{value}</{name}>" for name, value in ends)
        place = f"<start_col>{cell.col}</start_col><end_col>{cell.col + cell.colspan - 1}</end_col>"
        place += f"<start_row>{cell.row}</start_row><end_row>{cell.row + cell.rowspan - 1}</end_row>"
        out.append(f"<tablecell>{box}{place}</tablecell>")
    return f"<info><table>{''.join(out)}</table></info>"


def write(root: Path, body: str, name: str = "mit_google_image_search-1", split: str = "train") -> Path:
    for folder in ("images", "xml"):
        (root / split / folder).mkdir(parents=True, exist_ok=True)
    drawing(400, 300).save(root / split / "images" / f"{name}.jpg")
    xml = f"<annotation><folder>OXIIIT</folder><filename>{name}.jpg</filename>{body}</annotation>"
    (root / split / "xml" / f"{name}.xml").write_text(xml)
    return root


def empty(table: Table) -> Table:
    """The structure of a table alone."""
    cells = [Cell("", c.row, c.col, c.rowspan, c.colspan) for c in table.cells]
    return Table(cells, table.n_rows, table.n_cols)


@pytest.mark.parametrize("form", [objects, older])
def test_random_structures_come_back(tmp_path, form):
    tables = [empty(random_table(random.Random(seed))) for seed in range(40)]
    for number, table in enumerate(tables):
        write(tmp_path, form(table), f"{number:02}")
    items, rejected = split_items(READERS["wtw"](tmp_path))
    assert not rejected and len(items) == len(tables)
    for item, table in zip(items, tables, strict=True):
        assert table_in(item.target) == table and item.extra["structure_only"] is True
        assert item.extra["boxes"] == [list(cell_box(cell, 10, 20)) for cell in table.cells]
        assert item.image.name == f"{item.id}.jpg"


def test_item(tmp_path):
    write(tmp_path, objects(Table.from_rows([["a", "b"]]), tilt=5), split="test")
    write(tmp_path, objects(Table.from_rows([["a"]])), "2")
    items, rejected = split_items(READERS["wtw"](tmp_path))
    assert not rejected and [(i.id, i.split) for i in items] == [
        ("2", "train"),
        ("mit_google_image_search-1", "test"),
    ]
    item = items[1]
    assert (item.source, item.licence, item.task) == ("wtw", "CC-BY-NC-4.0", "table")
    assert item.target == {
        "html": "<html><body><table><tbody><tr><td></td><td></td></tr></tbody></table></body></html>"
    }
    assert item.extra["boxes"] == [[10, 20, 40, 37], [40, 20, 70, 37]]
    assert item.extra["corners"][0] == [10, 20, 40, 25, 40, 37, 10, 32]
    assert [item.id for item in READERS["wtw"](tmp_path, split="train")] == ["2"]
    assert [item.id for item in READERS["wtw"](tmp_path / "train")] == ["2"]


def test_several_tables_of_an_image_are_cut_out(tmp_path):
    first, second = Table.from_rows([["a", "b"]]), Table.from_rows([["a"], ["b"]])
    write(tmp_path, objects(first, 0) + objects(second, 3, left=250, top=225, tilt=3), "x")
    items, rejected = split_items(READERS["wtw"](tmp_path))
    assert not rejected and [item.id for item in items] == ["x_t0", "x_t3"]
    assert [table_in(item.target).n_rows for item in items] == [1, 2]
    whole = drawing(400, 300)
    whole.save(tmp_path / "x.jpg")
    for item, box in zip(items, ((2, 12, 78, 40), (242, 217, 288, 260)), strict=True):
        cut = item.image()
        assert cut.size == (box[2] - box[0], box[3] - box[1])
        near = np.abs(np.asarray(cut, int) - np.asarray(whole.crop(box), int))
        assert near.mean() < 10  # JPEG
        assert item.extra["boxes"][0][:2] == [8, 8]
    assert items[1].extra["corners"][0] == [8, 8, 38, 11, 38, 23, 8, 20]


def test_a_table_at_the_edge(tmp_path):
    table = Table.from_rows([["a"]])
    write(tmp_path, objects(table, 0, left=2, top=1) + objects(table, 1, left=380, top=290), "x")
    (first, last), _ = split_items(READERS["wtw"](tmp_path))
    assert first.extra["boxes"] == [[2, 1, 32, 13]] and first.image().size == (40, 21)
    assert last.extra["boxes"] == [[8, 8, 38, 20]] and last.image().size == (28, 18)


CELL = objects(Table.from_rows([["a"]]))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (CELL + CELL, "overlaps"),
        (CELL.replace("<endrow>0", "<endrow>-1"), "starts in row 0 and ends in row -1"),
        (CELL.replace("<endrow>0", "<endrow>1e9"), "exceeds"),
        (CELL.replace("<endrow>0", "<endrow>0.5"), "whole number"),
        (CELL.replace("<endrow>0", "<endrow>"), "a number is needed"),
        (CELL.replace("<startcol>0</startcol>", ""), "<start_col> of <bndbox>"),
        (CELL.replace("<x3>40", "<x3>4O"), "a number is needed"),
        ("", "is it WTW's?"),
        ("<object><name>box</name></object>", "is it WTW's?"),
        ("<object>", "no XML"),
    ],
)
def test_a_broken_table_is_rejected_alone(tmp_path, body, reason):
    for name, content in (("1", CELL), ("2", body), ("3", CELL)):
        write(tmp_path, content, name)
    items, (rejected,) = split_items(READERS["wtw"](tmp_path))
    assert [item.id for item in items] == ["1", "3"]
    assert reason in rejected.reason and rejected.where.endswith("2.xml")


def test_one_bad_table_of_two(tmp_path):
    write(tmp_path, CELL + CELL + objects(Table.from_rows([["a"]]), 5, top=100), "x")
    items, (rejected,) = split_items(READERS["wtw"](tmp_path))
    assert [item.id for item in items] == ["x_t5"] and rejected.where.endswith("x.xml: table 0")


def test_paths_of_another_kind(tmp_path):
    (tmp_path / "xml").mkdir()
    for path in (tmp_path, tmp_path / "none", Path(__file__)):
        with pytest.raises(ValueError, match="xml"):
            READERS["wtw"](path)
    write(tmp_path, CELL, "1", split=".")
    (item,) = READERS["wtw"](tmp_path)
    assert item.split is None
    (tmp_path / "images" / "1.jpg").unlink()
    (rejected,) = READERS["wtw"](tmp_path)
    assert "no image" in rejected.reason


def test_records(tmp_path):
    write(tmp_path / "data", CELL + objects(Table.from_rows([["a"]]), 5, top=100), "x")
    records = converted("wtw", tmp_path / "data", tmp_path)
    assert [record.image.name for record in records] == ["x_t0.png", "x_t5.png"]
    assert records[0].extra["structure_only"] is True and records[0].answer == "<ecel><nl>"
