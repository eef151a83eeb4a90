"""PubTables-1M and FinTabNet.c: tables from boxes of rows, columns and spanning cells, and from words with boxes."""

import json
import random
from pathlib import Path

import pytest
from documents import drawing
from layouts import as_held, converted, split_items, table_in
from random_tables import random_table

from samvlm.data.readers import READERS
from samvlm.data.tables import Cell, Table

HEIGHT, WIDTH, MARGIN = 24.5, 80.25, 36.6  # fractions of pixels, and a margin of the page, as in the data


def edges(table: Table, cell: Cell) -> list[float]:
    return [
        MARGIN + cell.col * WIDTH,
        MARGIN + cell.row * HEIGHT,
        MARGIN + (cell.col + cell.colspan) * WIDTH,
        MARGIN + (cell.row + cell.rowspan) * HEIGHT,
    ]


def voc(objects: list[tuple[str, list[float]]], name: str) -> str:
    """An annotation in the layout of the original files."""
    out = [f"<annotation><folder/><filename>{name}.jpg</filename><path>{name}.jpg</path>"]
    out.append("<source><database>PubTables1M-Structure</database></source>")
    out.append("<size><width>900</width><height>400</height><depth>3</depth></size><segmented>0</segmented>")
    for kind, box in objects:
        ends = zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
        out.append(f"<object><name>{kind}</name><pose>Frontal</pose><truncated>0</truncated>")
        out.append("<difficult>0</difficult><occluded>0</occluded><bndbox>")
        out.append("".join(f"<{end}>{value:.4f}</{end}>" for end, value in ends) + "</bndbox></object>")
    return "".join(out) + "</annotation>"


def objects_of(table: Table) -> list[tuple[str, list[float]]]:
    whole = Cell("", 0, 0, table.n_rows, table.n_cols)
    out = [("table", edges(table, whole))]
    out += [("table column", edges(table, Cell("", 0, col, table.n_rows, 1))) for col in range(table.n_cols)]
    out += [("table row", edges(table, Cell("", row, 0, 1, table.n_cols))) for row in range(table.n_rows)]
    if table.header_rows:
        out.append(("table column header", edges(table, Cell("", 0, 0, table.header_rows, table.n_cols))))
    for cell in table.cells:
        if cell.header == "section":
            out.append(("table projected row header", edges(table, cell)))
        elif cell.rowspan * cell.colspan > 1:
            out.append(("table spanning cell", edges(table, cell)))
    return out


def words_of(table: Table, rng: random.Random) -> list[dict]:
    """Each cell's words on lines from left to right; the file is not in order, and holds words of the page."""
    words = [
        {"bbox": [1, 2, 60, 12], "text": "Caption", "flags": 0, "span_num": 9, "line_num": 0, "block_num": 0}
    ]
    for block, cell in enumerate(table.cells):
        x0, y0, x1, y1 = edges(table, cell)
        texts = cell.text.split()
        for number, text in enumerate(texts):
            step = (x1 - x0 - 8) / len(texts)
            left = x0 + 4 + number * step
            box = [left, y0 + 4, left + step * 0.8, y1 - 4]
            words.append(
                {"bbox": box, "text": text, "flags": 0, "span_num": number, "line_num": 0, "block_num": block}
            )
    rng.shuffle(words)
    return words


