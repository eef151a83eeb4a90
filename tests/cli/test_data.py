"""samvlm data: what the commands print, write and return."""

import json
import os
import re

import pytest
from record_files import GOOD, html, noise, record, save

from samvlm.cli import main
from samvlm.data.readers import READERS


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run a command in a folder of its own; returns (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments):
        code = main(["data", *map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return command


@pytest.fixture
def records(tmp_path):
    return save(tmp_path / "r.jsonl", *(record(str(n), noise(tmp_path / f"{n}.png", n)) for n in range(10)))


def test_help_names_readers_and_exit_codes(capsys):
    for arguments, words in (
        (["--help"], ["convert", "check", "split", "mix", "stats", "preview"]),
        (["convert", "--help"], [*READERS, READERS["wtw"].path, "--with KEY=VALUE"]),
        (["convert", "--list"], [*READERS, READERS["pubtabnet"].path]),
        (["check", "--help"], ["0 clean, or notes alone; 1 warnings; 2 errors", "--against", "--max-tokens"]),
        (["split", "--help"], ["--by FIELD", "--fractions"]),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["data", *arguments])
        said = capsys.readouterr().out
        assert ended.value.code == 0 and all(word in said for word in words)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["chekc", "r.jsonl"],
        ["check"],
        ["check", "r.jsonl", "--max-tokens", "0"],
        ["convert", "folder", "x"],
        ["convert", "folder", "x", "-o", "y", "--with", "dpi"],
        ["split", "r.jsonl", "-o", "d", "--fractions", "a,b"],
        ["mix", "r.jsonl", "-o", "d", "--limits", "0"],
        ["preview", "r.jsonl"],
    ],
)
def test_wrong_usage_is_one_line(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["data", *arguments])
    said = capsys.readouterr()
    assert ended.value.code == 2 and said.out == "" and said.err.count("\n") == 1 and "--help" in said.err


def test_convert(run, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in "ab":
        noise(folder / f"{name}.png", 1)
        (folder / f"{name}.html").write_text(GOOD)
    assert run("convert", "folder", "mine", "-o", "r.jsonl") == (0, "r.jsonl: 2 records (no split 2)\n", "")
    code, out, err = run("convert", "folder", "mine", "-o", "r.jsonl")
    assert (code, out) == (2, "") and "exists already; --force" in err
    (folder / "b.html").write_text("<p>none</p>")
    code, out, err = run("convert", "folder", "mine", "-o", "r.jsonl", "--force", "--with", "licence=CC0-1.0")
    assert code == 1 and out.startswith("r.jsonl: 1 records") and "1 entries were left out" in err
    assert json.loads((tmp_path / "r.jsonl").read_text())["licence"] == "CC0-1.0"
    for arguments, message in (
        (["folders", "mine", "-o", "x.jsonl"], "unknown data set 'folders'"),
        (["folder", "none", "-o", "x.jsonl"], "none"),
        (["wtw", "mine", "-o", "x.jsonl"], ""),
        (["folder", "mine", "-o", "x.jsonl", "--with", "colour=red"], "no option colour"),
        (["folder", "mine", "-o", "x.jsonl", "--with", "dpi=many"], "give a number"),
    ):
        code, out, err = run("convert", *arguments)
        assert (code, out) == (2, "") and err.startswith("samvlm: error: ") and message in err
        assert err.count("\n") == 1 and not (tmp_path / "x.jsonl").exists()


def test_check_returns_the_severity(run, records, tmp_path):
    code, out, err = run("check", "r.jsonl")
    assert (code, err) == (0, "") and out.endswith("nothing is wrong\n") and "limit 8,192" in out
    note = save(tmp_path / "note.jsonl", record("1", "0.png", html("<tr><td><b>a</b></td></tr>")))
    warning = save(tmp_path / "warning.jsonl", record("1", "0.png", html("<tr><td> </td><td>a</td></tr>")))
    error = save(tmp_path / "error.jsonl", record("1", "none.png"))
    for path, code, last in ((note, 0, "1 note"), (warning, 1, "1 warning, 1 note"), (error, 2, "1 error")):
        found, out, _ = run("check", path)
        assert (found, out.splitlines()[-1]) == (code, last)
    assert run("check", "r.jsonl", "--max-tokens", "20")[0] == 1
    assert run("check", "r.jsonl", "--against", "note.jsonl")[0] == 2
    assert run("check", "r.jsonl", "-o", "page.html", "error.jsonl")[0] == 2  # files may stand behind options
    assert "image_missing" in (tmp_path / "page.html").read_text()


def test_check_takes_other_tokenizers(run, records, tiny_checkpoint, tmp_path):
    def lengths(*options):
        out = run("check", "r.jsonl", *options)[1]
        return re.search(r"tokens of a chat +([\d,]+)", out)[1], re.search(r"limit ([\d,]+)", out)[1]

    assert lengths() != lengths("--tokenizer", tiny_checkpoint)
    assert lengths() == lengths("--tokenizer", "samvlm-tiny")


def test_bad_input_is_one_line(run, records, tmp_path):
    (tmp_path / "bad.jsonl").write_text("{")
    (tmp_path / "loop.jsonl").symlink_to("loop.jsonl")
    for arguments, message in (
        (["check", "none.jsonl"], "no record file at none.jsonl"),
        (["check", "r.jsonl", "--against", "none.jsonl"], "no record file"),
        (["check", "r.jsonl", "--tokenizer", "none"], "no tokenizer that can be loaded"),
        (["check", "r.jsonl", "-o", "r.jsonl"], "needs the ending .html"),
        (["check", "r.jsonl", "-o", "no/page.html"], "no place for a file"),
        (["stats", "none.jsonl"], "no record file"),
        (["stats", "bad.jsonl"], "bad.jsonl: no records, 1 lines are none"),
        (["preview", "loop.jsonl", "-o", "p.html"], "no record file"),
        (["split", "loop.jsonl", "-o", "d"], "no record file"),
        (["mix", "loop.jsonl", "-o", "m.jsonl"], "no record file"),
        (["preview", "none.jsonl", "-o", "p.html"], "no record file"),
        (["preview", "r.jsonl", "-o", "p.txt"], "needs the ending .html"),
        (["split", "r.jsonl", "-o", "d", "--fractions", "0.5,0.6"], "sum of 1"),
        (["split", "r.jsonl", "-o", "r.jsonl"], "r.jsonl"),
        (["mix", "r.jsonl", "-o", "r.jsonl", "--force"], "one of the files"),
        (["mix", "r.jsonl", "none.jsonl", "-o", "m.jsonl"], "no record file"),
    ):
        code, out, err = run(*arguments)
        assert code == 2 and err.startswith("samvlm: error: ") and message in err, (arguments, err)
        assert err.count("\n") == 1 and out == ""
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) == 10


