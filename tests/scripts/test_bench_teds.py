"""scripts/bench_teds.py in its quick form: it runs, what it compares agrees, and it notices when it does not."""

import importlib.util
import json
from pathlib import Path

import pytest

pytest.importorskip("apted")
pytest.importorskip("distance")

SCRIPT = Path(__file__).parents[2] / "scripts" / "bench_teds.py"
spec = importlib.util.spec_from_file_location("bench_teds", SCRIPT)
bench = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bench)


@pytest.fixture(autouse=True)
def any_core(monkeypatch):
    """The tests that follow keep their cores."""
    monkeypatch.setattr(bench.os, "sched_setaffinity", lambda *a: None, raising=False)


def test_quick(capsys, tmp_path):
    assert bench.main(["--quick", "-o", str(tmp_path / "bench.json")]) == 0
    said = capsys.readouterr().out
    assert "they agree" in said and "peak memory, drawn 6x4: samvlm" in said
    result = json.loads((tmp_path / "bench.json").read_text())
    assert set(result["TEDS"]["rows"][-1]["seconds"]) == {"samvlm", "apted", "official"}
    assert set(result["GriTS-Con"]["rows"][-1]["seconds"]) == {"samvlm", "difflib"}
    assert result["TEDS"]["peak_megabytes"].keys() == {"samvlm", "apted"}
    assert all(0 < row["score"] < 1 for row in result["TEDS"]["rows"][-2:])


def test_without_the_official_samples(capsys, tmp_path):
    assert bench.main(["--quick", "--official", str(tmp_path)]) == 0
    assert "official samples" not in capsys.readouterr().out


def test_scores_that_differ_are_said(capsys, monkeypatch, tmp_path):
    monkeypatch.setitem(bench.TEDS, "apted", lambda pair: 0.5)
    assert bench.main(["--quick", "--official", str(tmp_path)]) == 1
    assert "DO NOT AGREE" in capsys.readouterr().out


def test_no_repeats(capsys):
    assert bench.main(["--repeats", "0"]) == 2
    assert capsys.readouterr().err.startswith("bench_teds: --repeats")


def test_slow_methods_run_once_on_large_tables():
    calls = {"samvlm": 0, "official": 0}

    def method(name):
        def run(pair):
            calls[name] += 1
            return 1.0

        return run

    pair = bench.Pair("large", "", "", bench.SLOW)
    row = bench.compare(pair, {name: method(name) for name in calls}, 3)
    assert calls == {"samvlm": 3, "official": 1} and row["apart"] == 0.0
