"""LLaVA's conversations: kept as they are, with their image or without one."""

import gzip
import json
from pathlib import Path

import pytest
from documents import drawing
from layouts import converted, split_items

from samvlm.data.conversations import read_conversation
from samvlm.data.readers import READERS


def entry(number: int, **changes) -> dict:
    """An entry of blip_laion_cc_sbu_558k.json; `<image>` comes first and last by turns."""
    value = "<image>\nRender a summary." if number % 2 else "Render a summary.\n<image>"
    turns = [{"from": "human", "value": value}, {"from": "gpt", "value": f"pictures {number} of <b>it</b>"}]
    return {"id": f"{number:09}", "image": f"00453/{number:09}.jpg", "conversations": turns} | changes


def write(folder: Path, entries, name: str = "blip_laion_cc_sbu_558k.json", images: str = "") -> Path:
    path = folder / name
    if ".jsonl" in name:
        text = "".join(json.dumps(one) + "\n" for one in entries)
    else:
        text = entries if isinstance(entries, str) else json.dumps(entries)
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    (folder / images / "00453").mkdir(parents=True, exist_ok=True)
    for number in range(4):
        drawing().save(folder / images / "00453" / f"{number:09}.jpg")
    return path


@pytest.mark.parametrize("images", ["", "images"])
@pytest.mark.parametrize("name", ["x.json", "x.jsonl", "x.jsonl.gz"])
def test_conversations_come_as_they_are(tmp_path, name, images):
    path = write(tmp_path, [entry(n) for n in range(3)], name, images)
    items, rejected = split_items(READERS["llava"](path))
    assert not rejected and [item.id for item in items] == [f"{n:09}" for n in range(3)]
    for number, item in enumerate(items):
        assert item.image == tmp_path / images / "00453" / f"{number:09}.jpg"
        assert item.messages == read_conversation(entry(number)["conversations"], True)
        assert (item.task, item.target, item.source, item.licence) == (
            None,
            None,
            "llava",
            "mixed, by source",
        )
    assert [part["type"] for part in items[0].messages[0]["content"]] == ["text", "image"]
    assert [part["type"] for part in items[1].messages[0]["content"]] == ["image", "text"]


def test_instruct_has_texts_alone_and_many_turns(tmp_path):
    alone = entry(
        1, id=7, model="", conversations=[{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
    )
    del alone["image"]
    turns = [{"from": "human", "value": "<image>\na"}, {"from": "gpt", "value": "b"}] * 1
    turns += [{"from": "human", "value": "c"}, {"from": "gpt", "value": "d"}]
    swift = {
        "id": "s",
        "images": ["00453/000000001.jpg"],
        "messages": [{"role": "user", "content": "<image>x"}],
    }
    path = write(tmp_path, [alone, entry(2, conversations=turns), swift])
    items, rejected = split_items(READERS["llava"](path))
    assert not rejected and [item.id for item in items] == ["7", "000000002", "s"]
    assert items[0].image is None and len(items[1].messages) == 4
    assert items[2].image.name == "000000001.jpg" and items[2].messages[-1]["role"] == "user"


def test_images_elsewhere_and_splits(tmp_path):
    (tmp_path / "far").mkdir()
    write(tmp_path / "far", [])
    path = tmp_path / "x.json"
    path.write_text(json.dumps([entry(1), entry(2, split="val")]))
    items, _ = split_items(READERS["llava"](path, images=tmp_path / "far"))
    assert [item.split for item in items] == [None, "val"]
    assert [item.id for item in READERS["llava"](path, split="val", images=tmp_path / "far")] == ["000000002"]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (entry(9), "no image '00453/000000009.jpg'"),
        (entry(1, image="../../etc/passwd"), "leads out"),
        (entry(1, image="/etc/passwd"), "leads out"),
        (entry(1, image="C:\\x.png"), "leads out"),
        (entry(1, image="https://example.com/a.jpg"), "is no file"),
        (entry(1, image="a\0b"), "a path is needed"),
        (entry(1, image=5), "a path is needed"),
        (entry(1, image=["a.jpg", "b.jpg"]), "2 images"),
        (entry(1, id=None), "'id' is None"),
        (entry(1, id=True), "'id' is True"),
        (entry(1, conversations=[]), "give a list of turns"),
        (entry(1, conversations=[{"from": "gpt", "value": "x"}]), "must alternate"),
        (entry(1, conversations=[{"from": "human", "value": "<image><image>"}]), "2 <image>"),
        (entry(1, image=None), "0 image"),
        (["list"], "got list"),
    ],
)
def test_a_broken_entry_is_rejected_alone(tmp_path, bad, reason):
    path = write(tmp_path, [entry(1), bad, entry(2)])
    items, (rejected,) = split_items(READERS["llava"](path))
    assert [item.id for item in items] == ["000000001", "000000002"]
    assert reason in rejected.reason and rejected.where == f"{path}: item 2"


def test_a_file_that_breaks_off(tmp_path):
    path = write(tmp_path, json.dumps([entry(1), entry(2)])[:-30])
    items, (rejected,) = split_items(READERS["llava"](path))
    assert len(items) == 1 and "ends within an item" in rejected.reason


def test_paths_of_another_kind(tmp_path):
    for content in ("", "text", '{"data": []}', '[{"a": 1}]', "[]", "[1, 2]"):
        with pytest.raises(ValueError, match=r"expected a \.json list"):
            READERS["llava"](write(tmp_path, content))
    for path in (tmp_path, tmp_path / "none.json"):
        with pytest.raises(ValueError, match=r"expected a \.json list"):
            READERS["llava"](path)


def test_records(tmp_path):
    alone = entry(3, conversations=[{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}])
    del alone["image"]
    (tmp_path / "data").mkdir()
    path = write(tmp_path / "data", [entry(0), entry(1), alone, entry(1)])
    records = converted("llava", path, tmp_path)
    assert [record.id for record in records][:3] == ["000000000", "000000001", "000000003"]
    assert records[3].extra["id_in_data"] == "000000001" and records[2].image is None
    for number, record in enumerate(records[:2]):
        assert record.messages == read_conversation(entry(number)["conversations"], True)
