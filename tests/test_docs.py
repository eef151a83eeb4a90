"""docs/: the commands of the pages run, one after the other; what they name exists."""

import json
import re
import shlex
from pathlib import Path

import pytest
from documentation import ROOT, blocks, commands, links, run_block
from PIL import Image, ImageDraw

from samvlm.cli import main, read_options
from samvlm.data.check import KINDS
from samvlm.data.readers import READERS
from samvlm.metrics import METRICS

PAGE = ROOT / "docs" / "your_own_tables.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = blocks(TEXT)
ROWS = [["Year", "Sales"], ["2004", "34.7"], ["2005", "41.0"]]


def draw(path: Path, rows: list[list[str]]) -> None:
    """Write the picture of a table."""
    page = Image.new("RGB", (160, 24 * len(rows) + 8), "white")
    pen = ImageDraw.Draw(page)
    for row, line in enumerate(rows):
        for col, text in enumerate(line):
            pen.text((12 + 76 * col, 8 + 24 * row), text, fill="black")
    path.parent.mkdir(parents=True, exist_ok=True)
    page.save(path)


@pytest.fixture
def folder(tmp_path, tiny_checkpoint) -> Path:
    """The folder of the page: five pictures with truths of three kinds; a trained checkpoint; another file."""
    for number in range(5):
        rows = [*ROWS[: 2 + number % 2], ["2010", f"{number}.5"]]
        name = tmp_path / "tables" / ("2024" if number == 4 else "") / f"{number:04}"
        draw(name.with_suffix(".jpg" if number == 4 else ".png"), rows)
        cells = ["".join(f"<td>{text}</td>" for text in line) for line in rows]
        body = "".join(f"<tr>{line}</tr>" for line in cells[1:])
        truth = {
            ".html": f"<table><thead><tr>{cells[0]}</tr></thead><tbody>{body}</tbody></table>",
            ".csv": "\n".join(",".join(line) for line in rows),
            ".md": "\n".join(f"| {' | '.join(line)} |" for line in [rows[0], ["---", "---"], *rows[1:]]),
        }
        suffix = (".html", ".csv", ".md")[number % 3]
        name.with_suffix(suffix).write_text(truth[suffix])
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    (tmp_path / "runs" / "mine" / "1-instruct").symlink_to(tiny_checkpoint)
    draw(tmp_path / "more.png", ROWS)
    more = {"id": "more", "image": "more.png", "task": "text", "target": {"text": "Year"}}
    (tmp_path / "more.jsonl").write_text(json.dumps(more))
    return tmp_path


@pytest.mark.slow
def test_the_commands_run(folder, monkeypatch, capsys):
    first, trained, rest = [block for block in BLOCKS if block.runs]
    assert len(commands(first)) == 5
    printed = run_block(first, folder, BROWSER="true")
    assert "records.jsonl: 5 records" in printed and "nothing is wrong" in printed
    assert "teds_normalised" in printed and (folder / "check.html").is_file()
    images = {json.loads(line)["image"] for line in (folder / "records.jsonl").read_text().splitlines()}
    assert images == {"tables/2024/0004.jpg", *(f"tables/000{n}.png" for n in range(4))}
    parts = [(folder / "parts" / f"{name}.jsonl").read_text().splitlines() for name in ("train", "test")]
    assert [len(part) for part in parts] in ([2, 3], [3, 2])
    results = (folder / "scores" / "shipped" / "predictions.jsonl").read_text().splitlines()
    assert len(results) == len(parts[1]) and (folder / "scores" / "shipped" / "viewer.html").is_file()
    monkeypatch.chdir(folder)
    for command in (*commands(trained), *commands(rest)):  # in this process, which has loaded the libraries
        assert main(shlex.split(command, comments=True)[1:]) == 0
    printed = capsys.readouterr().out
    assert "B - A" in printed
    assert "tokens of a chat" in printed and "mixed.jsonl: 4 records" in printed
    assert (folder / "preview.html").read_text().count("<article") == 5


@pytest.mark.parametrize(
    "command", [c for b in BLOCKS if b.language == "bash" for c in commands(b) if c.startswith("samvlm ")]
)
def test_commands_are_valid(command):
    assert read_options(shlex.split(command, comments=True)[1:])


@pytest.mark.parametrize("target", links(TEXT))
def test_links_lead_somewhere(target):
    assert re.match(r"[a-z]+://", target) or (PAGE.parent / target).exists()


def test_every_finding_is_in_the_table():
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| (error|warning|note) \|", TEXT, re.MULTILINE)
    told = {code: severity for codes, severity in rows for code in re.findall(r"`(\w+)`", codes)}
    assert told == {code: kind.severity for code, kind in KINDS.items()}


def test_scores_and_data_sets_are_those_there_are():
    section = TEXT.split("## Which score is which")[1].split("##")[0]
    named = {
        name
        for cells in re.findall(r"^\| (`[^|]+) \|", section, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", cells)
    }
    assert named <= METRICS.keys() and {"teds", "teds_normalised", "cell_f1"} <= named
    plain = re.sub(r"\W", "", TEXT).lower()
    for name, reader in READERS.items():
        words = [name.replace("_", ""), re.sub(r"\W", "", reader.summary.split(" ")[0]).lower()]
        assert any(word in plain for word in words), name
