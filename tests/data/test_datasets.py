"""Data sets: the same sample at the same place everywhere, mixed by weight; broken images."""

import json
import logging
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from samvlm.data.datasets import MixtureDataset
from samvlm.data.records import read_records
from samvlm.data.samples import RecordSource, SynthSource


def write_records(folder, count=7, name="records.jsonl"):
    """`count` images of different sizes with a table each; returns the file's path."""
    lines = []
    for number in range(count):
        image = Image.new("RGB", (40 + 10 * number, 30 + number), "white")
        image.putpixel((number, 0), (0, 0, 0))
        image.save(folder / f"{number}.png")
        target = {"html": f"<table><tr><td>{number}</td><td>a&lt;b</td></tr></table>"}
        lines.append(
            json.dumps({"id": f"r{number}", "image": f"{number}.png", "task": "table", "target": target})
        )
    (folder / name).write_text("\n".join(lines), encoding="utf-8")
    return str(folder / name)


def equal(a, b) -> bool:
    return (a.id, a.answer, a.messages, a.drawn, a.chars) == (
        b.id,
        b.answer,
        b.messages,
        b.drawn,
        b.chars,
    ) and (np.array_equal(a.image, b.image) and np.array_equal(a.centres, b.centres))


def test_a_sample_depends_on_seed_and_index_alone(tmp_path):
    def mixture(seed=3):
        return MixtureDataset(
            [SynthSource("strip"), SynthSource("form"), RecordSource(write_records(tmp_path))], seed
        )

    first, second = mixture(), mixture()
    backwards = [second[i] for i in range(11, -1, -1)]
    assert all(equal(first[i], backwards[11 - i]) for i in range(12))
    assert all(first.plan(i) == second.plan(i) for i in range(100))
    other = mixture(seed=4)
    assert [first.plan(i) for i in range(50)] != [other.plan(i) for i in range(50)]


@pytest.mark.parametrize("kind", ["strip", "table", "question"])
def test_a_plan_is_the_size_of_what_is_drawn(kind):
    data = MixtureDataset([SynthSource(kind)], 1)
    for index in range(6):
        assert data.plan(index) == data[index].image.size
    fixed = MixtureDataset([SynthSource(kind, size=[192, 128])], 1)
    assert fixed.plan(0) == (192, 128) == fixed[0].image.size


def test_a_drawn_sample_is_a_chat_with_the_places_of_its_characters():
    sample = SynthSource("table", size=(256, 128)).load(1, 7)
    assert (sample.id, sample.task, sample.drawn) == ("table-1-7", "table", True)
    assert [turn["role"] for turn in sample.messages] == ["user", "assistant"]
    assert sample.messages[1]["content"] == [{"type": "text", "text": sample.answer}]
    assert len(sample.chars) == len(sample.centres) == len(sample.positions)
    for character, position in zip(sample.chars, sample.positions, strict=True):
        assert position < 0 or sample.answer[position] == character


def test_mixtures_keep_their_weights():
    data = MixtureDataset([SynthSource("strip", 6), SynthSource("form", 3), SynthSource("table", 1)], 2)
    counts = Counter(data.source_of(i).synth for i in range(5000))
    assert counts["strip"] / 5000 == pytest.approx(0.6, abs=0.03)
    assert counts["form"] / 5000 == pytest.approx(0.3, abs=0.03)
    assert counts["table"] / 5000 == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: MixtureDataset([]), "at least one source"),
        (lambda: MixtureDataset([SynthSource("strip", 0)]), "weight above 0"),
        (lambda: SynthSource("tabel"), "unknown kind 'tabel'"),
        (lambda: SynthSource("table", size=[64]), r"size=\[64\]: give \[width, height\]"),
        (lambda: SynthSource("table", options={"colour": 1}), "unknown option 'colour'"),
    ],
)
def test_wrong_settings_are_told(make, told):
    with pytest.raises(ValueError, match=told):
        make()


