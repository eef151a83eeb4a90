"""docs/towers.md: its commands and code run on checkpoints in the layouts of others; its tables are those of the code."""

import re
import shlex

import pytest
from documentation import ROOT, blocks, commands
from other_layouts import write_named

from samvlm.cli import main, read_options
from samvlm.model.source_layouts import LAYOUTS, OWN_TOWER, PREPROCESSING

PAGE = ROOT / "docs" / "towers.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = blocks(TEXT)
SHELL = [command for block in BLOCKS if block.language == "bash" for command in commands(block)]


def test_the_commands_and_the_code_run(tmp_path, monkeypatch, capsys):
    (tmp_path / "GOT-OCR2_0").mkdir()
    write_named("GOT-OCR2", tmp_path / "GOT-OCR2_0")
    write_named("SAM", tmp_path)
    monkeypatch.chdir(tmp_path)
    shell, python = [block for block in BLOCKS if block.runs]
    for command in commands(shell):
        assert main(shlex.split(command, comments=True)[1:]) == 0, command
    told = capsys.readouterr().out
    assert "GOT-OCR2_0: GOT-OCR2; licence: Apache-2.0" in told
    names = {"__name__": "page"}
    exec(compile(python.code, str(PAGE), "exec"), names)
    assert names["processor"].keep_aspect is False and names["tower"].config.image_size == 256
    rest = next(b.code for b in BLOCKS if b.language == "python" and not b.runs)
    exec(compile(rest, str(PAGE), "exec"), names)
    assert list(names["processor"].image_std) == [1, 1, 1]


@pytest.mark.parametrize("command", [c for c in SHELL if c.startswith("samvlm ")])
def test_commands_are_valid(command):
    assert read_options(shlex.split(command, comments=True)[1:])


def test_the_assembly_is_valid():
    from scripts.assemble import arguments

    (command,) = [c for c in SHELL if "assemble" in c]
    options = arguments().parse_args(shlex.split(command)[2:])
    assert options.compressor == "conv" and options.keep_aspect is None


def rows(heading: str) -> list[list[str]]:
    """The cells of the table that begins with a heading."""
    table = TEXT[TEXT.index(f"| {heading} |") :].split("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def test_every_layout_is_in_the_table():
    table = rows("source")
    for layout in (*LAYOUTS, OWN_TOWER):
        if layout.title.startswith("an encoder of Vary's kind"):
            continue
        pattern = rf"(^|[,;] ){re.escape(layout.title)}($|[,:;])"
        (row,) = [row for row in table if re.search(pattern, row[0])]
        assert row[4] == layout.licence
        assert row[3] in (f"`{layout.preprocessing}`", "its own")


def test_every_preprocessing_is_in_the_table():
    assert [row[0].strip("`") for row in rows("name")] == list(PREPROCESSING)
