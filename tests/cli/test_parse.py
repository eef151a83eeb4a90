"""samvlm parse: formats, files, folders, and bad input beside good."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from documents import drawing, encode, encrypted_pdf, pdf, text_page
from lxml import html

from samvlm.cli import main
from samvlm.cli.outputs import FolderOutput, StreamOutput, unique_stems, write_whole
from samvlm.data.images import DocumentError, open_image
from samvlm.data.tables import Table
from samvlm.generation import ParseResult


@pytest.fixture
def parse(tiny_checkpoint, tmp_path, monkeypatch, capsys):
    """Run `samvlm parse` in an empty folder; returns (exit code, output, lines of errors)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, model: Path | None = tiny_checkpoint) -> tuple[int, str, list[str]]:
        options = ["--model", str(model)] if model else []
        code = main(["parse", *arguments, *options, "--device", "cpu", "--max-new-tokens", "12"])
        said = capsys.readouterr()
        return code, said.out, [line for line in said.err.splitlines() if "reached its limit" not in line]

    return run


def picture(name: str, format: str = "PNG") -> str:
    Path(name).write_bytes(encode(drawing(), format))
    return name


def test_formats_on_standard_output(parse):
    file = picture("a.png")
    out = {}
    for format in ("text", "html", "md", "csv", "json", "otsl"):
        code, out[format], errors = parse(file, "-f", format)
        assert code == 0 and errors == [], format
    table = Table.from_otsl(out["otsl"])
    assert Table.from_html(out["html"]).to_rows() == table.to_rows()
    assert html.document_fromstring(out["html"]).find("head/meta").get("charset") == "utf-8"
    assert Table.from_markdown(out["md"]).n_cols == table.n_cols
    assert Table.from_csv(out["csv"]).n_cols == table.n_cols
    values = json.loads(out["json"])
    assert values["file"] == "a.png" and Table.from_dict(values["tables"][0]) == table
    assert parse(file)[1] == out["text"]


def test_several_inputs_on_standard_output(parse):
    files = [picture("a.png"), picture("b.jpg", "JPEG")]
    code, out, _ = parse(*files, "-f", "html")
    body = html.document_fromstring(out).find("body")
    assert code == 0 and [heading.text for heading in body.findall("h2")] == files
    assert out.count("<!DOCTYPE") == 1 and out.endswith("</html>\n") and len(body.findall("table")) == 2
    assert [json.loads(line)["file"] for line in parse(*files, "-f", "json")[1].splitlines()] == files
    text = parse(*files)[1]
    assert text.startswith("a.png\n") and "\n\nb.jpg\n" in text
    assert "## b.jpg" in parse(*files, "-f", "md")[1]


def test_a_folder_gets_a_file_for_each_input_and_page(parse):
    Path("doc.pdf").write_bytes(pdf(text_page("A"), text_page("B")))
    code, out, errors = parse(picture("a.png"), "doc.pdf", "-f", "csv", "-o", "made/here")
    assert (code, out, errors) == (0, "", [])
    assert sorted(os.listdir("made/here")) == ["a.csv", "doc.csv", "doc.p2.csv"]
    assert parse("a.png", "-o", "made")[0] == 0
    text = Path("made/a.html").read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>") and "<title>a.png</title>" in text
    assert Path("made/a.html").stat().st_mode & 0o777 == 0o666 & ~current_umask()


def current_umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


def test_existing_files_stay_without_force(parse):
    picture("a.png"), picture("b.png")
    Path("out").mkdir()
    Path("out/a.csv").write_text("mine")
    code, _, errors = parse("a.png", "b.png", "-f", "csv", "-o", "out")
    assert code == 2 and len(errors) == 1 and "--force" in errors[0]
    assert Path("out/a.csv").read_text() == "mine" and Path("out/b.csv").exists()
    assert parse("a.png", "-f", "csv", "-o", "out", "--force")[0] == 0
    assert Path("out/a.csv").read_text() != "mine"


def test_inputs_of_one_stem_do_not_meet(parse):
    Path("sub").mkdir()
    files = [picture("a.png"), picture("a.jpg", "JPEG"), picture("sub/A.png"), picture("a-2.png")]
    assert parse(*files, "-f", "otsl", "-o", "out", "--force")[0] == 0
    assert sorted(os.listdir("out")) == ["A-4.otsl", "a-2.otsl", "a-3.otsl", "a.otsl"]


