"""TableBank: lists side by side, structure only, each image once."""

import pytest
from layouts import split_items
from token_tables import save_image

from samvlm.data.readers import READERS
from samvlm.data.tables import Table

TOKENS = (
    "<tabular> <thead> <tr> <tdy> <tdn> </tr> </thead> <tbody> <tr> <tdn> <tdy> </tr> </tbody> </tabular>"
)


def save(folder, name: str, images: list[str], tokens: list[str]):
    lists = folder / "Recognition" / "annotations"
    lists.mkdir(parents=True, exist_ok=True)
    (lists / f"src-{name}.txt").write_text("".join(f"{image}\n" for image in images))
    (lists / f"tgt-{name}.txt").write_text("".join(f"{line}\n" for line in tokens))
    for image in images:
        if image and not image.startswith("missing"):
            save_image(folder / "Recognition" / "images" / image)
    return folder


def test_the_original_layout(tmp_path):
    save(
        tmp_path,
        "train",
        ["1.png", "2.png"],
        [TOKENS, TOKENS.replace("tdy", "cell_y").replace("tdn", "cell_n")],
    )
    save(
        tmp_path,
        "all",
        ["2.png", "1.png", "3.png"],
        [TOKENS.replace("tdy", "cell_y").replace("tdn", "cell_n"), TOKENS, TOKENS],
    )
    items, rejected = split_items(READERS["tablebank"](tmp_path))
    assert not rejected
    assert [(item.id, item.split) for item in items] == [
        ("1.png", "train"),
        ("2.png", "train"),
        ("3.png", None),
    ]
    for item in items:
        table = Table.from_html(item.target["html"])
        assert (table.n_rows, table.n_cols, table.header_rows) == (2, 2, 1)
        assert item.target["html"].startswith("<html><body><table><thead><tr><td></td><td></td></tr></thead>")
        assert item.extra == {"structure_only": True, "filled": [True, False, False, True]}
        assert item.image == tmp_path / "Recognition" / "images" / item.id
    assert [item.id for item in READERS["tablebank"](tmp_path, split="train")] == ["1.png", "2.png"]
    source = tmp_path / "Recognition" / "annotations" / "src-all.txt"
    assert len(list(READERS["tablebank"](source))) == 3


def test_what_is_broken_costs_itself_only(tmp_path):
    save(
        tmp_path,
        "val",
        ["1.png", "missing.png", "odd.png", "", "none.png", "4.png", "5.png"],
        [TOKENS, TOKENS, "<tabular> <what>", "", "<tabular> <tr> </tr> </tabular>", TOKENS],
    )
    save(tmp_path, "word", ["1.png"], ["<tabular> <tr> <tdy> </tr> </tabular>"])
    items, rejected = split_items(READERS["tablebank"](tmp_path))
    assert [item.id for item in items] == ["1.png", "4.png"]
    words = ["no image 'missing.png'", "unknown token '<what>'", "no cell", "goes on alone", "another table"]
    for entry, word in zip(rejected, words, strict=True):
        assert word in entry.reason


def test_a_path_of_another_kind(tmp_path):
    (tmp_path / "src-train.txt").write_text("1.png\n")
    with pytest.raises(ValueError, match="tgt-"):
        READERS["tablebank"](tmp_path)
