"""samvlm parse in batches: the same output as one by one, and what fails costs only its own file."""

import argparse
import json
from pathlib import Path

import pytest
from documents import drawing, encode, pdf, text_page

from samvlm.cli import main, parse
from samvlm.cli.outputs import StreamOutput
from samvlm.data.tables import Table
from samvlm.generation import ParseResult


class Parser:
    """Stands for a DocumentParser: answers with the image's width, has memory for `room` images at once."""

    model = None

    def __init__(self, room: int = 99, never: int = 0):
        self.room, self.never = room, never
        self.batches: list[list[int]] = []

    def parse_batch(self, images, task, max_new_tokens):
        widths = [image.width for image in images]
        if len(images) > self.room or self.never in widths:
            raise RuntimeError("out of memory\nand a long story")
        self.batches.append(widths)
        return [ParseResult(tables=[Table.from_rows([[str(width)]])]) for width in widths]


@pytest.fixture
def read(tmp_path, monkeypatch, capsys):
    """Parse files with a stand-in; returns (exit code, [(file, page, text)], errors, reader's count of done files)."""
    monkeypatch.chdir(tmp_path)
    readers = []

    class Reader(parse.Reader):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            readers.append(self)

    monkeypatch.setattr(parse, "Reader", Reader)

    def run(parser: Parser, size: int, *files: str):
        monkeypatch.setattr(parse, "load", lambda options: parser)
        code = main(["parse", *files, "-f", "json", "--batch-size", str(size)])
        said = capsys.readouterr()
        rows = [json.loads(line) for line in said.out.splitlines()]
        texts = [(row["file"], row["page"], row["tables"][0]["cells"][0]["text"]) for row in rows]
        return code, texts, said.err.splitlines(), readers[-1].done

    return run


def pictures(*widths: int) -> list[str]:
    for width in widths:
        Path(f"{width}.png").write_bytes(encode(drawing(width, 64), "PNG"))
    return [f"{width}.png" for width in widths]


def test_pages_are_gathered_over_files_and_written_in_order(read):
    files = pictures(100, 101, 102, 103)
    Path("doc.pdf").write_bytes(pdf(text_page("A"), text_page("B"), text_page("C")))
    files.insert(2, "doc.pdf")
    parser = Parser()
    code, texts, errors, done = read(parser, 3, *files)
    assert (code, errors, done) == (0, [], 5)
    pages = [(file, page) for file, page, _ in texts]
    assert pages == [
        ("100.png", 1),
        ("101.png", 1),
        *(("doc.pdf", n) for n in (1, 2, 3)),
        ("102.png", 1),
        ("103.png", 1),
    ]
    assert parser.batches == [[100, 101, 102], [103, 400, 400], [400]]  # sorted by size
    assert all(text == file[:3] for file, _, text in texts if file != "doc.pdf")
    assert read(Parser(), 1, *files)[1] == texts


def test_bad_files_between_the_good(read):
    files = pictures(100, 101, 102)
    Path("cut.png").write_bytes(encode(drawing(), "PNG")[:100])
    code, texts, errors, done = read(Parser(), 2, "missing.png", files[0], "cut.png", files[1], files[2])
    assert code == 2 and done == 3 and [text for *_, text in texts] == ["100", "101", "102"]
    assert [line.split(": ")[2] for line in errors] == ["missing.png", "cut.png"]


def test_a_batch_without_memory_is_parsed_one_by_one(read):
    parser = Parser(room=1)
    code, texts, errors, done = read(parser, 4, *pictures(100, 101, 102))
    assert (code, errors, done) == (0, [], 3) and parser.batches == [[100], [101], [102]]
    assert [text for *_, text in texts] == ["100", "101", "102"]


def test_what_cannot_be_parsed_costs_its_own_file(read):
    code, texts, errors, done = read(Parser(never=101), 3, *pictures(100, 101, 102))
    assert code == 2 and done == 2 and [text for *_, text in texts] == ["100", "102"]
    assert errors == ["samvlm: error: 101.png: out of memory"]


def test_a_document_ends_with_its_first_page_that_cannot_be_parsed(read):
    Path("doc.pdf").write_bytes(pdf("", "", "", "", box="0 0 200 100"))
    width = 400  # at 144 dpi
    files = ["doc.pdf", *pictures(100)]
    for size in (1, 3, 9):
        code, texts, errors, done = read(Parser(never=width), size, *files)
        assert code == 2 and done == 1 and [text for *_, text in texts] == ["100"]
        assert errors == ["samvlm: error: doc.pdf: out of memory"]


def test_done_counts_what_is_written(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(parse, "load", lambda options: Parser())
    monkeypatch.setattr(parse, "WINDOW", 1)
    options = argparse.Namespace(
        password=None,
        max_pages=None,
        batch_size=2,
        task="table",
        max_new_tokens=None,
        output=None,
        timing=False,
    )
    reader = parse.Reader(options, StreamOutput("json"))
    counts = []
    for number, file in enumerate(["missing.png", *pictures(100, 101, 102)]):
        reader.read(number, file)
        counts.append((reader.done, len(reader.failed)))
    assert counts == [(0, 1), (0, 1), (2, 1), (2, 1)]
    reader.parse_waiting()
    assert reader.done == 3 and reader.worst == 2


def test_how_many_pages_wait(read, monkeypatch):
    files = pictures(*range(100, 120))
    for size, expected in ((2, [2] * 10), (1, [1] * 20)):
        parser = Parser()
        assert read(parser, size, *files)[1] == read(Parser(), 1, *files)[1]
        assert [len(batch) for batch in parser.batches] == expected
    monkeypatch.setattr(parse, "WAITING_PIXELS", 3 * 100 * 64)
    parser = Parser()
    assert read(parser, 9, *files)[0] == 0
    assert [len(batch) for batch in parser.batches] == [3] * 6 + [2]


def test_files_are_written_in_batches_tables_shown_one_by_one(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    files = pictures(100, 101, 102)
    alone = [1, 1, 1]
    cases = [(["-o", "a"], 8, [3]), (["-o", "b"], 1, alone), ([], 8, alone)]
    cases.append((["-o", "c", "--batch-size", "3"], 1, [3]))
    for options, best, expected in cases:
        parser = Parser()
        parser.batch_size = best
        monkeypatch.setattr(parse, "load", lambda options, parser=parser: parser)
        assert main(["parse", *files, *options]) == 0
        assert [len(batch) for batch in parser.batches] == expected


def test_a_real_model_gives_the_same_in_batches(tiny_checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    outputs = set()
    files = pictures(100, 200, 60, 100)
    for size in ("1", "2", "9"):
        options = ["--model", str(tiny_checkpoint), "--device", "cpu", "--max-new-tokens", "20"]
        assert main(["parse", *files, *options, "--batch-size", size, "-f", "otsl"]) == 0
        outputs.add(capsys.readouterr().out)
    assert len(outputs) == 1