def test_a_page_does_not_overwrite_another_input(parse):
    Path("a.pdf").write_bytes(pdf("", ""))
    code, _, errors = parse(picture("a.p2.png"), "a.pdf", "-f", "otsl", "-o", "out", "--force")
    assert code == 2 and "written for another input" in errors[0]


def test_unique_stems():
    assert unique_stems(["x/a.png", "y/a.png", "a.tif"]) == ["a", "a-2", "a-3"]
    assert unique_stems(["a.png", "a.jpg", "a-2.png"]) == ["a", "a-3", "a-2"]
    assert unique_stems(["A.png", "a.png"]) == ["A", "a-2"]


def test_bad_inputs_cost_a_line_each_and_the_others_are_parsed(parse, tmp_path):
    Path("empty.png").write_bytes(b"")
    Path("text.png").write_text("hello")
    Path("cut.png").write_bytes(encode(drawing(), "PNG")[:100])
    Path("locked.pdf").write_bytes(encrypted_pdf("", user="x", owner="y"))
    Path("folder").mkdir()
    bad = ["missing.png", "empty.png", "text.png", "cut.png", "locked.pdf", "folder", "no*.png"]
    code, out, errors = parse(picture("first.png"), *bad, picture("last.png"), "-f", "json")
    assert code == 2
    assert [json.loads(line)["file"] for line in out.splitlines()] == ["first.png", "last.png"]
    assert len(errors) == len(bad)
    for name, line in zip(bad, errors, strict=True):
        assert line.startswith(f"samvlm: error: {name}: "), line
    assert "--password" in errors[4]
    assert parse("locked.pdf", "--password", "x")[0] == 0


def test_a_broken_page_costs_exit_code_1(parse):
    Path("doc.pdf").write_bytes(pdf("", "", "").replace(b"4 0 R 6 0 R 8 0 R", b"4 0 R 99 0 R 8 0 R"))
    code, out, errors = parse("doc.pdf", "-f", "json")
    assert code == 1 and [json.loads(line)["page"] for line in out.splitlines()] == [1, 3]
    assert len(errors) == 1 and "page 2 of 3" in errors[0]


def test_what_is_left_out_is_said(parse, tiny_checkpoint, capsys):
    Path("doc.pdf").write_bytes(pdf("", "", ""))
    code, out, errors = parse("doc.pdf", "--max-pages", "2", "-f", "json")
    assert code == 0 and len(out.splitlines()) == 2
    assert len(errors) == 1 and "more than 2 pages" in errors[0]
    main(["parse", "doc.pdf", "--model", str(tiny_checkpoint), "--max-pages", "1", "--max-new-tokens", "9"])
    assert "reached its limit (9 tokens)" in capsys.readouterr().err


def test_patterns_and_odd_names(parse):
    for name in ("b.png", "a.png", "[x].png", "ü n.png"):
        picture(name)
    code, out, errors = parse("*.png", "-f", "json")
    names = [json.loads(line)["file"] for line in out.splitlines()]
    assert (code, errors) == (0, []) and names == sorted(names) and len(names) == 4
    assert parse("[x].png")[0] == 0


def test_a_model_that_is_not_there_is_said_once(parse):
    files = [picture("a.png"), picture("b.png"), "missing.png"]
    code, out, errors = parse(*files, model=Path("nowhere"))
    assert code == 2 and out == "" and errors == [f"samvlm: error: nowhere: {errors[0].split(': ', 3)[3]}"]
    assert "no such folder" in errors[0]


def test_output_that_is_no_folder(parse):
    Path("taken").write_text("")
    code, _, errors = parse(picture("a.png"), "-o", "taken")
    assert code == 2 and len(errors) == 1 and "another -o" in errors[0]


def test_formulas_are_quoted_unless_asked(tmp_path, capsys):
    result = ParseResult(tables=[Table.from_rows([["=1+1", "-2.5"]])])
    for raw, expected in ((False, "'=1+1,-2.5"), (True, "=1+1,-2.5")):
        FolderOutput(tmp_path, "csv", ["a.png"], force=True, raw_cells=raw).write(0, "a.png", result)
        assert (tmp_path / "a.csv").read_text().strip() == expected
        StreamOutput("csv", raw_cells=raw).write(0, "a.png", result)
        assert capsys.readouterr().out.strip() == expected


