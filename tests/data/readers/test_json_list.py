"""Lists in JSON files, read piece by piece: the same as json.loads, and a bad item costs no other."""

import json
import random

import pytest

from samvlm.data.readers import Rejected
from samvlm.data.readers import json_list as module
from samvlm.data.readers.json_list import json_list, read_json


@pytest.fixture(params=[1, 7, 64, 1 << 20])
def chunk(request, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", request.param)


def values(path, key=None):
    return [value for _, value in json_list(path, key)]


def random_value(rng: random.Random, depth: int = 0):
    kind = rng.randrange(7 if depth < 3 else 5)
    if kind == 5:
        return [random_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    if kind == 6:
        return {
            rng.choice(["a", "b]", '"', "é{"]): random_value(rng, depth + 1) for _ in range(rng.randrange(4))
        }
    return rng.choice(["", "a", '\\"{[', "日本\n", "\\", 0, -1.5e10, 123456, True, None, "]}" * 5])


@pytest.mark.parametrize("seed", range(20))
def test_equals_json_loads(tmp_path, chunk, seed):
    rng = random.Random(seed)
    items = [{"n": number, "v": random_value(rng)} for number in range(rng.randrange(6))]
    path = tmp_path / "x.json"
    for text in (
        json.dumps(items),
        json.dumps(items, ensure_ascii=False, indent=2),
        "\ufeff" + json.dumps(items),
    ):
        path.write_text(text, encoding="utf-8")
        assert values(path) == items
    path.write_text(
        json.dumps({"first": [1, {"data": 2}], "t": "]", "data": items, "last": 1}), encoding="utf-8"
    )
    assert values(path, "data") == items
    assert [where for where, _ in json_list(path, "data")] == [
        f"{path}: item {number + 1}" for number in range(len(items))
    ]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ('{"a": }', "no JSON"),
        ("{'a': 1}", "no JSON"),
        ('{"a": [1, 2}', "no JSON"),
        ('{"a": "\\x"}', "no JSON"),
        ("nope", "no JSON"),
        ("17", "got int"),
        ('["a"]', "got list"),
        ('"\\ud800"', "got str"),
        ('{"a": "\\ud800"}', "UTF-8"),
        ("[" * 60_000 + "]" * 60_000, "deeply"),
    ],
)
def test_a_bad_item_costs_no_other(tmp_path, chunk, bad, reason):
    path = tmp_path / "x.json"
    path.write_text(f'[{{"n": 1}}, {bad}, {{"n": 3}}]', encoding="utf-8")
    first, second, third = values(path)
    assert (first, third) == ({"n": 1}, {"n": 3})
    assert isinstance(second, Rejected) and reason in second.reason and second.where == f"{path}: item 2"


def test_bytes_that_are_no_utf8(tmp_path, chunk):
    path = tmp_path / "x.json"
    path.write_bytes(b'[{"a": "\xff"}, {"a": "\xc3\xa9"}]')
    bad, good = values(path)
    assert "UTF-8" in bad.reason and good == {"a": "é"}


@pytest.mark.parametrize(
    ("text", "key", "count", "reason"),
    [
        ('[{"a": 1}, {"a": 2', None, 1, "ends within an item"),
        ('[{"a": 1}', None, 1, "too early"),
        ('[{"a": 1} {"a": 2}]', None, 1, "expected ','"),
        ('[{"a": "never closed}, {"a": 2}]', None, 0, "within an item"),
        ("", None, 0, "too early"),
        ("text", None, 0, "expected '['"),
        ('{"a": 1}', None, 0, "expected '['"),
        ('{"a": 1}', "data", 0, "no 'data'"),
        ('{"data": 1}', "data", 0, "expected '['"),
        ('{"a" 1}', "data", 0, "expected ':'"),
        ('{a: 1, "data": []}', "data", 0, "no JSON"),
    ],
)
def test_a_file_that_breaks_off_says_so_at_the_end(tmp_path, chunk, text, key, count, reason):
    path = tmp_path / "x.json"
    path.write_text(text)
    *good, last = values(path, key)
    assert len(good) == count and all(isinstance(value, dict) for value in good)
    assert isinstance(last, Rejected) and reason in last.reason and last.where == str(path)


def test_items_come_before_the_file_is_read(tmp_path):
    path = tmp_path / "x.json"
    path.write_text("[" + '{"a": "' + "x" * 1000 + '"},' * 5000)
    stream = json_list(path)
    assert next(stream)[1]["a"].startswith("x")
    stream.close()


def test_read_json(tmp_path):
    path = tmp_path / "x.json"
    path.write_text('\ufeff{"a": 1}', encoding="utf-8")
    assert read_json(path) == {"a": 1}
    for content in (b"", b"{", b"\xff\xfe", b"[" * 100_000):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="no JSON"):
            read_json(path)
    with pytest.raises(ValueError, match="cannot be read"):
        read_json(tmp_path / "none.json")
