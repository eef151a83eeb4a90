"""One evaluation: what is written, what goes on after an interruption, and whose results are not touched."""

import json
import os
import signal
from pathlib import Path

import pytest
from documents import drawing
from lessons import LESSONS

from samvlm.data.lock import alone_in
from samvlm.data.tables import Table
from samvlm.evaluation.benchmarks import open_benchmark
from samvlm.evaluation.predictions import Prediction
from samvlm.evaluation.runner import differences, evaluate, resume

HTML = Table.from_otsl(LESSONS[0][1]).to_html()
WRONG = Table.from_otsl("<fcel>nothing<fcel>of<fcel>this<nl>").to_html()


class Reader:
    """Stands for a predictor: reads all but the pages that are 256 pixels wide; may be interrupted."""

    def __init__(self, name: str = "m", interrupt_after: int = 99, fails: tuple[str, ...] = ()):
        self.identity = {"kind": "model", "name": name, "fingerprint": f"of {name}", "max_new_tokens": 9}
        self.interrupt_after, self.fails = interrupt_after, fails
        self.read: list[str] = []

    def predict(self, cases):
        for case in cases:
            if len(self.read) == self.interrupt_after:
                raise KeyboardInterrupt
            self.read.append(case.id)
            right = case.open().width == 128
            if case.id in self.fails:
                yield Prediction.failed(case, "no memory")
            else:
                reason = "stop" if right else "repetition"
                yield Prediction(case.id, HTML if right else WRONG, "raw", reason, 0.5, 9)


