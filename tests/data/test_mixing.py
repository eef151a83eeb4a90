"""samvlm/data/mixing.py: weights, limits, paths and ids of a mixture."""

from collections import Counter

import pytest
from record_files import noise, record, save

from samvlm.data.mixing import mix_records
from samvlm.data.records import read_records


@pytest.fixture
def files(tmp_path):
    """Three files of 40, 20 and 10 records in folders of their own, with ids that clash."""
    paths = []
    for name, count in (("a", 40), ("b", 20), ("c", 10)):
        (tmp_path / name).mkdir()
        noise(tmp_path / name / "x.png", count)
        paths.append(
            save(
                tmp_path / name / f"{name}.jsonl",
                *(record(str(n), "x.png", source=name) for n in range(count)),
            )
        )
    return paths


def mixed(files, target, **options):
    report = mix_records(files, target, **options)
    records = list(read_records(target))
    assert report.written == {target: len(records)}
    return records


def test_everything_is_taken(files, tmp_path):
    records = mixed(files, tmp_path / "out" / "all.jsonl")
    assert Counter(r.source for r in records) == {"a": 40, "b": 20, "c": 10}
    assert len({r.id for r in records}) == 70 and any("/" in r.id for r in records)
    assert all(r.image.is_file() and r.image.resolve().parent.name == r.source for r in records)
    assert len({r.source for r in records[:12]}) > 1  # not one file after the other


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"weights": [1, 1, 1]}, (10, 10, 10)),
        ({"weights": [4, 2, 1]}, (40, 20, 10)),
        ({"weights": [8, 1, 1]}, (40, 5, 5)),
        ({"weights": [1, 1, 1], "total": 7}, (3, 2, 2)),
        ({"limits": [5, None, 100]}, (5, 20, 10)),
        ({"weights": [1, 1, 1], "limits": [6, None, None]}, (6, 6, 6)),
        ({"total": 7}, (4, 2, 1)),
        ({"total": 500}, (40, 20, 10)),
    ],
)
def test_weights_and_limits(files, tmp_path, options, expected):
    records = mixed(files, tmp_path / "m.jsonl", **options)
    assert tuple(Counter(r.source for r in records)[name] for name in "abc") == expected


def test_the_seed_decides(files, tmp_path):
    def order(seed):
        return [(r.source, r.id) for r in mixed(files, tmp_path / "m.jsonl", total=30, seed=seed)]

    assert order(1) == order(1) != order(2)


def test_what_is_no_record_is_left_out(tmp_path):
    noise(tmp_path / "x.png", 1)
    path = save(tmp_path / "r.jsonl", record("1", "x.png"), "{", record("2", task="?"), record("3", "x.png"))
    report = mix_records([path], tmp_path / "m.jsonl")
    assert report.left_out == 2 and report.written == {tmp_path / "m.jsonl": 2}


def test_bad_wishes(files, tmp_path):
    empty = save(tmp_path / "empty.jsonl", "")
    for options, message in (
        ({"weights": [1, 1]}, "as many weights"),
        ({"weights": [1, 0, 1]}, "above 0"),
        ({"weights": [1, float("nan"), 1]}, "above 0"),
        ({"limits": [1]}, "as many weights and limits"),
    ):
        with pytest.raises(ValueError, match=message):
            mix_records(files, tmp_path / "m.jsonl", **options)
    with pytest.raises(ValueError, match="one of the files"):
        mix_records(files, files[0])
    with pytest.raises(ValueError, match="no records"):
        mix_records([*files, empty], tmp_path / "m.jsonl")
    assert not (tmp_path / "m.jsonl").exists()
