"""Streams of rows: every row once in a pass, in the seed's order, in shares, resumed exactly; what is wrong is told."""

import io
import itertools
import json
import shutil

import numpy as np
import pytest
from PIL import Image
from table_rows import chat_row, chats, png, write
from torch.utils.data import DataLoader

from samvlm.data.datasets import MixtureDataset, SizeBatchSampler
from samvlm.data.samples import SynthSource
from samvlm.data.streams import StreamSource

TURNS = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "This."}]


def ids(source: StreamSource, count: int, seed: int = 1, start: int = 0) -> list[str]:
    return [source.sample(seed, number).id for number in range(start, start + count)]


def stream(path, **more) -> StreamSource:
    return StreamSource(parquet=str(path), **{"shuffle": 8, **more})


@pytest.mark.parametrize("shuffle", [0, 8, 1000])
def test_a_pass_has_every_row_once_in_the_order_of_the_seed(tmp_path, shuffle):
    folder = chats(tmp_path)
    source = stream(folder, shuffle=shuffle)
    passes = [ids(source, 30, start=30 * number) for number in range(3)]
    assert all(sorted(one) == sorted(f"c{number}" for number in range(30)) for one in passes)
    assert ids(stream(folder, shuffle=shuffle), 90) == list(itertools.chain(*passes)), (
        "another one reads the same"
    )
    assert ids(source, 30) == passes[0], "asking back starts again"
    if shuffle:
        assert passes[0] != passes[1] and ids(source, 30, seed=2) != passes[0]
    else:
        assert passes[0] == passes[1] == [f"c{number}" for number in range(30)]


def test_a_sample_is_the_chat_of_the_row_with_its_image(tmp_path):
    source = stream(write(tmp_path / "a.parquet", [chat_row(3)]))
    row = source.sample(0, 0)
    assert (row.id, row.size, row.where) == ("c3", (64, 32), f"{tmp_path / 'a.parquet'}: group 1, row 1")
    sample = source.load(0, 0)
    assert np.array_equal(np.asarray(sample.image), np.asarray(Image.open(io.BytesIO(png(3)))))
    assert sample.messages[0]["content"] == [{"type": "image"}, {"type": "text", "text": "Read number 3."}]
    assert sample.answer == "3 3 3 3 " and not sample.drawn and sample.usable


@pytest.mark.parametrize(("rows", "world"), [(10, 2), (10, 3), (3, 2), (5, 4)])
def test_shares_are_disjoint_and_whole(tmp_path, rows, world):
    folder = chats(tmp_path, files=1 if rows < 10 else 3, rows=rows)
    total = rows if rows < 10 else 30
    table = stream(folder).table
    shares = [[[row["id"] for _, row in table.rows(seed, r, world)] for seed in (4, 5)] for r in range(world)]
    assert all(sorted(one) == sorted(other) for one, other in shares), "the same rows in every pass"
    together = itertools.chain(*(one for one, _ in shares))
    assert sorted(together) == sorted(f"c{number}" for number in range(total))
    sources = [stream(folder) for _ in range(world)]
    for rank, source in enumerate(sources):
        source.share(rank, world)
        assert sorted(ids(source, len(shares[rank][0]))) == sorted(shares[rank][0])


def test_rows_passed_over_are_not_read_and_the_rest_is_the_same(tmp_path, monkeypatch):
    table = stream(chats(tmp_path)).table
    for rank, world in ((0, 1), (1, 2), (3, 20)):
        whole = list(table.rows(5, rank, world))
        for skip in (0, 1, 3, len(whole)):
            assert list(table.rows(5, rank, world, skip)) == whole[skip:]
    opened = []
    group = table._group
    monkeypatch.setattr(table, "_group", lambda file, number: opened.append(number) or group(file, number))
    assert len(list(table.rows(5, skip=25))) == 5 and len(opened) <= 3


