"""PubTabNet and SynthTabNet: tokens to HTML, exact to the character; what is broken is reported."""

import gzip
import json
import random
import re
from pathlib import Path

import pytest
from layouts import split_items
from lxml import etree
from random_tables import random_table
from token_tables import box_of, held, save_image, save_lines, token_form

from samvlm.data.readers import READERS, Rejected
from samvlm.data.readers.tokens import table_html
from samvlm.data.tables import Table
from samvlm.metrics import teds

REAL = Path(__file__).parents[4] / "shared/data/pubtabnet"


def entry(name: str, table: Table, split: str = "train", **changes) -> dict:
    return {"filename": name, "split": split, "imgid": 7, "html": token_form(table)} | changes


def table(seed: int) -> Table:
    return held(random_table(random.Random(seed)))


def test_the_original_layout(tmp_path):
    tables = {
        f"PMC{seed}_000_00.png": (table(seed), ("train", "val", "test")[seed % 3]) for seed in range(30)
    }
    for name, (_, split) in tables.items():
        save_image(tmp_path / split / name)
    save_lines(tmp_path / "PubTabNet_2.0.0.jsonl", *(entry(name, *value) for name, value in tables.items()))
    items, rejected = split_items(READERS["pubtabnet"](tmp_path))
    assert not rejected
    assert [item.id for item in items] == list(tables)
    for item in items:
        truth, split = tables[item.id]
        assert Table.from_html(item.target["html"]) == truth
        assert item.extra["boxes"] == [box_of(cell) if cell.text else None for cell in truth.cells]
        assert item.image == tmp_path / split / item.id
        assert (item.task, item.split, item.source, item.licence) == (
            "table",
            split,
            "pubtabnet",
            "CDLA-Permissive-1.0",
        )
    of_val, _ = split_items(READERS["pubtabnet"](tmp_path / "PubTabNet_2.0.0.jsonl", split="val"))
    assert [item.id for item in of_val] == [name for name, (_, split) in tables.items() if split == "val"]


def test_inline_tags_and_blanks_are_kept():
    structure = [
        "<thead>",
        "<tr>",
        "<td",
        ' rowspan="2"',
        ' colspan="3"',
        ">",
        "</td>",
        "<td>",
        "</td>",
        "</tr>",
        "</thead>",
    ]
    cells = [
        {"tokens": ["<b>", " ", "</b>"]},
        {"tokens": ["p", "<sup>", "2", "</sup>", " ", "<", " ", "0", "&", "a"]},
    ]
    assert table_html(structure, cells) == (
        '<html><body><table><thead><tr><td rowspan="2" colspan="3"><b> </b></td>'
        "<td>p<sup>2</sup> < 0&amp;a</td></tr></thead></table></body></html>"
    )


def test_any_text_survives():
    rng = random.Random(0)
    characters = ["<", ">", "&", ";", "#", "a", "lt", "1", "/", "!", "?", " ", "-", '"', "amp", "é", "日"]
    for _ in range(2000):
        tokens = [rng.choice(characters) for _ in range(rng.randint(0, 9))]
        html = table_html(["<tr>", "<td>", "</td>", "</tr>"], [{"tokens": tokens}])
        root = etree.fromstring(html.encode(), etree.HTMLParser(remove_comments=True, encoding="utf-8"))
        (cell,) = root.xpath("body/table//td")
        assert (cell.text or "", len(cell)) == ("".join(tokens), 0), html


