"""samvlm/cli: arguments, help, and what a mistake looks like."""

import runpy
import sys

import pytest

import samvlm
from samvlm.cli import main, read_options


def test_version_and_help(capsys):
    for arguments, expected in (
        (["--version"], f"samvlm {samvlm.__version__}\n"),
        (["--help"], "parse | chat | train"),
        (["parse", "--help"], "<stem>.p2.<format>"),
        (["chat", "--help"], "/reset"),
        (["train", "--help"], "RECIPE"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 0
        assert expected in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["parse"],
        ["prase", "x.png"],
        ["parse", "x.png", "--max-pages", "0"],
        ["parse", "x.png", "--max-new-tokens", "many"],
        ["parse", "x.png", "-f", "pdf"],
        ["parse", "x.png", "--forse"],
        ["chat", "a.png", "b.png"],
    ],
)
def test_wrong_usage_is_one_line(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and "--help" in said.err


def test_words_behind_options_still_count():
    assert read_options(["parse", "a.png", "-f", "csv", "b.png", "c.png"]).files == [
        "a.png",
        "b.png",
        "c.png",
    ]
    options = read_options(["train", "debug_cpu", "--nproc", "2", "a.b=1", "c.d=2"])
    assert options.settings == ["a.b=1", "c.d=2"] and options.nproc == 2 and options.flags == []
    options = read_options(["train", "debug_cpu", "--resume", "auto", "a.b=1", "--force", "c.d=2"])
    assert options.settings == ["a.b=1", "c.d=2"] and options.flags == ["--resume=auto", "--force"]


def test_the_module_runs(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["samvlm", "--version"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_module("samvlm.cli", run_name="__main__")
    assert capsys.readouterr().out.startswith("samvlm ")