def write(root: Path, table: Table, name: str = "PMC1064074_table_0", split: str = "train", **parts) -> Path:
    """Write one table into the folders; `parts` replace the annotation or the words."""
    for folder in ("images", split, "words"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    drawing(200, 100).save(root / "images" / f"{name}.jpg")
    (root / split / f"{name}.xml").write_text(parts.get("xml") or voc(objects_of(table), name))
    words = parts.get("words", words_of(table, random.Random(0)))
    (root / "words" / f"{name}_words.json").write_text(json.dumps(words))
    return root


def allowed(table: Table) -> Table:
    """The table with the headers that the layout has: leading header rows, and sections over a whole row."""
    cells = []
    for c in as_held(table, headers=True).cells:
        head = "column" if c.row < table.header_rows else None
        section = c.header == "section" and c.colspan == table.n_cols and c.rowspan == 1
        cells.append(Cell(c.text, c.row, c.col, c.rowspan, c.colspan, "section" if section else head))
    return Table(cells, table.n_rows, table.n_cols)


@pytest.mark.parametrize("seed", range(60))
def test_random_tables_come_back(tmp_path, seed):
    rng = random.Random(seed)
    table = random_table(rng)
    if seed % 3 == 0 and table.header_rows < table.n_rows:  # a section row under the header
        row = table.header_rows
        cells = [c for c in table.cells if c.row < row]
        cells.append(Cell("Group A", row, 0, 1, table.n_cols, "section"))
        table = Table(cells, row + 1, table.n_cols)
    table = allowed(table)
    items, rejected = split_items(READERS["pubtables"](write(tmp_path, table)))
    assert not rejected
    assert table_in(items[0].target) == table
    assert items[0].target["html"] == table.to_html()
    boxes = items[0].extra["boxes"]
    assert boxes == [[pytest.approx(v, abs=0.02) for v in edges(table, cell)] for cell in table.cells]


def test_item_and_splits(tmp_path):
    table = Table.from_rows([["a", "b"], ["c d", ""]], header_rows=1)
    write(tmp_path, table)
    write(tmp_path, table, "PMC2_table_1", "val")
    everything = READERS["pubtables"](tmp_path)
    assert everything.total() == 2
    items, _ = split_items(everything)
    assert [(i.id, i.split) for i in items] == [("PMC1064074_table_0", "train"), ("PMC2_table_1", "val")]
    assert items[0].image == tmp_path / "images" / "PMC1064074_table_0.jpg"
    assert (items[0].source, items[0].licence, items[0].task) == (
        "pubtables-1m",
        "CDLA-Permissive-2.0",
        "table",
    )
    assert [i.id for i in READERS["pubtables"](tmp_path, split="val")] == ["PMC2_table_1"]
    assert [i.source for i in READERS["fintabnet_c"](tmp_path, split="val")] == ["fintabnet.c"]


def test_folders_named_as_the_archives(tmp_path):
    write(tmp_path, Table.from_rows([["a"]]))
    names = {
        "images": "PubTables-1M-Structure_Images_Test",
        "train": "PubTables-1M-Structure_Annotations_Test",
        "words": "PubTables-1M-Structure_Table_Words",
    }
    for old, new in names.items():
        (tmp_path / old).rename(tmp_path / new)
    (item,) = READERS["pubtables"](tmp_path)
    assert item.split == "test" and table_in(item.target) == Table.from_rows([["a"]])
    (tmp_path / names["words"]).rename(tmp_path.parent / "words apart")
    (item,) = READERS["pubtables"](tmp_path, words=tmp_path.parent / "words apart")
    assert item.id == "PMC1064074_table_0"
    (tmp_path.parent / "words apart").rename(tmp_path / "words")


def test_order_of_words_without_numbers(tmp_path):
    words = [
        {"bbox": [80, 40, 100, 50], "text": "two"},
        {"bbox": [40, 52, 60, 60], "text": "three"},
        {"bbox": [40, 40, 60, 50], "text": "one"},
    ]
    (item,) = READERS["pubtables"](write(tmp_path, Table.from_rows([["x"]]), words=words))
    assert table_in(item.target).cells[0].text == "one two three"


def test_words_beside_and_between(tmp_path):
    right, bottom = MARGIN + 2 * WIDTH, MARGIN + HEIGHT
    words = [
        {"bbox": [MARGIN + WIDTH - 10, MARGIN + 4, MARGIN + WIDTH + 30, bottom], "text": "mostly-b"},
        {"bbox": [right - 10, MARGIN + 4, right + 30, bottom], "text": "outside"},
        {"bbox": [MARGIN + 5, MARGIN + 5, MARGIN + 5, MARGIN + 5], "text": "point"},
        {"bbox": [500, 300, 500, 300], "text": "far"},
        {"bbox": [MARGIN + 30, bottom, MARGIN + 20, MARGIN + 4], "text": "turned"},
    ]
    (item,) = READERS["pubtables"](write(tmp_path, Table.from_rows([["x", "y"]]), words=words))
    texts = [cell.text for cell in table_in(item.target).cells]
    assert sorted(texts[0].split()) == ["point", "turned"] and texts[1] == "mostly-b"


def test_rows_that_do_not_touch_and_overlap_a_little(tmp_path):
    objects = [
        ("table", [0, 0, 100, 60]),
        ("table column", [0, 0, 100, 60]),
        ("table row", [0, 31, 100, 60]),
        ("table row", [0, 0, 100, 25]),
        ("table row", [0, 24, 100, 30]),
    ]
    words = [
        {"bbox": [5, y, 20, y + 3], "text": text}
        for text, y in (("first", 5), ("third", 40), ("second", 25.5))
    ]
    (item,) = READERS["pubtables"](
        write(tmp_path, Table.from_rows([["x"]]), xml=voc(objects, "x"), words=words)
    )
    assert table_in(item.target).to_rows() == [["first"], ["second"], ["third"]]


ROWS = [("table column", [0, 0, 50, 40]), ("table column", [50, 0, 100, 40])]
ROWS += [("table row", [0, 0, 100, 20]), ("table row", [0, 20, 100, 40])]


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"xml": voc(ROWS[:2], "x")}, "0 rows and 2 columns"),
        ({"xml": voc([*ROWS, ROWS[3]], "x")}, "lie upon each other"),
        ({"xml": voc([*ROWS, ("table row", [0, 20, 100, 20])], "x")}, "empty or turned over"),
        ({"xml": voc([*ROWS, ("table cell", [0, 0, 1, 1])], "x")}, "the class 'table cell'"),
        ({"xml": voc([*ROWS, ("table spanning cell", [0, 0, 9, 9])], "x")}, "covers no row or no column"),
        (
            {
                "xml": voc(
                    [
                        *ROWS,
                        ("table spanning cell", [0, 0, 50, 40]),
                        ("table spanning cell", [0, 0, 100, 20]),
                    ],
                    "x",
                )
            },
            "overlaps",
        ),
        ({"xml": voc(ROWS, "x").replace("20.0000", "2O")}, "a number is needed"),
        ({"xml": voc(ROWS, "x").replace("bndbox", "box")}, "no <bndbox>"),
        ({"xml": voc(ROWS, "x")[:-30]}, "no XML"),
        ({"xml": "<!DOCTYPE a [<!ENTITY e 'x'>]><annotation>&e;</annotation>"}, "DOCTYPE"),
        ({"words": {"no": "list"}}, "no list of words"),
        ({"words": [{"text": "a"}]}, "no box"),
        ({"words": [{"text": 5, "bbox": [1, 2, 3, 4]}]}, "no text"),
        ({"words": [{"text": "a", "bbox": [1, 2, 3, "4"]}]}, "no box of four numbers"),
        ({"words": [{"text": "a", "bbox": [1, 2, 3]}]}, "no box of four numbers"),
    ],
)
def test_a_broken_table_is_rejected_alone(tmp_path, parts, reason):
    table = Table.from_rows([["a", "b"], ["c", "d"]])
    write(tmp_path, table, "A_good")
    write(tmp_path, table, "B_bad", **parts)
    write(tmp_path, table, "C_good")
    items, rejected = split_items(READERS["pubtables"](tmp_path))
    assert [item.id for item in items] == ["A_good", "C_good"]
    assert reason in rejected[0].reason and rejected[0].where.endswith("B_bad.xml")