@pytest.fixture
def data(tmp_path) -> Path:
    """A folder of five tables, the second and the last on larger pages."""
    folder = tmp_path / "data"
    folder.mkdir()
    lines = []
    for number in range(5):
        page = LESSONS[0][0].resize((256, 128)) if number in (1, 4) else LESSONS[0][0]
        page.save(folder / f"{number}.png")
        lines.append(json.dumps({"image": f"{number}.png", "html": HTML}))
    (folder / "gt.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def run(reader: Reader, data: Path, **options):
    return evaluate(reader, open_benchmark(str(data)), data.parent / "out", **options)


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_what_is_written(data):
    reader = Reader()
    result = run(reader, data, version="1.2.3")
    out = data.parent / "out"
    assert [path.name for path in result.files] == [
        "predictions.jsonl",
        "scores.json",
        "examples.jsonl",
        "viewer.html",
    ]
    assert all(path.is_file() for path in result.files) and not list(out.glob(".samvlm-*"))
    rows = lines_of(out / "predictions.jsonl")
    assert [row["id"] for row in rows] == [f"{n}.png" for n in range(5)]
    assert rows[0] == {
        "id": "0.png",
        "html": HTML,
        "text": "raw",
        "finish_reason": "stop",
        "seconds": 0.5,
        "tokens": 9,
        "error": None,
    }
    scores = json.loads((out / "scores.json").read_text())
    found = scores["metrics"]["teds_normalised"]
    assert found["low"] < found["mean"] < found["high"] <= 1 and scores["n"] == found["n"] == 5
    assert (
        scores["rates"]["repetition"] == 0.4 and scores["rates"]["errors"] == 0.0 and scores["errors"] == []
    )
    assert scores["seconds_per_image_median"] == 0.5 and scores["model"] == "m"
    assert set(scores["meaning"]) == set(scores["metrics"])
    examples = lines_of(out / "examples.jsonl")
    assert [row["scores"]["teds_normalised"] == 1.0 for row in examples] == [True, False, True, True, False]
    identity = json.loads((out / "run.json").read_text())
    assert identity == scores["run"] and identity["samvlm"] == "1.2.3" and identity["data"]["cases"] == 5
    assert "1.png" in (out / "viewer.html").read_text()


def test_it_goes_on_after_an_interruption(data):
    with pytest.raises(KeyboardInterrupt):
        run(Reader(interrupt_after=3), data)
    path = data.parent / "out" / "predictions.jsonl"
    assert len(lines_of(path)) == 3
    with path.open("a") as file:
        file.write('{"id": "3.png", "html": "<html>')
    second = Reader()
    result = run(second, data)
    assert second.read == ["3.png", "4.png"] and (result.found, result.torn) == (3, 1)
    assert [row["id"] for row in lines_of(path)] == [f"{n}.png" for n in range(5)]
    third = Reader()
    assert run(third, data).scores["metrics"] == result.scores["metrics"] and third.read == []


def test_failures_are_rows_and_read_again(data):
    (data / "2.png").write_bytes(b"no image")
    broken = open_benchmark(str(data))

    class Opening(Reader):
        def predict(self, cases):
            for case in cases:
                try:
                    case.open()
                except ValueError as problem:
                    self.read.append(case.id)
                    yield Prediction.failed(case, problem)
                else:
                    yield from super().predict([case])

    reader = Opening(fails=("0.png",))
    result = evaluate(reader, broken, data.parent / "out")
    errors = {entry["id"]: entry["error"] for entry in result.scores["errors"]}
    assert errors["0.png"] == "no memory" and "2.png" in errors["2.png"] and len(errors) == 2
    assert result.scores["rates"]["errors"] == 0.4
    assert result.examples[2].scores["teds"] == 0.0
    again = Opening()
    result = evaluate(again, broken, data.parent / "out")
    assert again.read == ["0.png", "2.png"] and [entry["id"] for entry in result.scores["errors"]] == [
        "2.png"
    ]


def test_results_of_another_model_or_other_data_are_not_touched(data):
    run(Reader(), data)
    out = data.parent / "out"
    before = (out / "predictions.jsonl").read_bytes()
    with pytest.raises(
        ValueError, match=r"another run \(model name: 'm', now 'n'; model fingerprint.*--force"
    ):
        run(Reader("n"), data)
    lines = (data / "gt.jsonl").read_text().splitlines()
    (data / "gt.jsonl").write_text("\n".join(lines[:4]) + "\n")
    with pytest.raises(ValueError, match=r"data cases: 5, now 4; data fingerprint"):
        run(Reader(), data)
    assert (out / "predictions.jsonl").read_bytes() == before
    other = Reader("n")
    assert run(other, data, force=True).scores["n"] == len(other.read) == 4
    (out / "run.json").unlink()
    with pytest.raises(ValueError, match=r"exists without run\.json"):
        run(Reader(), data)
    (out / "run.json").write_text("[]")
    with pytest.raises(ValueError, match="cannot be read"):
        run(Reader(), data)


def test_moved_models_and_data_are_the_same():
    before = {
        "model": {"kind": "model", "name": "a", "fingerprint": "1", "dtype": "float32"},
        "data": {"name": "x", "path": "p", "limit": 5, "fingerprint": "2"},
    }
    moved = {
        "model": before["model"] | {"name": "b/a"},
        "data": {"name": "y", "path": "q", "limit": None, "fingerprint": "2"},
    }
    assert differences(before, before) == differences(before, moved) == []
    assert differences(before, moved | {"model": before["model"] | {"dtype": "bfloat16"}}) == [
        "model dtype: 'float32', now 'bfloat16'"
    ]
    hub = {"model": {"name": "u/m", "fingerprint": None}, "data": before["data"]}
    assert differences(hub, hub) == [] and differences(
        hub, hub | {"model": {"name": "u/n", "fingerprint": None}}
    )


def test_resuming_keeps_what_is_whole(tmp_path):
    path = tmp_path / "predictions.jsonl"
    assert resume(path) == ({}, 0)
    good = [
        Prediction("1", "a", "ä\u2028b"),
        Prediction("2", error="x", finish_reason="error"),
        Prediction("3"),
    ]
    whole = "".join(prediction.to_line() for prediction in good)
    path.write_text(
        whole + '{"id": 4}\n\x00\x00\n' + Prediction("5").to_line().rstrip("\n"), encoding="utf-8"
    )
    known, torn = resume(path)
    assert list(known) == ["1", "3"] and known["1"] == good[0] and torn == 3
    assert resume(path) == (known, 0) and len(path.read_bytes().splitlines()) == 2


def test_wrong_metrics_are_told_before_anything_is_read(data):
    reader = Reader()
    with pytest.raises(ValueError, match="unknown metrics"):
        run(reader, data, metrics=["tedz"])
    assert reader.read == [] and not (data.parent / "out").exists()


def test_images_from_anywhere_reach_the_viewer(tmp_path):
    drawing(128, 64).save(tmp_path / "a.png")
    (tmp_path / "gt.json").write_text(json.dumps({"x.png": HTML}))
    result = evaluate(Reader("n"), open_benchmark("synth:1", options={"size": [128, 64]}), tmp_path / "drawn")
    assert result.examples[0].image().size == (128, 64)
    assert "data:image" in (tmp_path / "drawn" / "viewer.html").read_text()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX")
def test_two_runs_do_not_share_a_folder(data):
    out = data.parent / "out"
    ready, never = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        with alone_in(out, "nothing"):
            os.write(ready[1], b"x")
            os.read(never[0], 1)
    os.read(ready[0], 1)
    with pytest.raises(ValueError, match=rf"in use by another run \(process {pid} on .*name another -o DIR"):
        run(Reader(), data, force=True)
    assert sorted(path.name for path in out.iterdir()) == [".lock"]
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert run(Reader(), data).scores["n"] == 5, "what was killed holds nothing"