LAYOUTS = {
    "chat": ({"images": [png(1)], "messages": chat_row(1)["messages"]}, "1 1 "),
    "parts": (
        {
            "image": png(1),
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image", "text": None}, {"type": "text", "text": "What?"}],
                },
                {"role": "assistant", "content": [{"type": "text", "text": "This."}]},
            ],
        },
        "This.",
    ),
    "llava": ({"image": {"bytes": png(1), "path": "x.png"}, "conversations": TURNS}, "This."),
    "texts": (
        {"images": [png(1)], "texts": [{"user": "What?", "assistant": "This.", "source": "s"}]},
        "This.",
    ),
    "otsl": (
        {
            "filename": "t.png",
            "image": png(1),
            "otsl": ["fcel", "fcel", "nl"],
            "cells": [[{"tokens": ["a"], "bbox": [0, 0, 1, 1]}, {"tokens": ["b"], "bbox": [1, 0, 2, 1]}]],
        },
        "<fcel>a<fcel>b<nl>",
    ),
    "docvqa": ({"questionId": "7", "image": png(1), "question": "Who?", "answers": ["Ann", "ann"]}, "Ann"),
    "vqa without ids": ({"image": png(1), "question": "Who?", "answers": ["Ann"]}, "Ann"),
    "record": (
        {
            "id": "r",
            "image": png(1),
            "task": "table",
            "target": {"html": "<table><tr><td>a</td></tr></table>"},
        },
        "<fcel>a<nl>",
    ),
    "record, target as text": (
        {"id": "r", "image": png(1), "task": "text", "target": json.dumps({"text": "Hello"})},
        "Hello",
    ),
    "text alone": (
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
        "b",
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(tmp_path, name):
    row, answer = LAYOUTS[name]
    sample = stream(write(tmp_path / "a.parquet", [{**row, "unread": "x" * 100}])).load(0, 0)
    assert sample.answer == answer and sample.id
    assert (sample.image is None) == (name == "text alone")


def test_columns_of_other_names_and_images_that_are_files(tmp_path):
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "1.png").write_bytes(png(1))
    path = write(tmp_path / "a.parquet", [{"page": "1.png", "chat": TURNS, "messages": "something else"}])
    columns = {"image": "page", "conversations": "chat", "dataset": "messages"}
    sample = stream(path, columns=columns, images=str(tmp_path / "pages")).load(0, 0)
    assert (sample.answer, sample.image.size) == ("This.", (48, 32))
    with pytest.raises(ValueError, match="has no column pages: it has page, chat, messages"):
        stream(path, columns={"image": "pages"}).load(0, 0)


def test_rows_of_the_hub_open_no_files_of_this_machine(tmp_path, monkeypatch):
    (tmp_path / "secret.png").write_bytes(png(1))
    path = write(tmp_path / "a.parquet", [{"image": str(tmp_path / "secret.png"), "messages": TURNS}])
    source = StreamSource(dataset="someone/tables")
    source.__dict__["table"] = stream(path).table
    with pytest.raises(ValueError, match=r"1 rows in a row cannot be used.*no image bytes"):
        source.sample(0, 0)
    assert stream(path).load(0, 0).image.size == (48, 32)


def test_rows_that_are_wrong_are_left_out_with_place_and_reason(tmp_path):
    rows = [chat_row(number) for number in range(8)]
    rows[1]["messages"] = rows[1]["messages"][:1]
    rows[2]["images"] = [{"bytes": b"<html>not found</html>", "path": None}]
    rows[3]["images"] = rows[3]["images"] * 2
    rows[4]["images"] = []
    whole = png(5, (400, 300))
    rows[5]["images"] = [
        {"bytes": whole[: len(whole) // 2], "path": None}
    ]  # with its header, and without its end
    path = write(tmp_path / "a.parquet", rows)
    source = stream(path, shuffle=0)
    samples = [source.load(0, number) for number in range(4)]
    assert [sample.id for sample in samples] == ["c0", "c5", "c6", "c7"]
    assert [sample.usable for sample in samples] == [True, False, True, True]
    told = [refusal for sample in samples for refusal in sample.refused]
    assert [refusal.id for refusal in told] == ["c1", "c2", "c3", "c4", "c5"]
    assert [refusal.where for refusal in told] == [
        f"{path}: group {n // 4 + 1}, row {n % 4 + 1}" for n in range(1, 6)
    ]
    words = ("without an answer", "image", "2 images", "0 image", "truncated")
    for refusal, word in zip(told, words, strict=True):
        assert word in refusal.reason, refusal
    assert samples[1].refused[-1].id == "c5" and samples[0].refused == ()


def test_files_that_are_broken(tmp_path):
    folder = chats(tmp_path, files=3)
    good = (folder / "train-00001-of-00003.parquet").read_bytes()
    (folder / "train-00000-of-00003.parquet").write_bytes(good[:500])
    half = bytearray((folder / "train-00002-of-00003.parquet").read_bytes())
    half[60 : len(half) // 3] = b"\x00" * (len(half) // 3 - 60)  # its end, and so its directory, is whole
    (folder / "train-00002-of-00003.parquet").write_bytes(half)
    source = stream(folder, shuffle=0)
    assert [refusal.where for refusal in source.refused] == [str(folder / "train-00000-of-00003.parquet")]
    names = ids(source, 12)
    assert names[:10] == [f"c{number}" for number in range(10, 20)]
    first = source.sample(1, 10)
    assert first.refused and all("train-00002" in refusal.where for refusal in first.refused)
    for path in folder.glob("*.parquet"):
        path.write_bytes(b"PAR1")
    with pytest.raises(
        ValueError, match=r"no parquet file with rows that can be read; the first: .*train-00000"
    ):
        stream(folder).sample(0, 0)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "either parquet: PATH or dataset: NAME"),
        ({"parquet": "a", "dataset": "b"}, "either parquet: PATH or dataset: NAME"),
        ({"parquet": "a", "shuffle": -1}, "shuffle=-1"),
        ({"parquet": "nowhere/*.parquet"}, r"nowhere/\*.parquet: no .parquet file"),
        ({"dataset": "nowhere/at-all-folder"}, "dataset nowhere/at-all-folder, split train: "),
    ],
)
def test_wrong_settings_are_told(settings, told, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ValueError, match=told):
        StreamSource(**settings).table  # noqa: B018


