"""scripts/score.py: what it tells of tables whose answers are known."""

import importlib.util
import json
from pathlib import Path

import pytest
from lessons import LESSONS

from samvlm.data.tables import Table
from samvlm.generation import ParseResult

SCRIPT = Path(__file__).parents[2] / "scripts" / "score.py"
spec = importlib.util.spec_from_file_location("score", SCRIPT)
score = importlib.util.module_from_spec(spec)
spec.loader.exec_module(score)

WRONG = "<fcel>nothing<fcel>of<fcel>this<nl>"


class Parser:
    """Stands for a DocumentParser: reads the smaller page right, the larger one not."""

    def __init__(self):
        self.batches: list[list[int]] = []

    def parse_batch(self, images, max_new_tokens):
        self.batches.append([image.width for image in images])
        texts = [LESSONS[0][1] if image.width == 128 else WRONG for image in images]
        reasons = ["stop" if text != WRONG else "repetition" for text in texts]
        return [
            ParseResult(text=text, tables=[Table.from_otsl(text)], finish_reason=reason, tokens=9)
            for text, reason in zip(texts, reasons, strict=True)
        ]


@pytest.fixture
def real(tmp_path) -> Path:
    """A folder of five tables, the second and the last on larger pages."""
    page, otsl = LESSONS[0]
    lines = []
    for number in range(5):
        shown = page.resize((256, 128)) if number in (1, 4) else page
        shown.save(tmp_path / f"{number}.png")
        lines.append(json.dumps({"image": f"{number}.png", "html": Table.from_otsl(otsl).to_html()}))
    (tmp_path / "gt.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run the script with the stand-in; returns (code, scores by set, rows by set, batches)."""

    def run(*words: str):
        parser = Parser()
        monkeypatch.setattr(score.DocumentParser, "from_pretrained", lambda *a, **k: parser)
        output = tmp_path / "out" / "scores.json"
        output.parent.mkdir(exist_ok=True)
        code = score.main(["model", *words, "-o", str(output)])
        said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        written = json.loads(output.read_text())
        assert {name: figures for line in said for name, figures in line.items()} == written["scores"]
        return code, written["scores"], written["rows"], parser.batches

    return run


def test_a_folder_in_batches_of_like_sizes(run, real):
    code, scores, rows, batches = run("--folder", str(real), "--batch-size", "2")
    (figures,), (rows,) = scores.values(), rows.values()
    assert code == 0 and batches == [[128, 128], [128, 256], [256]]
    assert [row["id"] for row in rows] == [f"{number}.png" for number in range(5)]
    right = [row["teds"] == row["struct"] == 1.0 for row in rows]
    assert right == [True, False, True, True, False] and rows[1]["struct"] < 1
    mean = sum(row["teds"] for row in rows) / 5
    assert figures["n"] == 5 and figures["teds_normalised"] == pytest.approx(mean, abs=1e-4)
    assert figures["interval"][0] < mean < figures["interval"][1]
    assert figures["repetition"] == 0.4 and figures["truncated"] == 0.0
    assert "seconds_median" not in figures and "seconds" not in rows[0]


def test_one_by_one_is_timed(run, real):
    _, scores, _, batches = run("--folder", str(real), "-n", "3", "--batch-size", "1")
    (figures,) = scores.values()
    assert (
        figures["n"] == 3 and figures["seconds_median"] >= 0 and [len(batch) for batch in batches] == [1] * 3
    )


def test_drawn_tables(run):
    _, scores, rows, _ = run("--synth", "3", "--seed", "5", "--options", '{"damage": 0.0}')
    assert scores["synth"]["n"] == 3 and [row["id"] for row in rows["synth"]] == [
        f"synth-5-{index}" for index in range(3)
    ]
    again = run("--synth", "3", "--seed", "5", "--options", '{"damage": 0.0}')[2]
    assert again == rows
    items = score.synthetic(3, 5, {})
    assert all(item.area == item.load()[0].width * item.load()[0].height for item in items)


def test_no_table_scores_nothing():
    row = score.compare(ParseResult(finish_reason="length"), "<table><tr><td>a</td></tr></table>")
    assert row["teds"] == row["struct"] == 0.0 and row["finish"] == "length"


@pytest.mark.parametrize("words", [[], ["--folder", "nowhere"]])
def test_nothing_to_score_is_one_line(words, capsys):
    assert score.main(["model", *words]) == 2
    assert capsys.readouterr().err.startswith("score: ")


def test_a_real_model(tiny_checkpoint, capsys):
    words = ["--synth", "2", "--options", '{"size": [128, 64]}', "--max-new-tokens", "9", "--batch-size", "2"]
    assert score.main([str(tiny_checkpoint), *words]) == 0
    assert json.loads(capsys.readouterr().out)["synth"]["truncated"] == 1.0
