"""samvlm eval and eval compare: from the command line to the folder of results."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from documents import drawing
from endpoint_server import completion, serve

from samvlm.cli import main, read_options
from samvlm.data.tables import Table
from samvlm.metrics import teds

HTML = Table.from_rows([["a", "b"], ["1", "2"]], header_rows=1).to_html()
OFFICIAL = Path(__file__).parents[3] / "shared" / "data" / "teds"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ("http_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def records(tmp_path, monkeypatch) -> Path:
    """Six tables in tmp_path/data/records.jsonl, page n being 64 + n pixels wide; tmp_path is where we are."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data"
    folder.mkdir()
    lines = []
    for number in range(6):
        drawing(64 + number, 64).save(folder / f"{number}.png")
        lines.append(
            {"id": f"t{number}", "image": f"{number}.png", "task": "table", "target": {"html": HTML}}
        )
    path = folder / "records.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_checkpoint(records, tiny_checkpoint, capsys):
    (records.parent / "3.png").write_bytes(b"torn")
    words = ["--device", "cpu", "--max-new-tokens", "9", "--batch-size", "4", "--threads", "1"]
    code = main(["eval", str(tiny_checkpoint), "--data", str(records), "-o", "out", *words])
    said = capsys.readouterr()
    assert code == 1 and "samvlm: warning: t3: " in said.err and "6/6" in said.err
    scores = json.loads(Path("out/scores.json").read_text())
    assert scores["n"] == 6 and [entry["id"] for entry in scores["errors"]] == ["t3"]
    assert scores["rates"]["truncated"] == pytest.approx(5 / 6, abs=1e-6)
    assert f"teds_normalised         {scores['metrics']['teds_normalised']['mean']:.4f}" in said.out
    assert "errors 16.7%" in said.out and "out/viewer.html" in said.out and "seconds an image" in said.out
    assert main(["eval", str(tiny_checkpoint), "--data", str(records), "-o", "out", "--device", "cpu"]) == 2
    assert "another run (model max_new_tokens: 9, now None)" in capsys.readouterr().err


def test_the_shipped_checkpoint_is_the_default(records):
    words = ["--device", "cpu", "--max-new-tokens", "5", "--limit", "2", "--metrics", "teds,grits_top"]
    assert main(["eval", "--data", str(records), "-o", "out", *words]) == 0
    scores = json.loads(Path("out/scores.json").read_text())
    assert scores["model"] == "samvlm-tiny" and list(scores["metrics"]) == ["teds", "grits_top"]


def test_drawn_tables(tmp_path, tiny_checkpoint, capsys):
    out = str(tmp_path / "out")
    options = ["--options", '{"size": [128, 64]}', "--device", "cpu", "--max-new-tokens", "9"]
    assert main(["eval", str(tiny_checkpoint), "--data", "synth:2", *options, "-o", out]) == 0
    assert json.loads((tmp_path / "out" / "scores.json").read_text())["rates"]["truncated"] == 1.0


def test_an_endpoint(records, capsys):
    with serve(lambda r, n: completion(f"```html\n{HTML}\n```")) as endpoint:
        code = main(["eval", endpoint.url, "--data", str(records), "-o", "out", "--endpoint-model", "m"])
    assert code == 0 and json.loads(Path("out/scores.json").read_text())["metrics"]["teds"]["mean"] == 1.0
    assert main(["eval", endpoint.url, "--data", str(records), "-o", "gone", "--retries", "1"]) == 2
    assert "is it running?" in capsys.readouterr().err.splitlines()[-1]


def test_an_endpoint_that_answers_nothing_of_use(records, capsys):
    with serve(lambda r, n: (200, b"<h1>hello</h1>")) as endpoint:
        code = main(["eval", endpoint.url, "--data", str(records), "-o", "out", "--limit", "2"])
    last = capsys.readouterr().err.splitlines()[-1]
    assert code == 2 and "error: none of 2 examples could be read" in last and "<h1>hello</h1>" in last
    assert Path("out/viewer.html").exists()


@pytest.mark.skipif(not OFFICIAL.is_dir(), reason="the official samples are not here")
def test_the_official_samples_as_files(tmp_path, capsys):
    words = [str(OFFICIAL / "pred.json"), "--data", str(OFFICIAL / "gt.json"), "-o", str(tmp_path / "out")]
    assert main(["eval", *words, "--metrics", "teds"]) == 0
    official = json.loads((OFFICIAL / "official_scores.json").read_text())
    prediction, truth = (json.loads((OFFICIAL / name).read_text()) for name in ("pred.json", "gt.json"))
    examples = {row["id"]: row["scores"]["teds"] for row in rows(tmp_path / "out" / "examples.jsonl")}
    assert examples == {name: teds(prediction[name], truth[name]["html"]) for name in truth}
    assert len(examples) == len(truth) and official


