"""scripts/bench_features.py on a toy tower: cached steps have the live losses; wrong words are told."""

import importlib.util
import json
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "bench_features.py"
spec = importlib.util.spec_from_file_location("bench_features", SCRIPT)
bench = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bench)


def test_cached_steps_are_the_live_ones(capsys, tmp_path):
    words = ["--tower", "toy", "--side", "256", "--images", "3", "--language-models", "tiny"]
    assert bench.main([*words, "-o", str(tmp_path / "bench.json")]) == 0
    (result,) = json.loads((tmp_path / "bench.json").read_text())
    assert 0 <= result["loss_apart"] < 1e-3
    assert all(result[name] > 0 for name in ("live", "first", "cached", "bytes"))
    assert "samples/s" in capsys.readouterr().out


def test_wrong_words(capsys):
    assert bench.main(["--side", "100"]) == 2
    assert "multiple of 64" in capsys.readouterr().err