def test_files_that_are_not_there(tmp_path):
    for name in "abc":
        write(tmp_path, Table.from_rows([["x"]]), name)
    (tmp_path / "images" / "a.jpg").unlink()
    (tmp_path / "words" / "b_words.json").unlink()
    items, rejected = split_items(READERS["pubtables"](tmp_path))
    assert [item.id for item in items] == ["c"]
    assert "no image" in rejected[0].reason and "no b_words.json" in rejected[1].reason


def test_paths_of_another_kind(tmp_path):
    for path in (tmp_path, tmp_path / "none", Path(__file__)):
        with pytest.raises(ValueError, match="expected a folder"):
            READERS["pubtables"](path)
    write(tmp_path, Table.from_rows([["x"]]), xml=voc([("table", [0, 0, 9, 9])], "x"))
    with pytest.raises(ValueError, match="marks table, no rows and columns"):
        READERS["pubtables"](tmp_path)
    (tmp_path / "words" / "PMC1064074_table_0_words.json").unlink()
    with pytest.raises(ValueError, match="no words"):
        READERS["pubtables"](tmp_path)


def test_records(tmp_path):
    table = Table([Cell("Group", 0, 0, 1, 2, "section"), Cell("a", 1, 0), Cell("b", 1, 1)], 2, 2)
    (record,) = converted("pubtables", write(tmp_path / "data", table), tmp_path)
    assert record.extra["split"] == "train" and Table.from_otsl(record.answer) == table
    assert record.target["html"] == table.to_html()
