"""scripts/bench_tower_gpu.py and tune_attention.py tried out on a CPU: tables, goals, methods that cannot run."""

import json

import pytest
import torch

from scripts import bench_tower, bench_tower_gpu, tune_attention

TINY = ["--device", "cpu", "--models", "tiny", "--batches", "1", "--rounds", "2", "--dtype", "float32"]


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile:UserWarning")
def test_all_paths_and_peers_in_one_run(capsys, tmp_path, monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    file = tmp_path / "bench.json"
    assert bench_tower_gpu.main([*TINY, "--no-compile", "-o", str(file)]) == 0
    forward, training = json.loads(file.read_text())
    assert (forward["mode"], training["mode"]) == ("forward", "training")
    names = {"samvlm auto", "samvlm triton", "samvlm flex", "samvlm folded"}
    names |= {"transformers eager", "transformers sdpa"}
    for result in (forward, training):
        assert names <= result["rows"].keys()
        for name, row in result["rows"].items():
            if row["failed"] is None:
                assert len(row["ms"]) == 2 and row["error"] < 1e-5, name
    assert forward["auto"] == {"windows": "bias", "whole grid": "bias"}
    assert "cannot run" in forward["rows"]["samvlm triton"]["failed"]
    assert forward["rows"]["samvlm flex"]["failed"] is None
    assert "no gradients" in training["rows"]["samvlm flex"]["failed"]
    said = capsys.readouterr().out
    assert said.count("ViT-TINY") == 2 and "x compiled" in said and "goal" not in said


def test_goals():
    rows = {
        "samvlm auto": {"ms": [20.0, 16.0, 16.0]},
        "samvlm flex": {"ms": [30.0]},
        "samvlm triton": {"ms": []},
        bench_tower_gpu.BASE: {"ms": [24.0]},
    }
    result = {"model": "b", "batch": 8, "mode": "forward", "size": (1024, 1024), "rows": rows}
    assert bench_tower_gpu.goals([result, result | {"batch": 1}]) == [
        "goal: ViT-B at batch 8, images/s: >= 420; found 500 (samvlm auto): met",
        "goal: ViT-B at batch 8, times transformers sdpa compiled: >= 1.6; found 1.5 (samvlm auto): not met",
    ]


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what is missing without a GPU")
def test_no_gpu_is_one_line(capsys):
    assert bench_tower.main(["--device", "cuda"]) == 2
    assert "sees no GPU here" in capsys.readouterr().err
    assert tune_attention.main([]) == 2
    assert "sees no GPU here" in capsys.readouterr().err


def test_tuning_compares_the_paths(capsys):
    words = ["--device", "cpu", "--models", "tiny", "--batch", "1", "--rounds", "1", "--dtype", "float32"]
    assert tune_attention.main([*words, "--no-search", "--paths", "folded", "bias"]) == 0
    said = capsys.readouterr().out
    assert said.count("folded") == said.count("bias") == 4
    found = tune_attention.search(
        "forward", lambda: None, (True, True), bench_options(), bench_tower_gpu.Clock("cpu")
    )
    assert found.startswith("forward: now (128, 8, 3)") and "best (" in found


def bench_options():
    return type("Options", (), {"rounds": 1})()