def test_records_come_once_in_every_pass_and_in_another_order(tmp_path):
    source = RecordSource(write_records(tmp_path))
    passes = [[source.load(5, 7 * number + i).id for i in range(7)] for number in range(3)]
    assert all(sorted(ids) == [f"r{i}" for i in range(7)] for ids in passes)
    assert len({tuple(ids) for ids in passes}) == 3
    assert passes[1] == [source.load(5, i).id for i in range(7, 14)], "going back gives the same"
    sample = source.load(5, 0)
    assert sample.answer == sample.messages[-1]["content"][0]["text"] == f"<fcel>{sample.id[1]}<fcel>a<b<nl>"
    assert not sample.drawn and sample.chars == ""
    assert sample.image.size == source.plan(5, 0)


def test_llava_conversations_and_chats_without_image(tmp_path):
    Image.new("RGB", (50, 40)).save(tmp_path / "a.jpg")
    turns = [
        {"from": "human", "value": "What is it?\n<image>"},
        {"from": "gpt", "value": "Black."},
        {"from": "human", "value": "Sure?"},
        {"from": "gpt", "value": "Yes."},
    ]
    plain = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]
    items = [{"id": "1", "image": "a.jpg", "conversations": turns}, {"id": "2", "conversations": plain}]
    (tmp_path / "llava.json").write_text(json.dumps(items))
    source = RecordSource(str(tmp_path / "llava.json"))
    samples = {source.load(0, i).id: (source.load(0, i), source.plan(0, i)) for i in range(2)}
    seen, size = samples["1"]
    assert [turn["role"] for turn in seen.messages] == ["user", "assistant", "user", "assistant"]
    assert (seen.answer, seen.image.size, size) == ("Yes.", (50, 40), (50, 40))
    silent, size = samples["2"]
    assert (silent.answer, silent.image, size) == ("Ho", None, (0, 0))


def test_a_turned_photo_is_planned_upright(tmp_path):
    path = write_records(tmp_path, 1)
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (80, 30)).save(tmp_path / "0.png", exif=exif)
    source = RecordSource(path)
    assert source.plan(0, 0) == (30, 80) == source.load(0, 0).image.size


def test_broken_images_are_skipped_with_path_and_reason(tmp_path, caplog):
    path = write_records(tmp_path)
    Image.effect_noise((80, 60), 90).save(tmp_path / "3.png")
    whole = (tmp_path / "3.png").read_bytes()
    (tmp_path / "2.png").unlink()
    (tmp_path / "3.png").write_bytes(
        whole[: len(whole) // 2]
    )  # the header is there, half of the pixels is not
    (tmp_path / "5.png").write_text("<html>not found</html>")
    source, again = RecordSource(path), RecordSource(path)
    with caplog.at_level(logging.WARNING, logger="samvlm.data"):
        ids = [source.load(1, i).id for i in range(21)]
    assert ids == [again.load(1, i).id for i in range(21)], "always the same one takes its place"
    assert set(ids) == {"r0", "r1", "r4", "r6"}
    assert len(caplog.messages) == 6  # three records by two sources, each told once
    for name in ("2.png", "3.png", "5.png"):
        (line,) = {line for line in caplog.messages if name in line}
        assert line.startswith(f"skipped record r{name[0]}, image {tmp_path / name}: ")
        assert len(line.split(": ", 1)[1]) > 10
    assert all(source.plan(1, i) for i in range(21))
    told = {refusal for i in range(21) for refusal in source.load(1, i).refused}
    assert {refusal.id for refusal in told} == {"r2", "r3", "r5"}
    assert all(refusal.where == str(tmp_path / f"{refusal.id[1]}.png") for refusal in told)


def test_lines_that_are_no_records_are_left_out_and_told(tmp_path):
    path = write_records(tmp_path, 4)
    with open(path, "a") as file:
        file.write('\n{"id": "x", "image": \n{"id": "q", "messages": [{"role": "user", "content": "hm"}]}\n')
    source = RecordSource(path)
    assert [row.id for row in source.rows] == ["r0", "r1", "r2", "r3"]
    broken, silent = source.refused
    assert broken.where == f"{path}:5" and "no JSON" in broken.reason
    assert silent.id == "q" and "without an answer" in silent.reason


def test_a_file_of_broken_images_is_an_error(tmp_path):
    path = write_records(tmp_path, 3)
    for number in range(3):
        (tmp_path / f"{number}.png").unlink()
    for act in (RecordSource(path).load, RecordSource(path).plan):
        with pytest.raises(
            ValueError, match=r"3 images in a row cannot be read.*paths are relative to the file"
        ):
            act(0, 0)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "has no record with an answer"),
        ('{"id": "1", "image": "a.png"}', "records.jsonl:1"),
        ('{"id": "q", "messages": [{"role": "user", "content": "hm"}]}', "record 'q' ends without an answer"),
    ],
)
def test_bad_record_files_are_told(tmp_path, content, told):
    (tmp_path / "records.jsonl").write_text(content)
    with pytest.raises(ValueError, match=told):
        RecordSource(str(tmp_path / "records.jsonl")).load(0, 0)
    with pytest.raises(ValueError, match="no record file"):
        RecordSource(str(tmp_path / "missing.jsonl")).load(0, 0)