def test_hostile_names_do_not_steer_the_terminal(run, tmp_path):
    save(tmp_path / "r.jsonl", record("\x1b[31mred\nline", "\x1b]0;x\x07.png", source="\x1b[2J"))
    code, out, err = run("check", "r.jsonl")
    assert code == 2 and "\x1b" not in out + err and "\x07" not in out + err and "red line" in out
    assert "\x1b" not in "".join(run("stats", "r.jsonl")[1:])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_pipes_are_not_waited_for(run, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    save(tmp_path / "r.jsonl", record("1", "pipe"))
    assert run("check", "pipe")[0] == run("stats", "pipe")[0] == 2
    assert run("check", "r.jsonl")[0] == 2
    code, out, _ = run("stats", "r.jsonl")
    assert code == 0 and out.startswith("1 records, 0 images")


def test_split_mix_stats_and_preview(run, records, tmp_path):
    code, out, err = run("split", "r.jsonl", "-o", "parts", "--fractions", "0.6,0.4")
    assert code == 0 and out == "parts/train.jsonl: 6 records\nparts/val.jsonl: 4 records\n"
    code, out, err = run("split", "r.jsonl", "-o", "parts", "--fractions", "0.6,0.4")
    assert code == 2 and "exists already" in err
    code, out, err = run("mix", "parts/train.jsonl", "parts/val.jsonl", "-o", "all.jsonl", "--weights", "1,1")
    assert (code, out, err) == (0, "all.jsonl: 8 records\n", "")
    assert run("check", "all.jsonl")[0] == 0
    with (tmp_path / "all.jsonl").open("a") as file:
        file.write("{\n")
    code, out, err = run("stats", "all.jsonl", "r.jsonl")
    assert code == 1 and "18 records, 18 images, 18 tables" in out and "1 lines are no record" in err
    assert run("mix", "all.jsonl", "-o", "again.jsonl")[0] == 1
    code, out, err = run("preview", "all.jsonl", "-o", "page.html", "--limit", "3")
    assert code == 0 and (tmp_path / "page.html").read_text().count("<article") == 3
    code, out, err = run("preview", "all.jsonl", "-o", "page.html")
    assert code == 1 and "1 lines are no record" in err
    (tmp_path / "bad.jsonl").write_text("{\n")
    code, out, err = run("preview", "bad.jsonl", "-o", "bad.html")
    assert code == 2 and "error: none of them is a record" in err and (tmp_path / "bad.html").is_file()
