"""samvlm/data/splits.py: no image on two sides, fractions met, the same parts for the same seed."""

import json
from collections import Counter

import pytest
from PIL import Image
from record_files import noise, record, save

from samvlm.data.check import check_records
from samvlm.data.records import read_records
from samvlm.data.splits import split_records


@pytest.fixture
def data(tmp_path):
    """60 records of 50 images, in a folder of its own; the image of some is stored twice."""
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    items = []
    for n in range(60):
        name = f"images/{n}.{'bmp' if n >= 50 else 'png'}"
        noise(folder / name, n % 50)
        items.append(record(str(n), name, document=f"doc {n % 50 % 7}", split="old"))
    return save(folder / "records.jsonl", *items)


def ids(path):
    return [item.id for item in read_records(path)]


def test_no_image_stands_on_two_sides(data, tmp_path):
    report = split_records(data, tmp_path / "parts", (0.8, 0.1, 0.1), seed=3)
    paths = [tmp_path / "parts" / f"{name}.jsonl" for name in ("train", "val", "test")]
    assert (
        list(report.written) == paths and list(report.written.values()) == [48, 6, 6] and report.groups == 50
    )
    assert sorted(name for path in paths for name in ids(path)) == sorted(ids(data))
    checked = check_records(paths)
    assert [(f.kind.code, f.count) for f in checked.findings] == [("duplicate", 10)]
    assert checked.statistics.counts["split"] == {"train": 48, "val": 6, "test": 6}
    first = json.loads(paths[1].read_text().splitlines()[0])
    assert first["image"].startswith("../data/images/") and first["document"].startswith("doc ")
    assert ids(paths[0]) == sorted(ids(paths[0]), key=int)  # in the order of the file


def test_the_seed_decides(data, tmp_path):
    def parts(seed):
        split_records(data, tmp_path / "parts", (0.5, 0.5), seed=seed)
        return ids(tmp_path / "parts" / "val.jsonl")

    assert parts(1) == parts(1) != parts(2)


def test_fields_stay_together(data, tmp_path):
    report = split_records(data, tmp_path, (0.6, 0.4), names=("a", "b"), by=["document"])
    assert report.groups == 7 and min(report.written.values()) > 10
    documents = [{r.extra["document"] for r in read_records(tmp_path / f"{name}.jsonl")} for name in "ab"]
    assert not documents[0] & documents[1]


def test_images_join_documents(tmp_path):
    noise(tmp_path / "a.png", 1)
    noise(tmp_path / "b.png", 2)
    pairs = [("a.png", "x"), ("a.png", "y"), ("b.png", "y"), ("b.png", "z")]
    items = [record(str(n), image, document=document) for n, (image, document) in enumerate(pairs)]
    assert split_records(save(tmp_path / "r.jsonl", *items), tmp_path / "p", (0.5, 0.5)).groups == 2
    report = split_records(tmp_path / "r.jsonl", tmp_path / "p", (0.5, 0.5), by=["document"])
    assert report.groups == 1 and sorted(report.written.values()) == [0, 4]


def test_large_groups_go_where_there_is_room(tmp_path):
    Image.new("RGB", (64, 64)).save(tmp_path / "same.png")
    items = [record(str(n), "same.png" if n < 70 else noise(tmp_path / f"{n}.png", n)) for n in range(100)]
    path = save(tmp_path / "r.jsonl", *items)
    for seed in range(4):
        report = split_records(path, tmp_path / "parts", (0.8, 0.1, 0.1), seed=seed)
        assert list(report.written.values()) == [80, 10, 10]


def test_what_cannot_be_read_is_told(tmp_path):
    noise(tmp_path / "a.png", 1)
    items = [
        record("1", "a.png"),
        "{",
        record("2", "gone.png"),
        record("3", "gone.png"),
        record("4", task="?"),
    ]
    report = split_records(save(tmp_path / "r.jsonl", *items), tmp_path, (0.5, 0.5))
    assert report.left_out == 2 and report.unread == 2 and sum(report.written.values()) == 3
    assert [problem.split(": ")[0] for problem in report.problems] == [
        f"{tmp_path}/r.jsonl:{n}" for n in (2, 5)
    ]
    assert Counter(map(len, (ids(p) for p in report.written))) == {2: 1, 1: 1}  # the same path stays together


@pytest.mark.parametrize(
    ("fractions", "names", "message"),
    [
        ((0.5, 0.4), None, "sum of 1"),
        ((1.5, -0.5), None, "above 0"),
        ((0.25,) * 4, None, "give --names"),
        ((0.5, 0.5), ("a",), "as many different names"),
        ((0.5, 0.5), ("a", "A"), "as many different names"),
        ((0.5, 0.5), ("../x", "b"), "no name for a file"),
        ((0.5, 0.5), ("r", "b"), "written over"),
    ],
)
def test_bad_wishes(tmp_path, fractions, names, message):
    noise(tmp_path / "a.png", 1)
    path = save(tmp_path / "r.jsonl", record("1", "a.png"))
    before = path.read_text()
    with pytest.raises(ValueError, match=message):
        split_records(path, tmp_path, fractions, names)
    assert path.read_text() == before


def test_nothing_to_split(tmp_path):
    with pytest.raises(ValueError, match="no records"):
        split_records(save(tmp_path / "r.jsonl", "{"), tmp_path / "parts", (0.5, 0.5))
    with pytest.raises(ValueError, match="no record file"):
        split_records(tmp_path / "none.jsonl", tmp_path / "parts", (0.5, 0.5))
    assert not (tmp_path / "parts").exists()
