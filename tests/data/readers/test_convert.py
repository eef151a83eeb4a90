"""Conversion: records that train, images beside them, everything that is missing written down, whole or absent."""

import json
import os
import random
import signal

import numpy as np
import pytest
from documents import drawing, encode, pdf
from PIL import Image
from random_tables import random_table
from token_tables import held, save_image, save_lines, token_form

from samvlm.data.datasets import RecordSource
from samvlm.data.images import DocumentError
from samvlm.data.lock import alone_in
from samvlm.data.readers import READERS, Item, NamedReader, Rejected
from samvlm.data.readers.convert import convert
from samvlm.data.readers.items import Stream, map_in_order
from samvlm.data.records import read_records

HTML = "<html><body><table><tr><td>a</td></tr></table></body></html>"


def item(identity: str, image=b"", **changes) -> Item:
    fields = {"task": "table", "target": {"html": HTML}, "source": "s", "licence": None} | changes
    return Item(identity, image or encode(drawing(), "PNG"), **fields)


@pytest.fixture
def reader(monkeypatch):
    """Let the data set "made" yield what the test appends to the list."""
    made = []

    def read_made(path, split=None, extra_option=0):
        return iter([entry for entry in made if split is None or getattr(entry, "split", split) == split])

    class Made:
        name = "made"
        function = staticmethod(read_made)

        def __call__(self, path, split=None, **options):
            return read_made(path, split, **options)

        check_options = NamedReader.check_options

    monkeypatch.setitem(READERS, "made", Made())
    return made


def rejected_in(output):
    path = output.with_name(output.name + ".rejected.jsonl")
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else None


@pytest.mark.parametrize("name", READERS)
def test_every_name_reads_and_refuses_at_once(tmp_path, name):
    assert READERS[name].summary and READERS[name].path
    pytest.importorskip("pyarrow.parquet") if name in ("otsl", "docvqa") else None
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(ValueError, match=r"\w+"):
            READERS[name](path)  # before the first item is asked for
    odd = tmp_path / "odd.bin"
    odd.write_bytes(b"\0\1\2")
    try:
        found = list(READERS[name](odd))
    except ValueError:
        return
    assert found and all(isinstance(entry, Rejected) for entry in found)


def test_records_of_pubtabnet_train(tmp_path):
    tables = [held(random_table(random.Random(seed))) for seed in range(20)]
    lines = []
    for n, table in enumerate(tables):
        split = "val" if n % 4 == 0 else "train"
        save_image(tmp_path / "data" / split / f"{n}.png", 60 + n)
        lines.append({"filename": f"{n}.png", "split": split, "imgid": n, "html": token_form(table)})
    save_lines(tmp_path / "data" / "PubTabNet_2.0.0.jsonl", *lines, "{broken")
    output = tmp_path / "out" / "records.jsonl"
    report = convert("pubtabnet", tmp_path / "data", output)
    assert (report.written, report.by_split, report.renamed) == (20, {"val": 5, "train": 15}, 0)
    assert [entry.reason[:7] for entry in report.rejected] == ["no JSON"]
    assert rejected_in(output)[0]["where"].endswith(":21") and report.rejected_file.is_file()
    records = list(read_records(output))
    for n, (record, table) in enumerate(zip(records, tables, strict=True)):
        assert record.answer == table.to_otsl()
        assert record.image.resolve() == tmp_path / "data" / record.extra["split"] / f"{n}.png"
        assert len(record.extra["boxes"]) == len(table.cells)
        assert (record.source, record.licence) == ("pubtabnet", "CDLA-Permissive-1.0")
    source = RecordSource(str(output))
    assert {source.load(0, n).image.width for n in range(20)} == set(range(60, 80))
    assert not (tmp_path / "out" / "records_images").exists()
    assert '"image": "../data/val/0.png"' in output.read_text()