def test_columns_of_no_known_layout_and_rows_that_all_fail(tmp_path):
    with pytest.raises(ValueError, match="columns caption, picture are of no known layout: name those"):
        stream(write(tmp_path / "a.parquet", [{"picture": png(1), "caption": "x"}])).sample(0, 0)
    rows = [chat_row(number, images=[]) for number in range(150)]
    with pytest.raises(
        ValueError, match=r"100 rows in a row cannot be used, the first is .*b.parquet: group"
    ):
        stream(write(tmp_path / "b.parquet", rows)).sample(0, 0)
    with pytest.raises(ValueError, match="3 rows in a row cannot be used"):
        stream(write(tmp_path / "c.parquet", rows[:3])).sample(0, 0)


def batches_of(sources, count, seed=1, start=0, **settings) -> list[list[str]]:
    data = MixtureDataset(sources, seed)
    sampler = SizeBatchSampler(data, 48 * 32 * 4, window=16, seed=seed, **settings)
    return [[data[item].id for item in batch] for batch in itertools.islice(sampler, start, count)]


def test_a_mixture_with_others_keeps_weights_and_resumes_by_skipping(tmp_path):
    folder = chats(tmp_path)

    def sources():
        return [stream(folder, weight=3.0), SynthSource("strip", 1.0, size=(64, 32))]

    whole = batches_of(sources(), 60)
    assert batches_of(sources(), 60, start=41) == whole[41:]
    names = list(itertools.chain(*whole))
    streamed = [name for name in names if name.startswith("c")]
    assert len(streamed) / len(names) == pytest.approx(0.75, abs=0.05)
    assert any(len({name[0] for name in batch}) == 2 for batch in whole), "of one size, from both"
    assert (
        len(set(streamed)) == 30
        and max(map(streamed.count, streamed)) - min(map(streamed.count, streamed)) <= 1
    )


def test_workers_get_what_was_read(tmp_path):
    folder = chats(tmp_path)

    def names(workers):
        data = MixtureDataset([stream(folder)], 1)
        sampler = SizeBatchSampler(data, 48 * 32 * 4, window=16)
        loader = DataLoader(data, batch_sampler=sampler, num_workers=workers, collate_fn=list)
        return [[(s.id, s.image.tobytes()) for s in batch] for batch in itertools.islice(loader, 20)]

    assert names(2) == names(0)


def test_processes_read_shares(tmp_path):
    folder, seen = chats(tmp_path), []
    for rank in range(2):
        data = MixtureDataset([stream(folder), SynthSource("strip", size=(64, 32))], 1)
        data.share(rank, 2)
        items = [data.fetch(index) for index in range(24)]
        seen.append({data[item].id for item in items})
    assert not seen[0] & seen[1]


@pytest.mark.parametrize("streaming", [True, False])
def test_a_data_set_of_the_hub_goes_through_its_library(tmp_path, monkeypatch, streaming):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder, asked = chats(tmp_path / "data"), []
    load = datasets.load_dataset

    def from_hub(name, config=None, **settings):
        asked.append((name, config, settings))
        return load(str(folder), cache_dir=str(tmp_path / "cache"), **settings)

    monkeypatch.setattr(datasets, "load_dataset", from_hub)

    def source():
        return StreamSource(dataset="someone/tables", config="english", streaming=streaming, shuffle=8)

    first = source()
    passes = [ids(first, 30, start=30 * number) for number in range(2)]
    assert asked == [("someone/tables", "english", {"split": "train", "streaming": streaming})]
    assert all(sorted(one) == sorted(f"c{number}" for number in range(30)) for one in passes)
    assert passes[0] != passes[1] and passes[0] != sorted(passes[0], key=lambda name: int(name[1:]))
    again = source()
    assert ids(again, 60) == list(itertools.chain(*passes))
    assert again.load(1, 60).image.size[1] == 32
    whole = [name for name, _ in again.table.rows(7)]
    assert [name for name, _ in again.table.rows(7, skip=13)] == whole[13:]
    shares = [[row["id"] for _, row in again.table.rows(7, rank, 2)] for rank in range(2)]
    assert sorted(shares[0] + shares[1]) == sorted(f"c{number}" for number in range(30))


def test_a_folder_of_images_with_metadata(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "data" / "train"
    folder.mkdir(parents=True)
    lines = []
    for number in range(4):
        (folder / f"{number}.png").write_bytes(png(number))
        lines.append(json.dumps({"file_name": f"{number}.png", "conversations": TURNS}))
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    source = StreamSource(dataset=str(tmp_path / "data"), shuffle=0)
    samples = [source.load(0, number) for number in range(4)]
    assert [sample.image.size for sample in samples] == [(40 + 8 * n, 32) for n in range(4)]
    assert {sample.answer for sample in samples} == {"This."}
    shutil.rmtree(tmp_path / "data")
