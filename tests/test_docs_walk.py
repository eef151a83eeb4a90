"""docs/lora_walk.md: its commands run, with fewer tables and steps, and the adapter reads what its base does not."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from documentation import ROOT, blocks, commands, links

from samvlm.cli import main, read_options
from scripts.make_printouts import main as make_printouts
from scripts.make_printouts import make

PAGE = ROOT / "docs" / "lora_walk.md"
TEXT = PAGE.read_text(encoding="utf-8")
COMMANDS = [command for block in blocks(TEXT) if block.runs for command in commands(block)]
SMALL = ["data.max_images=2", "trainer.max_steps=36", "trainer.logging_steps=12", "trainer.use_cpu=true"]


def mean(folder: Path, score: str = "teds_normalised") -> float:
    return json.loads((folder / "scores.json").read_text())["metrics"][score]["mean"]


@pytest.mark.slow
def test_the_walk_in_small(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for command in COMMANDS:
        program, *words = shlex.split(command, comments=True)
        if program == "python":
            assert make_printouts([*words[1:-1], "40"]) == 0
            continue
        if words[0] == "train":  # takes the place of the process that calls it
            subprocess.run([sys.executable, "-m", "samvlm.cli", *words, *SMALL], check=True)
            continue
        if words[:2] == ["data", "convert"]:
            shorten(tmp_path / "printouts")
        assert main(words) == 0, command
    printed = capsys.readouterr().out
    assert "B is better" in printed or "B - A" in printed
    run = tmp_path / "runs" / "printouts" / "1-instruct"
    assert (run / "adapter_model.safetensors").is_file() and (run / "curves.png").is_file()
    assert (tmp_path / "runs" / "printouts-merged" / "model.safetensors").is_file()
    before, after = mean(tmp_path / "scores" / "before"), mean(tmp_path / "scores" / "after")
    assert after > before + 0.1, f"{before:.3f} before, {after:.3f} after"


def shorten(folder: Path) -> None:
    """Keep the 16 smallest lists: a test has a minute."""
    sizes = {path: path.stat().st_size for path in folder.glob("*.html")}
    for path in sorted(sizes, key=sizes.get)[16:]:
        if path.stem != "0000":  # the page parses this one
            path.unlink()
            path.with_suffix(".png").unlink()


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("samvlm ")])
def test_commands_are_valid(command):
    assert read_options(shlex.split(command, comments=True)[1:])


@pytest.mark.parametrize("target", links(TEXT))
def test_links_lead_somewhere(target):
    assert re.match(r"[a-z]+://", target) or (PAGE.parent / target).exists()


def test_lists_are_the_same_every_time_and_their_truth_is_whole():
    image, table = make(1, 3)
    again, same = make(1, 3)
    other, _ = make(2, 3)
    assert image.tobytes() == again.tobytes() and table == same and image.tobytes() != other.tobytes()
    titles = [cell for cell in table.cells if cell.header == "section"]
    assert all(cell.colspan == table.n_cols for cell in titles)
    assert sum(cell.rowspan * cell.colspan for cell in table.cells) == table.n_rows * table.n_cols


def test_no_number(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        make_printouts([str(tmp_path), "--number", "0"])
    assert stop.value.code == 2 and "at least 1" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
