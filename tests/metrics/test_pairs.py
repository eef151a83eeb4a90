"""Many pairs at once: the same scores in one process and in several, and no pair that costs another."""

import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from random_tables import random_table
from tqdm import tqdm

from samvlm.metrics import METRICS, PairScore, cell_scores, pairs, score_pair, score_pairs, teds

ROOT = Path(__file__).resolve().parents[2]
GOOD = "<html><body><table><tr><td>a</td></tr></table></body></html>"


def random_pairs(count: int) -> list[tuple[str, str]]:
    rng = random.Random(count)
    return [
        (random_table(rng, hostile=False).to_html(), random_table(rng, hostile=False).to_html())
        for _ in range(count)
    ]


def test_every_metric_by_name():
    (pair,) = random_pairs(1)
    score = score_pair(*pair, list(METRICS))
    assert score.error is None and list(score.scores) == list(METRICS)
    assert score.scores["teds"] == teds(*pair)
    cells = [score.scores[f"cell_{name}"] for name in ("precision", "recall", "f1")]
    assert tuple(cells) == cell_scores(*pair)
    assert all(isinstance(value, float) for value in score.scores.values())


BAD = [
    (None, GOOD, (), "prediction must be text, got None"),
    (GOOD, 5, (), "truth must be text, got 5"),
    (
        GOOD,
        "<table><tr><td>a</td></tr></table>",
        ("teds_normalised", "grits_con"),
        "truth has no table where",
    ),
    (GOOD.replace("<td>", '<td colspan="2%">'), GOOD, ("teds_normalised", "grits_con"), 'colspan="2%"'),
    (GOOD, "", (), "no table with cells"),
]


@pytest.mark.parametrize("workers", [1, 2])
def test_bad_pairs_are_reported_and_cost_no_other(workers):
    metrics = ("teds", "teds_normalised", "grits_con")
    scores = score_pairs([(GOOD, GOOD), *(bad[:2] for bad in BAD), ("", GOOD)], metrics, workers)
    assert scores[0] == PairScore(dict.fromkeys(metrics, 1.0))
    assert scores[-1] == PairScore(dict.fromkeys(metrics, 0.0))  # a model that gave nothing: no error, but 0
    for score, (_, _, left, text) in zip(scores[1:-1], BAD, strict=True):
        assert text in score.error and tuple(score.scores) == left


def test_what_is_no_value_error_is_reported_by_its_kind(monkeypatch):
    def broken(prediction: str, truth: str) -> float:
        raise MemoryError("no room")

    monkeypatch.setitem(pairs.METRICS, "teds", broken)
    assert score_pair(GOOD, GOOD, ["teds"]) == PairScore({}, "teds: MemoryError: no room")


def test_processes_give_the_scores_of_one():
    given = random_pairs(40)
    names = ("teds", "teds_struct", "teds_normalised", "grits_top", "grits_con", "cell_f1")
    expected = score_pairs(given, names)
    assert all(score.error is None for score in expected)
    assert score_pairs(given, names, workers=3) == expected
    assert score_pairs(iter(given), names, workers=2) == expected
    assert score_pairs([], workers=2) == [] == score_pairs(iter(()), workers=2)


def test_texts_of_any_kind_reach_a_process():
    given = [("\ud800\x00\n\r é", "\ud800\x00\n\r é"), ("a\u2028b", "a\nb")]
    assert score_pairs(given, ["edit_distance"], workers=2) == score_pairs(given, ["edit_distance"])


def test_a_process_that_dies_costs_the_pair_it_was_at(monkeypatch):
    killed = threading.Event()
    ask = pairs._Worker.score

    def score(self, prediction, truth):
        if prediction == "kill" and self.process is not None:
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait()
            killed.set()
        return ask(self, prediction, truth)

    monkeypatch.setattr(pairs._Worker, "score", score)
    given = [(GOOD, GOOD), ("kill", GOOD), (GOOD, GOOD)]
    scores = pairs._in_parallel(given, ["teds"], 1, tqdm(disable=True))
    assert killed.is_set()
    assert scores[0] == scores[2] == PairScore({"teds": 1.0})
    assert scores[1].scores == {} and "ended with code -9" in scores[1].error


def test_a_source_that_fails_ends_the_processes():
    def source():
        yield GOOD, GOOD
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        score_pairs(source(), workers=2)
    assert not [thread for thread in threading.enumerate() if "ThreadPool" in thread.name]


def test_what_is_asked_wrongly():
    with pytest.raises(ValueError, match=r"unknown metrics \['ted'\]; give some of teds, "):
        score_pairs([], ["ted"])
    with pytest.raises(ValueError, match="unknown metrics"):
        score_pairs([], [])
    with pytest.raises(ValueError, match="workers must be at least 1, got 0"):
        score_pairs([], workers=0)


def test_progress_is_on_standard_error(capsys):
    score_pairs([(GOOD, GOOD)] * 3, progress=True)
    out, err = capsys.readouterr()
    assert out == "" and "scoring" in err and "3/3" in err
    score_pairs([(GOOD, GOOD)])
    assert capsys.readouterr().err == ""


def test_the_metrics_load_neither_torch_nor_a_model():
    """The modules under a bare package root, as the worker loads them, where torch cannot be imported."""
    code = f"""
import importlib, pkgutil, sys, types
package = types.ModuleType("samvlm")
package.__path__ = [{str(ROOT / "samvlm")!r}]
sys.modules["samvlm"] = package
for name in ("torch", "transformers"):
    sys.modules[name] = None
import samvlm.metrics
names = [module.name for module in pkgutil.iter_modules(samvlm.metrics.__path__)]
for name in names:
    importlib.import_module("samvlm.metrics." + name)
page = {GOOD!r}
assert samvlm.metrics.teds(page, page) == samvlm.metrics.grits_con(page, page) == 1.0
loaded = [name for name in sys.modules if name.split(".")[0] in ("torch", "transformers", "PIL") and sys.modules[name]]
print(len(names), loaded, [name for name in sys.modules if name.startswith("samvlm.model")])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    count, rest = done.stdout.split(" ", 1)
    assert int(count) >= 10 and rest == "[] []\n"
