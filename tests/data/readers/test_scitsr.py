"""SciTSR: cells with first and last row and column, and lists of words."""

import json
import random
from pathlib import Path

import pytest
from documents import drawing
from layouts import as_held, converted, split_items, table_in
from random_tables import random_table

from samvlm.data.readers import READERS
from samvlm.data.tables import Cell, Table


def structure(table: Table, empty: bool = True) -> dict:
    """The JSON of a table in the original layout, its cells in no order; empty cells may be left out."""
    cells = []
    for number, cell in enumerate(table.cells):
        if cell.text or empty:
            words = cell.text.split()
            place = {"start_row": cell.row, "end_row": cell.row + cell.rowspan - 1}
            place |= {"start_col": cell.col, "end_col": cell.col + cell.colspan - 1}
            cells.append({"id": number, "tex": " ".join(words), "content": words, **place})
    random.Random(1).shuffle(cells)
    return {"cells": cells}


def write(root: Path, content, name: str = "0704.0001v1.1", split: str = "train") -> Path:
    for folder in ("img", "structure", "pdf", "chunk", "rel"):
        (root / split / folder).mkdir(parents=True, exist_ok=True)
    drawing().save(root / split / "img" / f"{name}.png")
    text = content if isinstance(content, str) else json.dumps(content)
    (root / split / "structure" / f"{name}.json").write_text(text)
    return root


@pytest.mark.parametrize("seed", range(40))
def test_random_tables_come_back(tmp_path, seed):
    table = as_held(random_table(random.Random(seed)))
    (item,) = READERS["scitsr"](write(tmp_path, structure(table)))
    assert table_in(item.target) == table and item.target == {"html": table.to_html()}
    assert "repairs" not in item.extra


def test_empty_cells_may_be_left_out(tmp_path):
    table = Table([Cell("a", 0, 0, 2, 1), Cell("b", 1, 1, 1, 2), Cell("", 0, 1), Cell("", 0, 2)], 2, 3)
    (item,) = READERS["scitsr"](write(tmp_path, structure(table, empty=False)))
    assert table_in(item.target) == table


def test_item_and_splits(tmp_path):
    content = structure(Table.from_rows([["p < 0.05 & x", "$\\alpha$"]]))
    write(tmp_path, content)
    write(tmp_path, content, "2", "test")
    items, rejected = split_items(READERS["scitsr"](tmp_path))
    assert not rejected and READERS["scitsr"](tmp_path).total() == 2
    assert [(item.id, item.split) for item in items] == [("0704.0001v1.1", "train"), ("2", "test")]
    assert items[0].image == tmp_path / "train" / "img" / "0704.0001v1.1.png"
    assert (items[0].source, items[0].licence) == ("scitsr", "MIT")
    assert "<td>p &lt; 0.05 &amp; x</td><td>$\\alpha$</td>" in items[0].target["html"]
    assert [item.id for item in READERS["scitsr"](tmp_path, split="test")] == ["2"]
    assert [item.id for item in READERS["scitsr"](tmp_path / "test")] == ["2"]
    assert list(READERS["scitsr"](tmp_path, split="val")) == []


def test_quirks_of_content(tmp_path):
    content = structure(Table.from_rows([["a", "b"], ["c", "d"]]))
    by_text = {cell["tex"]: cell for cell in content["cells"]}
    by_text["a"]["content"], by_text["b"]["content"] = None, "in one"
    by_text["c"] |= {"start_row": -1, "end_row": -1, "start_col": 5, "end_col": 5}
    (item,) = READERS["scitsr"](write(tmp_path, content))
    table = table_in(item.target)
    assert (table.n_rows, table.n_cols) == (3, 6) and table.grid()[0][5].text == "c"
    assert table.grid()[1][1].text == "in one"
    assert item.extra["repairs"] == ["rows counted from -1, not 0"]


GOOD = {"content": ["x"], "start_row": 0, "end_row": 0, "start_col": 0, "end_col": 0}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"cells": [GOOD, GOOD]}, "overlaps"),
        ({"cells": []}, "no cell"),
        ({"cells": [GOOD | {"end_row": -1}]}, "starts in row 0 and ends in row -1"),
        ({"cells": [GOOD | {"end_col": 10**12}]}, "exceeds"),
        ({"cells": [GOOD | {"end_col": "1"}]}, "whole numbers"),
        ({"cells": [GOOD | {"end_col": True}]}, "whole numbers"),
        ({"cells": [{"content": ["x"]}]}, "'start_row' is missing"),
        ({"cells": [GOOD | {"content": [5]}]}, "another form"),
        ({"cells": None}, "another form"),
        ([1], "another form"),
        ({}, "'cells' is missing"),
        ("{", "no JSON"),
    ],
)
def test_a_broken_table_is_rejected_alone(tmp_path, content, reason):
    good = structure(Table.from_rows([["a"]]))
    for name, value in (("1", good), ("2", content), ("3", good)):
        write(tmp_path, value, name)
    items, rejected = split_items(READERS["scitsr"](tmp_path))
    assert [item.id for item in items] == ["1", "3"]
    assert reason in rejected[0].reason and rejected[0].where.endswith("2.json")


def test_paths_of_another_kind(tmp_path):
    (tmp_path / "train" / "structure").mkdir(parents=True)
    for path in (tmp_path, tmp_path / "none", Path(__file__)):
        with pytest.raises(ValueError, match="structure"):
            READERS["scitsr"](path)
    write(tmp_path, structure(Table.from_rows([["a"]])))
    (tmp_path / "train" / "img" / "0704.0001v1.1.png").unlink()
    (rejected,) = READERS["scitsr"](tmp_path)
    assert "no image" in rejected.reason


def test_records(tmp_path):
    table = Table.from_rows([["a", "b"]])
    (record,) = converted("scitsr", write(tmp_path / "data", structure(table)), tmp_path)
    assert record.licence == "MIT" and Table.from_otsl(record.answer) == table