def test_files_of_predictions_and_their_comparison(records, capsys):
    wrong = HTML.replace("<td>2</td>", "<td>3</td>")
    for name, htmls in (("a", [wrong] * 6), ("b", [HTML] * 5)):
        lines = [json.dumps({"id": f"t{n}", "html": html}) + "\n" for n, html in enumerate(htmls)]
        Path(f"{name}.jsonl").write_text("".join(lines))
    assert main(["eval", "a.jsonl", "--data", str(records), "-o", "A"]) == 0
    assert main(["eval", "b.jsonl", "--data", str(records), "-o", "B"]) == 1
    assert "warning: t5: b.jsonl has no prediction for this id" in capsys.readouterr().err
    assert (
        main(["eval", "b.jsonl", "--data", str(records), "-o", "B"]) == 1
    )  # again: what failed is looked up anew
    assert main(["eval", "compare", "A", "B", "-o", "c.json"]) == 0
    said = capsys.readouterr().out
    found = json.loads(Path("c.json").read_text())
    assert "A: a.jsonl (A)" in said and "t5" in said and found["verdict"] in said
    assert found["metrics"]["teds_normalised"]["wins"] == 5 and found["pairs"] == 6
    assert main(["eval", "A", "--data", str(records), "-o", "again", "--metrics", "teds"]) == 0
    first, again = (json.loads(Path(name, "scores.json").read_text()) for name in ("A", "again"))
    assert first["metrics"]["teds"] == again["metrics"]["teds"]
    assert main(["eval", "b.jsonl", "--data", str(records), "-o", "few", "--limit", "3"]) == 0
    capsys.readouterr()
    assert main(["eval", "compare", "A", "few"]) == 2
    assert "A has 6 examples, B 3, 3 ids are in both" in capsys.readouterr().err
    assert main(["eval", "compare", "A", "few", "--shared"]) == 0
    assert "left out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["model", "--data", "nowhere", "-o", "out"], "no such file, folder or benchmark"),
        (["nowhere", "--data", "data/records.jsonl", "-o", "out"], "no such folder"),
        (["http://", "--data", "data/records.jsonl", "-o", "out"], "no address of an endpoint"),
        (
            ["data/records.jsonl", "--data", "data/records.jsonl", "-o", "out", "--metrics", "tedz"],
            "unknown metrics",
        ),
        (
            ["data/records.jsonl", "--data", "data/records.jsonl", "-o", "data/0.png"],
            "0.png: a file, where a",
        ),
        (["compare", "data", "data"], "no examples.jsonl"),
    ],
)
def test_bad_input_is_one_line(records, words, told, capsys):
    assert main(["eval", *words]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("samvlm: error: ") and said.err.count("\n") == 1
    assert told in said.err


@pytest.mark.parametrize(
    "words",
    [
        ["eval", "model"],
        ["eval", "--data", "x"],
        ["eval", "--data", "x", "-o", "y", "--options", "3"],
        ["eval", "--data", "x", "-o", "y", "--options", "{"],
        ["eval", "--data", "x", "-o", "y", "--metrics", ","],
        ["eval", "compare", "a"],
        ["eval", "compare", "a", "b", "c"],
    ],
)
def test_wrong_usage(words, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(words)
    said = capsys.readouterr().err
    assert (said.count("\n") == 1 and said.startswith("samvlm eval")) or said.startswith("samvlm: error")


def test_arguments(capsys):
    options = read_options(
        ["eval", "--data", "synth:5", "-o", "out", "--options", '{"damage": 0.3}', "--metrics", "a, b"]
    )
    assert (options.model, options.options, options.metrics) == (None, {"damage": 0.3}, ["a", "b"])
    assert read_options(["eval", "m", "--data", "x", "-o", "compare"]).model == "m"
    for words, expected in ((["eval", "--help"], "error viewer"), (["eval", "compare", "--help"], "p-value")):
        with pytest.raises(SystemExit, match="0"):
            read_options(words)
        text = capsys.readouterr().out
        assert text.startswith("usage: samvlm eval") and (expected in text or "viewer.html" in text)


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted(signum, code, records, capsys, monkeypatch):
    def interrupt(*arguments, **options):
        os.kill(os.getpid(), signum)
        time.sleep(9)

    before = signal.getsignal(signum)
    monkeypatch.setattr("samvlm.cli.eval.evaluate", interrupt)
    Path("p.jsonl").write_text('{"id": "t0", "html": ""}\n')
    assert main(["eval", "p.jsonl", "--data", str(records), "-o", "out"]) == code
    assert signal.getsignal(signum) is before
    assert "the same command goes on where it was" in capsys.readouterr().err


def test_a_killed_run_goes_on(records, capsys):
    """The process is killed while its fourth and later requests wait; the next asks for what is missing, only."""
    killed, lock, asked = threading.Event(), threading.Lock(), []

    def answer(request, number):
        with lock:
            asked.append(request["image"].width - 64)
        if number > 3 and not killed.is_set():
            killed.wait(60)
        return completion(HTML)

    with serve(answer) as endpoint:
        words = ["eval", endpoint.url, "--data", str(records), "-o", "out", "--concurrency", "1"]
        process = subprocess.Popen(
            [sys.executable, "-m", "samvlm.cli", *words], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        try:
            until = time.monotonic() + 120
            while len(asked) < 4:
                assert process.poll() is None and time.monotonic() < until
                time.sleep(0.05)
            os.kill(process.pid, signal.SIGKILL)
        finally:
            process.kill()
            process.wait()
        path = Path("out/predictions.jsonl")
        before = rows(path)
        assert [row["id"] for row in before] == ["t0", "t1", "t2"] and not Path("out/scores.json").exists()
        with path.open("a") as file:
            file.write('{"id": "t3", "html": "<html><bo')
        killed.set()
        assert main(words) == 0
    assert "1 torn lines of predictions.jsonl were read again" in capsys.readouterr().err
    assert asked == [0, 1, 2, 3, 3, 4, 5] and rows(path)[:3] == before
    assert json.loads(Path("out/scores.json").read_text())["metrics"]["teds"]["mean"] == 1.0