def test_files_are_planned_at_the_models_scale_and_drawn_images_are_not(tmp_path):
    asked = []

    def canvas(width, height):
        asked.append((width, height))
        return width * 4, height * 4

    records = MixtureDataset([RecordSource(write_records(tmp_path, 2))], 0, canvas=canvas)
    assert sorted(records.plan(i) for i in range(2)) == [(160, 120), (200, 124)]
    assert MixtureDataset([SynthSource("strip", size=(128, 64))], 0, canvas=canvas).plan(0) == (128, 64)
    resized = MixtureDataset([SynthSource("strip", size=(128, 64), resize=True)], 0, canvas=canvas)
    assert resized.plan(0) == (512, 256) and not resized[0].drawn
    assert sorted(asked) == [(40, 30), (50, 31), (128, 64)]
    assert len(list(read_records(tmp_path / "records.jsonl"))) == 2


@pytest.mark.parametrize("weights", [(1.0, 1.0), (3.0, 1.0), (0.02, 5.0)])
def test_a_pass_takes_each_record_once_in_a_mixture_too(tmp_path, weights):
    source = RecordSource(write_records(tmp_path), weights[0])
    data = MixtureDataset([source, SynthSource("strip", weights[1])], 4)
    places = [data.place(index) for index in range(6000)]
    numbers = [number for owner, number in places if owner is source]
    assert numbers == list(range(len(numbers))), "each is the next one"
    share = weights[0] / sum(weights)
    assert len(numbers) == pytest.approx(6000 * share, abs=10)
    again = MixtureDataset([source, SynthSource("strip", weights[1])], 4)
    assert [again.place(index) for index in reversed(range(6000))] == places[::-1]
    owners = [owner is source for owner, _ in places[:512]]
    assert owners != sorted(owners) or sum(owners) < 3


def test_records_stay_in_the_file(tmp_path):
    path = write_records(tmp_path, 5)
    with open(path, "a", encoding="utf-8") as file:
        file.write(
            '\n\n{"id": "é", "messages": [{"role": "user", "content": "ü"}, {"role": "assistant", "content": "ß"}]}'
        )
    source = RecordSource(path)
    first = source.rows[5]
    assert (first.id, first.answer, len(source.rows)) == ("é", "ß", 6)
    assert source.rows[5] is not first, "read anew, not kept"
    assert source.rows.lengths[5] == 2
    with open(path, "w") as file:
        file.write("gone")
    with pytest.raises(ValueError, match=r"records.jsonl, byte \d+: no JSON"):
        source.rows[5]
