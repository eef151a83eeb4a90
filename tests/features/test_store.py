"""Features on disk: what is read is what was written, whatever has happened to the files and whoever writes beside."""

import hashlib
import json
import logging
import multiprocessing

import pytest
import torch

from samvlm.features import FeatureStore, Space
from samvlm.features.shards import BadShard, Shard

GIGABYTE = 10**9
SPACE = Space("a" * 64, {"tower": "one"}, torch.float16)
OTHER = Space("a" * 16 + "b" * 48, {"tower": "two"}, torch.float16)  # the same folder, by chance or malice


def key(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


def features(number: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(number)
    return torch.randn(3, 2 + number % 2, 4, generator=generator).half()


def filled(folder, numbers, space=SPACE, most=GIGABYTE) -> FeatureStore:
    store = FeatureStore(folder, space, most)
    for number in numbers:
        assert store.add(key(number), features(number))
    store.flush()
    return store


def shards_of(store: FeatureStore):
    return sorted(store.folder.glob("*.safetensors"))


def test_what_is_read_is_what_was_written(tmp_path):
    filled(tmp_path, range(5))
    store = FeatureStore(tmp_path, SPACE, GIGABYTE)
    assert len(store) == 5 and key(7) not in store and store.get(key(7)) is None
    for number in range(5):
        assert torch.equal(store.get(key(number)), features(number))
    assert json.loads((store.folder / "about.json").read_text()) == {"tower": "one"}


def test_what_waits_is_known_and_new_shards_are_seen(tmp_path):
    reader, writer = FeatureStore(tmp_path, SPACE, GIGABYTE), FeatureStore(tmp_path, SPACE, GIGABYTE)
    writer.add(key(1), features(1))
    assert torch.equal(writer.get(key(1)), features(1))
    assert reader.get(key(1)) is None
    writer.flush()
    assert torch.equal(reader.get(key(1)), features(1))


@pytest.mark.parametrize("fault", ["cut", "flipped", "empty", "text", "header"])
def test_damaged_shards_are_passed_over_and_made_anew(tmp_path, fault, caplog):
    store = filled(tmp_path, [1])
    (path,) = shards_of(store)
    data = bytearray(path.read_bytes())
    if fault == "cut":
        data = data[:-1]
    elif fault == "flipped":
        data[-1] ^= 1
    elif fault == "empty":
        data = bytearray()
    elif fault == "text":
        data = bytearray(b"this is no shard at all")
    else:
        data[20] ^= 0xFF
    path.write_bytes(data)
    store = FeatureStore(tmp_path, SPACE, GIGABYTE)
    with caplog.at_level(logging.WARNING):
        assert FeatureStore(tmp_path, SPACE, GIGABYTE).get(key(1)) is None
    assert str(path) in caplog.text
    assert store.get(key(1)) is None
    filled(tmp_path, [1])
    for _ in range(2):  # the damaged shard is still there, and in the way of no one
        assert torch.equal(FeatureStore(tmp_path, SPACE, GIGABYTE).get(key(1)), features(1))
    again = FeatureStore(tmp_path, SPACE, GIGABYTE)
    assert key(1) in again
    again.get(key(1))
    assert again.add(key(1), features(1))
    again.flush()
    assert len(shards_of(again)) == 2  # made anew once, not in every run


def test_features_of_another_tower_are_not_returned(tmp_path):
    filled(tmp_path, [1], OTHER)
    store = FeatureStore(tmp_path, SPACE, GIGABYTE)
    assert len(store) == 0 and store.get(key(1)) is None
    with pytest.raises(BadShard, match="another tower"):
        Shard(shards_of(store)[0], SPACE.digest)


def test_the_folder_is_bounded_and_says_so(tmp_path, caplog):
    store = FeatureStore(tmp_path, SPACE, 3000)
    with caplog.at_level(logging.WARNING):
        for number in range(0, 200, 2):
            store.add(key(number), features(number))
            store.flush()
    assert store.full and 1000 < store.used() <= 3000
    assert caplog.text.count("is full") == 1
    kept = len(FeatureStore(tmp_path, SPACE, GIGABYTE))
    assert 0 < kept < 20
    assert not store.add(key(1000), features(0))
    assert torch.equal(store.get(key(0)), features(0))


def test_what_is_no_number_is_not_kept(tmp_path):
    store = FeatureStore(tmp_path, SPACE, GIGABYTE)
    assert not store.add(key(1), torch.full((1, 1, 1), float("inf")).half())
    assert not store.add(key(1), torch.zeros(1, 1, 1))  # not the space's dtype
    store.flush()
    assert not shards_of(store)


def test_a_folder_that_went_away_costs_no_error(tmp_path, caplog):
    store = filled(tmp_path, [1])
    for path in shards_of(store):
        path.unlink()
    assert store.get(key(1)) is None
    (store.folder / "about.json").unlink()
    store.folder.rmdir()
    store.add(key(2), features(2))
    store.flush()
    assert store.full and "nothing is added" in caplog.text


def test_a_cut_off_write_leaves_no_shard(tmp_path, monkeypatch):
    store = FeatureStore(tmp_path, SPACE, GIGABYTE)
    store.add(key(1), features(1))
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    store.flush()
    assert store.full and not shards_of(store)


def write_many(folder, start):
    filled(folder, range(start, start + 30))


def test_several_processes_write_at_once(tmp_path):
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write_many, args=(tmp_path, 20 * n)) for n in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    store = FeatureStore(tmp_path, SPACE, GIGABYTE)
    assert len(store) == 70
    assert all(torch.equal(store.get(key(n)), features(n)) for n in range(70))
