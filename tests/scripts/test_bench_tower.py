"""scripts/bench_tower.py on a tiny tower: it runs, its figures belong together, wrong words are told."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch

from samvlm import SamVisionTowerConfig
from scripts.tower_peers import gflops

SCRIPT = Path(__file__).parents[2] / "scripts" / "bench_tower.py"
spec = importlib.util.spec_from_file_location("bench_tower", SCRIPT)
bench = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bench)
TINY = ["--model", "tiny", "--rounds", "2", "--threads", "1"]


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_all_methods_take_turns_and_agree(capsys, tmp_path):
    sizes = ["--sizes", "256x256", "128x256"]
    assert bench.main([*TINY, *sizes, "-o", str(tmp_path / "bench.json")]) == 0
    results = json.loads((tmp_path / "bench.json").read_text())
    assert [(r["dtype"], r["size"]) for r in results] == [
        (dtype, size) for size in ([256, 256], [128, 256]) for dtype in ("float32", "bfloat16")
    ]
    for result in results:
        names = {row["method"] for row in result["rows"]}
        assert {"samvlm", "Meta"} < names
        assert ("transformers sdpa" in names) == (result["size"] == [256, 256])
        limit = 1e-5 if result["dtype"] == "float32" else 3e-2
        for row in result["rows"]:
            assert len(row["seconds"]) == 2 and 0 <= row["error"] < limit
    said = capsys.readouterr().out
    assert said.count("ViT-TINY") == 4 and "x sdpa" in said


def test_training_and_a_choice_of_methods(capsys, tmp_path):
    only = ["--only", "samvlm", "transformers sdpa", "--modes", "frozen", "train", "--rounds", "1"]
    only += ["--dtypes", "float32", "--sizes", "256x256"]
    assert bench.main([*TINY, *only, "-o", str(tmp_path / "bench.json")]) == 0
    (result,) = json.loads((tmp_path / "bench.json").read_text())
    found = [(row["mode"], row["method"], len(row["seconds"])) for row in result["rows"]]
    assert found == [
        (mode, name, 1) for mode in ("frozen", "train") for name in ("samvlm", "transformers sdpa")
    ]
    said = capsys.readouterr().out
    assert said.count("x sdpa") == 1 and "train    transformers sdpa" in said


def test_profile(capsys):
    assert bench.main([*TINY, "--profile", "--dtypes", "float32", "--sizes", "256x256"]) == 0
    assert "Self CPU" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--rounds", "0"], ["--only", "nobody"], ["--sizes", "100x256"]])
def test_wrong_words_are_one_line(words, capsys):
    assert bench.main([*TINY, "--sizes", "256x256", *words]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("bench_tower: ")


def test_products_are_counted_as_published():
    # 937.6 GFLOP for ViT-B by an independent count, without the neck's and relative terms' share of rounding
    assert abs(gflops(SamVisionTowerConfig(), 1024, 1024) - 937.6) < 10
    square, table = (gflops(SamVisionTowerConfig(), 1024, width) for width in (1024, 320))
    assert table / square < 0.4
