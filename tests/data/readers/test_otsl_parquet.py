"""The OTSL sets in parquet: bytes stay bytes, both forms of two-dimensional spans, html before otsl."""

import random
import sys

import pytest
from documents import drawing, encode
from layouts import split_items
from random_tables import random_table
from token_tables import box_of, held, token_form

from samvlm.data.otsl import split_tokens
from samvlm.data.readers import READERS
from samvlm.data.tables import Table

pa = pytest.importorskip("pyarrow")
PNG = encode(drawing(), "PNG")


def names(table: Table, filled: bool) -> list[str]:
    """OTSL without its texts and brackets; `filled` writes spans of two dimensions as `C X / X X`."""
    bare = Table([type(c)("x" if c.text else "", c.row, c.col, c.rowspan, c.colspan) for c in table.cells],
                 table.n_rows, table.n_cols)  # fmt: skip
    tokens = [token.strip("<>") for token, _ in split_tokens(bare.to_otsl())]
    if filled:
        width = table.n_cols + 1
        for cell in table.cells:
            if cell.rowspan > 1 and cell.colspan > 1:
                for row in range(cell.row, cell.row + cell.rowspan):
                    for col in range(cell.col, cell.col + cell.colspan):
                        if (row, col) != (cell.row, cell.col):
                            tokens[row * width + col] = "xcel"
    return tokens


def row_of(table: Table, number: int, filled: bool = True, **changes) -> dict:
    """A row in the original layout."""
    html = token_form(table, empty_boxes=True)
    return {
        "filename": f"PMC{number}.png",
        "imgid": number,
        "dataset": "pubtabnet",
        "split": "train",
        "image": {"bytes": PNG, "path": f"PMC{number}.png"},
        "cells": [html["cells"]],
        "otsl": names(table, filled),
        "html": html["structure"]["tokens"],
        "html_restored": html["structure"]["tokens"],
        "rows": table.n_rows,
        "cols": table.n_cols,
    } | changes


def save(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    pa.parquet.write_table(pa.Table.from_pylist(rows), path, row_group_size=7)
    return path


@pytest.fixture(autouse=True)
def _parquet():
    pytest.importorskip("pyarrow.parquet")


def test_the_original_layout(tmp_path):
    tables = [held(random_table(random.Random(seed))) for seed in range(40)]
    save(
        tmp_path / "data" / "train-00000-of-00001-0a1b.parquet", [row_of(t, n) for n, t in enumerate(tables)]
    )
    stream = READERS["otsl"](tmp_path)
    assert stream.total() == 40
    items, rejected = split_items(stream)
    assert not rejected and stream.done == 40
    for number, (item, table) in enumerate(zip(items, tables, strict=True)):
        assert Table.from_html(item.target["html"]) == table
        assert item.image == PNG
        assert (item.id, item.source, item.split) == (f"PMC{number}.png", "pubtabnet", "train")
        assert item.extra["boxes"] == [box_of(cell) for cell in table.cells]
        assert item.extra["imgid"] == number and "other" in item.licence


@pytest.mark.parametrize("filled", [True, False])
def test_without_html_the_otsl_counts(tmp_path, filled):
    """Two cells of two dimensions that touch cannot be told apart in the filled form: those tables are left out."""
    tables = [held(random_table(random.Random(seed))) for seed in range(60)]
    tables = [
        table
        for table in tables
        if not filled or sum(cell.rowspan > 1 and cell.colspan > 1 for cell in table.cells) < 2
    ]
    assert sum(any(c.rowspan > 1 and c.colspan > 1 for c in table.cells) for table in tables) >= 5
    rows = [row_of(table, n, filled) for n, table in enumerate(tables)]
    for row in rows:
        del row["html"]
    save(tmp_path / "val.parquet", rows)
    items, rejected = split_items(READERS["otsl"](tmp_path / "val.parquet"))
    assert not rejected
    for item, table in zip(items, tables, strict=True):
        read = Table.from_html(item.target["html"])
        assert [(c.text, c.row, c.col, c.rowspan, c.colspan) for c in read.cells] == [
            (c.text, c.row, c.col, c.rowspan, c.colspan) for c in table.cells
        ]


def test_cells_listed_for_every_place(tmp_path):
    table = Table.from_html(
        "<table><tr><td colspan=2>a</td><td>b</td></tr><tr><td>c</td><td>d</td><td></td></tr></table>"
    )
    row = row_of(table, 1)
    a, b, c, d, e = row["cells"][0]
    save(tmp_path / "x.parquet", [row | {"cells": [[a, {"tokens": [], "bbox": [0, 0, 0, 0]}, b], [c, d, e]]}])
    (item,) = READERS["otsl"](tmp_path)
    assert Table.from_html(item.target["html"]) == table


def test_splits_by_file_name_and_tags_within_cells(tmp_path):
    row = row_of(Table.from_rows([["x"]]), 1)
    row["cells"] = [[{"tokens": ["<b>", "p", "</b>", "<"], "bbox": [0, 0, 5, 5, 2]}]]
    del row["split"], row["dataset"]
    save(tmp_path / "data" / "validation-00000-of-00001.parquet", [row])
    save(tmp_path / "data" / "test-00000-of-00001.parquet", [row | {"html": None}])
    test, val = READERS["otsl"](tmp_path)
    assert (test.split, val.split) == ("test", "val")
    assert (
        test.target["html"]
        == "<html><body><table><tbody><tr><td><b>p</b>&lt;</td></tr></tbody></table></body></html>"
    )
    assert "<td><b>p</b>&lt;</td>" in val.target["html"] and val.extra["boxes"] == [[0, 0, 5, 5]]
    assert [item.split for item in READERS["otsl"](tmp_path, split="val")] == ["val"]


def test_what_is_broken_costs_itself_only(tmp_path):
    table = Table.from_rows([["a", "b"]])
    good = row_of(table, 1)
    save(
        tmp_path / "a.parquet",
        [
            good,
            row_of(table, 2, cells=[good["cells"][0][:1]]),
            row_of(table, 3, image={"bytes": None, "path": "x.png"}),
            row_of(table, 4, html=None, otsl=["fcel", "what", "nl"]),
            row_of(table, 5, html=None, otsl=["fcel", "nl", "fcel", "fcel", "nl"]),
            row_of(table, 6, html=None, otsl=["fcel", "nl"]),
            row_of(table, 7),
        ],
    )
    (tmp_path / "b.parquet").write_bytes(b"PAR1 and no more")
    save(tmp_path / "c.parquet", [{"text": "another set"}])
    save(tmp_path / "d.parquet", [row_of(table, 8)])
    items, rejected = split_items(READERS["otsl"](tmp_path))
    assert [item.id for item in items] == ["PMC1.png", "PMC7.png", "PMC8.png"]
    words = [
        "cells but",
        "no image bytes",
        "unknown OTSL what",
        "broken",
        "cells but",
        "cannot be read",
        "no column image",
    ]
    for entry, word in zip(rejected, words, strict=True):
        assert word in entry.reason
    assert rejected[0].where == f"{tmp_path}/a.parquet: row 2"


def test_pyarrow_is_named_where_it_is_missing(tmp_path, monkeypatch):
    save(tmp_path / "a.parquet", [row_of(Table.from_rows([["a"]]), 0)])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ValueError, match=r"samvlm\[train\]"):
        READERS["otsl"](tmp_path)
    with pytest.raises(ValueError, match=r"no \.parquet"):
        READERS["otsl"](tmp_path / "none")


def test_a_path_of_another_kind(tmp_path):
    with pytest.raises(ValueError, match=r"no \.parquet"):
        READERS["otsl"](tmp_path)
