"""A folder of images with their truth beside them: what is matched, what is told, what is left out."""

import json
from pathlib import Path

import numpy as np
import pytest
from documents import drawing, encode, pdf
from layouts import split_items
from own_folders import HTML, TABLE, read, save
from token_tables import save_image, save_lines

from samvlm.data.images import DocumentError, open_image
from samvlm.data.readers import READERS
from samvlm.data.tables import Table

REAL = Path(__file__).parents[4] / "shared/data"


def assert_told(rejected: dict[str, str], expected: dict[str, str]) -> None:
    """These and no others are rejected, each for a reason with these words."""
    assert sorted(rejected) == sorted(expected)
    for name, words in expected.items():
        assert words in rejected[name], (name, rejected[name])


def test_folders_of_their_own_and_splits(tmp_path):
    for name in (
        "images/train/1.png",
        "images/val/1.png",
        "train/deep/2.jpg",
        "scans/3.png",
        "x/images/4.png",
    ):
        save_image(tmp_path / name)
    for name in (
        "labels/train/1.html",
        "labels/val/1.csv",
        "train/deep/2.jpg.html",
        "scans/3.md",
        "x/labels/4.html",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text({".html": HTML, ".csv": TABLE.to_csv(), ".md": TABLE.to_markdown()}[path.suffix])
    items, rejected = read(tmp_path)
    assert not rejected
    assert [(item.id, item.split) for item in items.values()] == [
        ("images/train/1.png", "train"),
        ("images/val/1.png", "val"),
        ("scans/3.png", None),
        ("train/deep/2.jpg", "train"),
        ("x/images/4.png", None),
    ]
    assert list(read(tmp_path, split="val")[0]) == ["images/val/1.png"]


def test_what_is_left_over_is_told(tmp_path):
    for name in (
        "alone.png",
        "two.png",
        "bad.png",
        "many.png",
        "after.png",
        "empty.png",
        "same.png",
        "same.jpg",
        "p/7.png",
        "q/images/7.png",
    ):
        save_image(tmp_path / name)
    save(
        tmp_path,
        nobody_dot_html=HTML,
        two_dot_csv="a,b\n",
        two_dot_html=HTML,
        bad_dot_html="<p>no table</p>",
        many_dot_html=TABLE.to_html(wrap=False) * 2,
        after_dot_html=HTML + HTML,
        empty_dot_csv="",
        same_dot_html=HTML,
        README_dot_txt="Read me.",
        labels__p__7_dot_html=HTML,
        labels__q__8_dot_html=HTML,
    )  # fmt: skip
    (tmp_path / "latin.png").write_bytes(encode(drawing(), "PNG"))
    (tmp_path / "latin.csv").write_bytes(b"\xe9,1\n")
    (tmp_path / ".hidden.html").write_text(HTML)
    (tmp_path / "notes.docx").write_bytes(b"PK")
    items, rejected = read(tmp_path)
    assert sorted(items) == ["p/7.png", "same.jpg", "two.png"]
    expected = {
        "README.txt": "no image of this name",
        "after.html": "behind </html>",
        "alone.png": "no truth of this name",
        "bad.html": "0 tables",
        "empty.csv": "no row",
        "labels/q/8.html": "no image of this name",
        "latin.csv": "no UTF-8",
        "many.html": "2 tables",
        "nobody.html": "no image of this name",
        "q/images/7.png": "no truth of this name",
        "same.png": "that of same.jpg",
        "two.csv": "two.html is the truth of two.png already",
    }
    assert_told(rejected, expected)


def test_a_name_that_two_images_have_is_not_guessed(tmp_path):
    save_image(tmp_path / "images" / "1.png")
    save_image(tmp_path / "pages" / "1.png")
    save(tmp_path, labels__1_dot_html=HTML)
    items, rejected = read(tmp_path)
    assert not items
    assert "2 images have this name" in rejected["labels/1.html"]
    assert len(rejected) == 3


def test_pages_of_documents(tmp_path):
    (tmp_path / "r.pdf").write_bytes(pdf("", "50 60 40 20 re f"))
    pages = [drawing(40), drawing(60)]
    pages[0].save(tmp_path / "s.tif", save_all=True, append_images=pages[1:])
    names = ("r.html", "r.p2.html", "r.p3.html", "s.html", "s.p2.html", "r.p0.html")
    for name in names:
        (tmp_path / name).write_text(HTML)
    items, rejected = read(tmp_path, dpi=72)
    assert list(items) == ["r.pdf", "r.pdf#page=2", "r.pdf#page=3", "s.tif", "s.tif#page=2"]
    assert list(rejected) == ["r.p0.html"]
    assert np.asarray(items["r.pdf"].image()).min() == 255
    second = np.asarray(items["r.pdf#page=2"].image().convert("L"))
    assert second.shape == (100, 200) and second[30, 70] == 0
    with pytest.raises(DocumentError, match="page 3"):
        items["r.pdf#page=3"].image()
    with pytest.warns(UserWarning, match="only the first"):
        assert open_image(items["s.tif"].image).width == 40
    assert items["s.tif#page=2"].image().width == 60


def test_pages_without_truth_are_told(tmp_path):
    for name in ("one", "three/a", "train/three"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.pdf").write_bytes(pdf(*[""] * (1 if name == "one" else 3)))
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.7 nothing")
    (tmp_path / "claims.pdf").write_bytes(pdf("", count=2_000_000_000))
    for name in ("one", "three/a", "three/a.p3", "train/three.p2", "train/three.p9", "broken", "claims"):
        (tmp_path / f"{name}.html").write_text(HTML)
    items, rejected = read(tmp_path)
    assert {"one.pdf", "three/a.pdf#page=3", "train/three.pdf#page=2"} <= set(items)
    rejected.pop("claims.pdf", None)  # whatever the page tree claims
    assert_told(
        rejected,
        {
            "three/a.pdf": "1 of its 3 pages have no truth, page 2 is the first; expected one such as a.p2.html",
            "train/three.pdf": "2 of its 3 pages have no truth, page 1 is the first",
        },
    )
    assert "three/a.pdf" not in read(tmp_path, split="train")[1]


def test_lines_that_name_images(tmp_path):
    for name in ("images/1.png", "images/2.png", "3.png", "4.png"):
        save_image(tmp_path / name)
    save(tmp_path, images__1_dot_html=HTML)
    save_lines(
        tmp_path / "gt.jsonl",
        {
            "image": "images/1.png",
            "html": TABLE.to_html(wrap=False),
            "split": "val",
            "source": "s",
            "licence": "l",
            "page": 3,
        },
        {"file_name": "2.png", "otsl": TABLE.to_otsl(), "id": 17},
        {"image": "missing.png", "html": HTML},
        {"image": "../out.png", "html": HTML},
        {"image": "3.png"},
        "{",
        {"image": "4.png", "text": "words"},
    )
    items, rejected = read(tmp_path)
    assert list(items) == ["images/1.png", "17", "4.png"]
    first = items["images/1.png"]
    assert first.target == {"html": HTML}
    assert (first.split, first.source, first.licence, first.extra) == ("val", "s", "l", {"page": 3})
    assert items["17"].image == tmp_path / "images" / "2.png"
    assert items["4.png"].task == "text"
    expected = {
        "gt.jsonl:3": "no image 'missing.png'",
        "gt.jsonl:4": "leads out",
        "gt.jsonl:5": "no truth in the keys image",
        "gt.jsonl:6": "no JSON",
        "images/1.html": "has its truth in a .jsonl file",
    }
    assert_told(rejected, expected)
    alone, _ = split_items(READERS["folder"](tmp_path / "gt.jsonl"))
    assert [item.id for item in alone] == list(items)


def test_lists_of_another_kind_are_named_once(tmp_path):
    save_lines(
        tmp_path / "records.jsonl",
        *[{"id": n, "image": "1.png", "task": "table", "target": {"html": HTML}} for n in range(3)],
    )
    save_lines(tmp_path / "words.jsonl", {"word": 1}, {"word": 2})
    items, rejected = read(tmp_path)
    assert not items
    assert (
        "records already" in rejected["records.jsonl:1"]
        and "nothing of it is read" in rejected["words.jsonl:1"]
    )
    assert len(rejected) == 2


def test_links_in_a_circle_end(tmp_path):
    save_image(tmp_path / "a" / "1.png")
    save(tmp_path, a__1_dot_html=HTML)
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    outside = tmp_path.parent / f"{tmp_path.name}_outside"
    save_image(outside / "2.png")
    save(outside, **{"2_dot_html": HTML})
    (tmp_path / "linked").symlink_to(outside)
    items, rejected = read(tmp_path)
    assert (sorted(items), rejected) == (["a/1.png", "linked/2.png"], {})


def test_a_path_of_another_kind(tmp_path):
    with pytest.raises(ValueError, match="no images and no truths"):
        READERS["folder"](tmp_path)
    with pytest.raises(ValueError, match="no folder"):
        READERS["folder"](tmp_path / "none")


@pytest.mark.skipif(not REAL.is_dir(), reason="the real tables are not here")
@pytest.mark.parametrize(("name", "count"), [("pubtabnet", 20), ("icdar2013", 85)])
def test_real_tables(name, count):
    items, rejected = split_items(READERS["folder"](REAL / name))
    lines = (REAL / name / "gt.jsonl").read_text("utf-8").splitlines()
    assert len(items) == count == len(lines)
    for item, line in zip(items, lines, strict=True):
        truth = json.loads(line)
        assert item.id == truth["image"] and item.image == REAL / name / truth["image"]
        assert Table.from_html(item.target["html"]) == Table.from_html(truth["html"])
        if truth["html"].startswith("<html><body><table"):
            assert item.target["html"] == truth["html"]
    assert all("PubTabNet_2.0.0.jsonl:1" in entry.where for entry in rejected)
