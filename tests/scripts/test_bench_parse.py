"""scripts/bench_parse.py on one drawn table: both loops and a batch read the same, and bad input is one line."""

import importlib.util
from pathlib import Path

from documents import drawing

SCRIPT = Path(__file__).parents[2] / "scripts" / "bench_parse.py"
spec = importlib.util.spec_from_file_location("bench_parse", SCRIPT)
bench = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bench)


def test_the_ways_agree(tmp_path, capsys, tiny_checkpoint, monkeypatch):
    monkeypatch.setattr(bench.torch, "set_num_threads", lambda count: None)
    for name in ("a.png", "b.png"):
        drawing().save(tmp_path / name)
    (tmp_path / "c.png").write_bytes(b"no image")
    limits = ["--max-new-tokens", "8", "--model", str(tiny_checkpoint), "--batches", "2"]
    assert bench.main([str(tmp_path), *limits]) == 0, capsys.readouterr()
    told = capsys.readouterr()
    assert "| transformers, 2 threads | " in told.out and "| kernels, 2 threads | " in told.out
    assert "2 images, 0 of them read in several ways; 8 tokens" in told.out
    assert "batches of 2: " in told.out and told.out.endswith("0 read otherwise than alone\n")
    assert "left out: " in told.err and "c.png" in told.err


def test_bad_input_is_one_line(tmp_path, capsys):
    assert bench.main([str(tmp_path)]) == 2
    assert bench.main([str(tmp_path / "none")]) == 2
    assert [line.split(": ")[0] for line in capsys.readouterr().err.splitlines()] == ["bench_parse"] * 2