def test_what_is_broken_costs_itself_only(tmp_path):
    good = table(1)
    one_short = token_form(good)
    one_short["cells"].pop()
    for name in ("a.png", "short.png", "keys.png", "odd.png", "z.png"):
        save_image(tmp_path / "train" / name)
    cells_as_cell = token_form(good)
    cells_as_cell["cell"] = cells_as_cell.pop("cells")
    last = json.dumps(entry("z.png", good))
    path = save_lines(
        tmp_path / "PubTabNet_2.0.0.jsonl",
        entry("a.png", good, html=cells_as_cell),  # as the project's README spells it
        "{broken",
        '["a list"]',
        entry("short.png", good, html=one_short),
        entry("missing.png", good),
        entry("../secret.png", good),
        entry("keys.png", good, html={"cells": []}),
        entry(
            "odd.png",
            good,
            html={"cells": [{"tokens": ["a"], "bbox": "wide"}], "structure": {"tokens": ["<td>"]}},
        ),
        entry("odd.png", good, html=3),
        entry("odd.png", good, split="../up"),
        entry("odd.png", good, html={"cells": [], "structure": {"tokens": []}}),
        "",
        entry("z.png", good),
        last[: len(last) // 2],
    )
    items, rejected = split_items(READERS["pubtabnet"](tmp_path))
    assert [item.id for item in items] == ["a.png", "z.png"]
    assert all(Table.from_html(item.target["html"]) == good for item in items)
    assert [(entry.where.removeprefix(f"{path}:"), word in entry.reason) for entry, word in zip(rejected, [
        "no JSON", "JSON object", "cells but there are", "no image 'missing.png'", "leads out of", "'structure' is missing",
        "is not x0, y0, x1, y1", "another form", "split is '../up'", "no cell", "no JSON",
    ], strict=True)] == [(line, True) for line in "2 3 4 5 6 7 8 9 10 11 14".split()] , rejected  # fmt: skip


def test_compressed_and_cut_off(tmp_path):
    good = table(2)
    lines = "".join(json.dumps(entry(f"{n}.png", good)) + "\n" for n in range(200)).encode()
    for n in range(200):
        save_image(tmp_path / f"{n}.png")
    path = tmp_path / "PubTabNet_2.0.0.jsonl.gz"
    path.write_bytes(gzip.compress(lines))
    assert len(split_items(READERS["pubtabnet"](tmp_path))[0]) == 200
    path.write_bytes(gzip.compress(lines)[:-200])
    items, rejected = split_items(READERS["pubtabnet"](path))
    assert 0 < len(items) < 200
    assert "breaks off" in rejected[-1].reason


def test_the_test_split_is_one_object(tmp_path):
    html = "<html><body><table><tr><td>a</td></tr></table></body></html>"
    save_image(tmp_path / "test" / "1.png")
    path = tmp_path / "final_eval.json"
    path.write_text(json.dumps({"1.png": {"html": html, "type": "simple"}, "2.png": 5}))
    items, rejected = split_items(READERS["pubtabnet"](path))
    assert [(item.id, item.target, item.split, item.extra["type"]) for item in items] == [
        ("1.png", {"html": html}, "test", "simple")
    ]
    assert len(rejected) == 1
    path.write_text("[1")
    with pytest.raises(ValueError, match="no final_eval"):
        READERS["pubtabnet"](path)


def test_a_path_of_another_kind(tmp_path):
    for name, word in (("pubtabnet", "PubTabNet_2.0.0.jsonl"), ("synthtabnet", "synthetic_data.jsonl")):
        for path in (tmp_path, tmp_path / "none.jsonl"):
            with pytest.raises(ValueError, match=word):
                READERS[name](path)


def test_synthtabnet(tmp_path):
    truth = table(3)
    for part in ("fintabnet", "sparse"):
        save_image(tmp_path / part / "images" / "val" / "0.png")
        html = token_form(truth, box=lambda cell: [*box_of(cell), 2 if cell.text else 1], empty_boxes=True)
        for number, cell in enumerate(html["cells"]):
            cell |= {"cell_id": number, "is_header": False, "span": {}}
        save_lines(
            tmp_path / part / "synthetic_data.jsonl",
            {"filename": "0.png", "split": "val", "html": html},
            {"filename": "1.png", "split": "train", "html": html},
        )
    items, rejected = split_items(READERS["synthtabnet"](tmp_path))
    assert [item.id for item in items] == ["fintabnet/0.png", "sparse/0.png"]
    assert [entry.where for entry in rejected] == [
        f"{tmp_path}/{part}/synthetic_data.jsonl:2" for part in ("fintabnet", "sparse")
    ]
    assert Table.from_html(items[0].target["html"]) == truth
    assert items[0].extra["boxes"] == [box_of(cell) for cell in truth.cells]
    assert (items[0].split, items[0].source) == ("val", "synthtabnet")
    (one,) = READERS["synthtabnet"](tmp_path / "sparse", split="val")
    assert (one.id, one.image) == ("sparse/0.png", tmp_path / "sparse/images/val/0.png")


@pytest.mark.skipif(not REAL.is_dir(), reason="the original files are not here")
def test_the_original_file():
    items = list(READERS["pubtabnet"](REAL))
    truths = [json.loads(line) for line in (REAL / "gt.jsonl").read_text("utf-8").splitlines()]
    assert len(items) == 20
    for item, truth in zip(items, truths, strict=True):
        assert not isinstance(item, Rejected), item
        assert item.image == REAL / truth["image"]
        assert item.target["html"] == truth["html"]
        assert teds(item.target["html"], truth["html"]) == 1.0
        texts = [re.sub("<[^>]*>", "", td) for td in re.findall(r"<td[^>]*>(.*?)</td>", truth["html"])]
        assert [box is None for box in item.extra["boxes"]] == [not text.strip() for text in texts]