def test_bytes_and_drawings_become_files(tmp_path, reader):
    picture = Image.new("RGB", (40, 30), (10, 200, 30))
    reader += [
        item("a/b.png", split="train"),
        item("a_b", encode(drawing(), "JPEG"), split="train"),
        item("A_B", encode(drawing(), "GIF"), split="train"),
        item("..", encode(drawing(), "TIFF")),
        item("日本", lambda: picture),
        item("x" * 300, encode(drawing(), "BMP")),
        item("web", encode(drawing(), "WEBP", lossless=True), split="../odd"),
        item("table.v1.2", encode(drawing(), "PNG")),
    ]
    output = tmp_path / "r.jsonl"
    assert convert("made", "x", output, workers=3).written == 8
    records = {record.id: record for record in read_records(output)}
    assert list(records) == [entry.id for entry in reader]
    names = [record.image.relative_to(tmp_path).as_posix() for record in records.values()]
    assert names == [
        "r_images/train/a_b.png",
        "r_images/train/a_b-2.jpg",
        "r_images/train/A_B-3.gif",
        "r_images/image.tif",
        "r_images/image-2.png",
        f"r_images/{'x' * 100}.bmp",
        "r_images/web.webp",
        "r_images/table.v1.2.png",
    ]
    assert records["a/b.png"].image.read_bytes() == reader[0].image  # as they were
    assert np.array_equal(np.asarray(Image.open(records["日本"].image)), np.asarray(picture))


def test_everything_that_is_lost_is_written_down(tmp_path, reader):
    def broken():
        raise DocumentError("page 1 is damaged")

    reader += [
        item("good"),
        Rejected("file:7", "no JSON"),
        item("text", b"plain text"),
        item("draw", broken),
        item("missing", tmp_path / "none.png"),
        item("none", target={"html": "no table"}),
        item("task", task="other"),
        item("value", extra={"odd": {1, 2}}),
        item("asked", task="question", target={"question": "Why?"}),
        item("last", extra={"id": "not mine", "boxes": [None], "note": "kept"}),
    ]
    output = tmp_path / "r.jsonl"
    report = convert("made", "x", output)
    assert report.written == 2 and len(report.rejected) == 8
    lines = rejected_in(output)
    assert [line["where"] for line in lines] == ["file:7", *(entry.id for entry in reader[2:9])]
    words = ["no JSON", "no PNG", "damaged", "no image at", "no table", "unknown task", "set", "answer"]
    assert all(word in line["reason"] for line, word in zip(lines, words, strict=True)), lines
    last = list(read_records(output))[-1]
    assert (last.id, last.extra) == ("last", {"boxes": [None], "note": "kept"})
    assert sorted(path.name for path in (tmp_path / "r_images").iterdir()) == ["good.png", "last.png"]
    del reader[1:-1]
    assert convert("made", "x", output).rejected_file is None
    assert rejected_in(output) is None  # nothing of the earlier run stays


def test_repeated_ids_become_unique(tmp_path, reader):
    reader += [item("a"), item("a"), item("a#2"), item("a"), item("  ")]
    report = convert("made", "x", tmp_path / "r.jsonl")
    records = list(read_records(tmp_path / "r.jsonl"))
    assert [record.id for record in records] == ["a", "a#2", "a#2#2", "a#3", "record"]
    assert [record.extra.get("id_in_data") for record in records] == [None, "a", "a#2", "a", "  "]
    assert report.renamed == 4
    assert len({record.image for record in records}) == 5


def test_limit_and_split(tmp_path, reader):
    reader += [item(str(n), split=("train", "val")[n % 2]) for n in range(30)]
    reader.insert(3, Rejected("w", "r"))
    output = tmp_path / "r.jsonl"
    for workers in (1, 4):
        report = convert("made", "x", output, split="train", limit=4, workers=workers)
        assert (report.written, report.by_split) == (4, {"train": 4})
        assert [record.id for record in read_records(output)] == ["0", "2", "4", "6"]
        assert {path.stem for path in (tmp_path / "r_images" / "train").iterdir()} == {"0", "2", "4", "6"}
    with pytest.raises(ValueError, match="no entry of the split 'test'"):
        del reader[3]
        convert("made", "x", output, split="test")
    assert len(list(read_records(output))) == 4