def test_further_tables_and_pages_are_numbered(tmp_path):
    table = Table.from_rows([["a"]])
    output = FolderOutput(tmp_path, "text", ["a.tif"])
    output.write(0, "a.tif", ParseResult(tables=[table, table]))
    output.write(0, "a.tif", ParseResult(tables=[table, table], page=3))
    assert sorted(os.listdir(tmp_path)) == ["a.p3.t2.txt", "a.p3.txt", "a.t2.txt", "a.txt"]


def test_native_noise_is_dropped(tiny_checkpoint, tmp_path, capfd):
    """libtiff writes to file descriptor 2 by itself."""
    data = bytearray(encode(drawing(600, 400, mode="1"), "TIFF", compression="group4"))
    data[20:60] = bytes(range(100, 140))
    (tmp_path / "fax.tif").write_bytes(data)
    with contextlib.suppress(DocumentError):
        open_image(tmp_path / "fax.tif")
    assert "Fax4" in capfd.readouterr().err  # else this test shows nothing
    main(["parse", str(tmp_path / "fax.tif"), "--model", str(tiny_checkpoint), "--max-new-tokens", "9"])
    noise = [line for line in capfd.readouterr().err.splitlines() if not line.startswith("samvlm: ")]
    assert noise == []


def test_write_whole_leaves_nothing_half(tmp_path):
    target = tmp_path / "a.csv"
    write_whole(target, "é,1\r\n")
    assert target.read_bytes() == "é,1\r\n".encode()
    with pytest.raises(AttributeError):
        write_whole(target, None)
    assert target.read_bytes() == "é,1\r\n".encode() and os.listdir(tmp_path) == ["a.csv"]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "samvlm.cli", *arguments]


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
def test_ctrl_c_keeps_what_is_done(tiny_checkpoint, tmp_path):
    files = [tmp_path / f"{number}.png" for number in range(200)]
    for file in files:
        file.write_bytes(encode(drawing(256, 256), "PNG"))
    arguments = ["parse", *map(str, files), "-o", str(tmp_path / "out"), "--model", str(tiny_checkpoint)]
    arguments += ["--max-new-tokens", "50", "--device", "cpu"]
    process = subprocess.Popen(command(*arguments), stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "out" / "1.html").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted; " in errors.splitlines()[-1] and "Traceback" not in errors
    made = os.listdir(tmp_path / "out")
    assert 2 <= len(made) < 200 and all(name.endswith(".html") for name in made)
    assert all((tmp_path / "out" / name).read_text().endswith("</html>\n") for name in made)


@pytest.mark.skipif(os.name != "posix", reason="needs a shell's pipe")
def test_a_closed_pipe_is_no_traceback(tiny_checkpoint, tmp_path):
    (tmp_path / "a.png").write_bytes(encode(drawing(), "PNG"))
    arguments = [
        "parse",
        *[str(tmp_path / "a.png")] * 3,
        "--model",
        str(tiny_checkpoint),
        "--max-new-tokens",
        "9",
    ]
    process = subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    errors = process.stderr.read()
    assert process.wait(30) == 1 and "Traceback" not in errors and "BrokenPipe" not in errors


def test_timing_is_a_line_a_page_and_a_summary(parse):
    files = [picture("a.png"), picture("b.png")]
    code, out, errors = parse(*files, "-f", "json", "--timing", "--batch-size", "2")
    values = [json.loads(line) for line in out.splitlines()]
    timing = values[0]["timing"]
    assert code == 0 and timing == values[1]["timing"] and timing["pages"] == 2
    assert timing["tokens"] == values[0]["tokens"] + values[1]["tokens"]
    first, second, summary = errors
    assert first.startswith(f"samvlm: timing: a.png: {values[0]['tokens']} tokens (2 pages together: ")
    assert "b.png" in second and "first token after" in second and " ms a token" in second
    assert summary.startswith(f"samvlm: timing: 2 pages, {timing['tokens']} tokens; model loaded in ")
    assert "timing" not in parse("a.png", "-f", "json")[1]
