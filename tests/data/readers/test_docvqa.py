"""DocVQA: questions with all accepted answers, from the competition's JSON and from Hugging Face's parquet."""

import json
from pathlib import Path

import pytest
from documents import drawing, encode
from layouts import converted, split_items

from samvlm.data.readers import READERS


def entry(number: int = 337, split: str = "val", **changes) -> dict:
    """An entry of val_v1.0_withQT.json."""
    return {
        "questionId": number,
        "question": "what is the date mentioned in this letter? ",
        "question_types": ["handwritten", "form"],
        "image": "documents/xnbl0037_1.png",
        "docId": 279,
        "ucsf_document_id": "xnbl0037",
        "ucsf_document_page_no": "1",
        "answers": ["1/8/93", "1/8/1993"],
        "data_split": split,
    } | changes


def write(folder: Path, entries, name: str = "val_v1.0_withQT.json", images: str = "documents") -> Path:
    (folder / images).mkdir(parents=True, exist_ok=True)
    drawing().save(folder / images / "xnbl0037_1.png")
    head = {"dataset_name": "docvqa", "dataset_version": "1.0", "dataset_split": name.split("_")[0]}
    path = folder / name
    path.write_text(entries if isinstance(entries, str) else json.dumps(head | {"data": entries}))
    return path


@pytest.mark.parametrize("images", ["documents", "spdocvqa_images", "val/documents", "images/documents"])
def test_json(tmp_path, images):
    path = write(tmp_path, [entry(), entry(338, answers=["", "x"])], images=images)
    items, rejected = split_items(READERS["docvqa"](path))
    assert not rejected
    item = items[0]
    assert (item.id, item.task, item.split, item.source) == ("337", "question", "val", "docvqa")
    assert item.target == {
        "question": "what is the date mentioned in this letter? ",
        "answer": "1/8/93",
        "answers": ["1/8/93", "1/8/1993"],
    }
    assert item.messages is None and "research only" in item.licence
    assert item.image == tmp_path / images / "xnbl0037_1.png"
    assert item.extra == {
        "docId": 279,
        "ucsf_document_id": "xnbl0037",
        "ucsf_document_page_no": "1",
        "question_types": ["handwritten", "form"],
    }
    assert items[1].target["answers"] == ["x"]


def test_the_test_split_asks_only(tmp_path):
    blind = entry(split="test")
    del blind["answers"], blind["data_split"]
    (item,) = READERS["docvqa"](write(tmp_path, [blind], "test_v1.0.json"))
    assert item.split == "test" and item.target == {"question": blind["question"]}
    assert [turn["role"] for turn in item.messages] == ["user"]
    assert item.messages[0]["content"][1]["text"] == blind["question"].strip()


def test_a_folder_and_splits(tmp_path):
    write(tmp_path, [entry(1, "train")], "train_v1.0_withQT.json")
    write(tmp_path, [entry(2)])
    assert [item.id for item in READERS["docvqa"](tmp_path)] == ["1", "2"]
    assert [item.id for item in READERS["docvqa"](tmp_path, split="val")] == ["2"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"question": " "}, "a text is needed"),
        ({"question": 5}, "a text is needed"),
        ({"answers": [" ", ""]}, "all answers are empty"),
        ({"answers": "1/8/93"}, "a list of texts"),
        ({"answers": [5]}, "a list of texts"),
        ({"image": "documents/gone.png"}, "no image 'documents/gone.png'"),
        ({"image": "../documents/xnbl0037_1.png"}, "leads out"),
        ({"image": None}, "a path is needed"),
        ({"questionId": None}, "'questionId' is None"),
    ],
)
def test_a_broken_entry_is_rejected_alone(tmp_path, changes, reason):
    path = write(tmp_path, [entry(1), entry(2, **changes), entry(3)])
    items, (rejected,) = split_items(READERS["docvqa"](path))
    assert [item.id for item in items] == ["1", "3"]
    assert reason in rejected.reason and rejected.where == f"{path}: item 2"


def test_parquet(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    picture = encode(drawing(), "PNG")
    rows = [
        entry("49153", "val", image={"bytes": picture, "path": None}, other_metadata=None),
        entry("2", "test", image={"bytes": picture, "path": None}, answers=None),
        entry("3", None, image={"bytes": picture, "path": None}),
        entry("4", "val", image={"bytes": None, "path": "x.png"}),
    ]
    columns = list(rows[0])
    table = arrow.Table.from_pylist([{name: row.get(name) for name in columns} for row in rows])
    path = tmp_path / "DocVQA" / "validation-00000-of-00006.parquet"
    path.parent.mkdir()
    parquet.write_table(table, path)
    for source in (path, tmp_path):
        items, (rejected,) = split_items(READERS["docvqa"](source))
        assert [(item.id, item.split) for item in items] == [("49153", "val"), ("2", "test"), ("3", "val")]
        assert items[0].image == picture and items[0].target["answers"] == ["1/8/93", "1/8/1993"]
        assert items[0].extra["question_types"] == ["handwritten", "form"]
        assert items[1].target == {"question": entry()["question"]}
        assert "no image bytes" in rejected.reason and rejected.where == f"{path}: row 4"
    assert [item.id for item in READERS["docvqa"](path, split="test")] == ["2"]
    other = tmp_path / "other.parquet"
    parquet.write_table(arrow.table({"a": [1]}), other)
    (rejected,) = READERS["docvqa"](other)
    assert "no column questionId" in rejected.reason


def test_paths_of_another_kind(tmp_path):
    for content in ("", "[]", "{}", '{"data": {}}', "text"):
        with pytest.raises(ValueError, match='a list "data"'):
            READERS["docvqa"](write(tmp_path, content))
    (tmp_path / "val_v1.0_withQT.json").unlink()
    for path in (tmp_path, tmp_path / "none", Path(__file__)):
        with pytest.raises(ValueError, match="parquet"):
            READERS["docvqa"](path)


def test_records(tmp_path):
    blind = entry(2, "test")
    del blind["answers"]
    first, second = converted("docvqa", write(tmp_path / "data", [entry(), blind]), tmp_path)
    assert first.answer == "1/8/93" and first.target["answers"] == ["1/8/93", "1/8/1993"]
    assert second.answer is None and second.extra["split"] == "test"