def test_a_broken_run_changes_nothing(tmp_path, reader):
    output = tmp_path / "r.jsonl"
    reader += [item("a"), item("b")]
    convert("made", "x", output)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def stop():
        raise KeyboardInterrupt

    reader[:] = [item("a", encode(drawing(200), "PNG")), item("new"), item("c", stop)]
    with pytest.raises(KeyboardInterrupt):
        convert("made", "x", output)
    reader[:] = [Rejected("everything", "is broken")]
    with pytest.raises(ValueError, match="none of 1 entries can be read; the first, everything: is broken"):
        convert("made", "x", output)
    assert rejected_in(output) == [{"where": "everything", "reason": "is broken"}]
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    after.pop(tmp_path / "r.jsonl.rejected.jsonl")
    assert after == before
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX")
def test_two_runs_do_not_write_one_output(tmp_path, reader):
    reader.append(item("a"))
    ready, never = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        with alone_in(tmp_path / ".r_images.partial", "nothing"):
            (tmp_path / ".r_images.partial" / "a.png").write_bytes(b"of the other run")
            os.write(ready[1], b"x")
            os.read(never[0], 1)
    os.read(ready[0], 1)
    with pytest.raises(ValueError, match=rf"in use by another run \(process {pid} on .*another output"):
        convert("made", tmp_path, tmp_path / "r.jsonl")
    assert (tmp_path / ".r_images.partial" / "a.png").is_file()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert convert("made", tmp_path, tmp_path / "r.jsonl").written == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.jsonl", "r_images"]


def test_a_folder_that_holds_its_own_records(tmp_path):
    (tmp_path / "a.pdf").write_bytes(pdf("50 60 40 20 re f"))
    (tmp_path / "a.html").write_text(HTML)
    output = tmp_path / "records.jsonl"
    for _ in range(2):
        report = convert("folder", tmp_path, output, dpi=72, licence="CC0-1.0")
        assert (report.written, report.rejected) == (1, [])
    (record,) = read_records(output)
    assert Image.open(record.image).size == (200, 100)
    assert record.licence == "CC0-1.0"


def test_images_in_a_folder_that_is_called_as_its_own(tmp_path, reader):
    reader += [
        item("a", save_image(tmp_path / "r_images" / "b.png", 50)),
        item("b", encode(drawing(70), "PNG")),
    ]
    with pytest.raises(ValueError, match="give the output another name"):
        convert("made", "x", tmp_path / "r.jsonl")
    assert [path.name for path in tmp_path.iterdir()] == ["r_images"]
    assert Image.open(tmp_path / "r_images" / "b.png").width == 50
    convert("made", "x", tmp_path / "s.jsonl")
    assert [Image.open(record.image).width for record in read_records(tmp_path / "s.jsonl")] == [50, 70]


def test_bad_arguments(tmp_path, reader):
    reader.append(item("a"))
    for arguments, message in (
        ({"name": "unheard"}, "unknown data set 'unheard'; use one of folder, pubtabnet"),
        ({"limit": 0}, "limit=0"),
        ({"output": tmp_path}, "a folder; name the file"),
        ({"colour": 1}, "has no option colour; it has extra_option"),
    ):
        with pytest.raises(ValueError, match=message):
            convert(**{"name": "made", "path": "x", "output": tmp_path / "r.jsonl"} | arguments)
    assert not list(tmp_path.iterdir())


def test_order_holds_with_threads():
    seen = []

    def numbers():
        for n in range(100):
            seen.append(n)
            yield n

    assert list(map_in_order(lambda n: n * n, range(100), 5)) == [n * n for n in range(100)]
    ahead = map_in_order(lambda n: n, numbers(), 3)
    assert next(ahead) == 0 and len(seen) <= 7  # it does not run away
    ahead.close()
    with pytest.raises(ZeroDivisionError):
        list(map_in_order(lambda n: 1 // (n - 2), range(9), 2))


def test_a_stream_counts_what_it_has_read():
    entries = [("1", 1), ("2", Rejected("2", "broken")), ("3", 3), ("4", None), ("5", 5)]
    stream = Stream(entries, lambda n: None if n == 3 else item(str(n + 0)), lambda: 5)
    assert isinstance(next(stream), Item) and (stream.done, stream.total()) == (1, 5)
    assert [type(one) for one in stream] == [Rejected, Rejected, Item]
    assert stream.done == 5
