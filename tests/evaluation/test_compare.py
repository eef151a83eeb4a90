"""Two runs against each other: differences, verdicts, and what is refused."""

import json
import random

import pytest

from samvlm.evaluation.compare import compare_runs
from samvlm.metrics import paired_comparison


@pytest.fixture
def save(tmp_path):
    def save(name: str, scores: dict[str, float], metric: str = "teds_normalised", truth: str = "t", **more):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        rows = [
            {"id": key, "task": "table", "truth": truth + key, "scores": {metric: value, **more}}
            for key, value in scores.items()
        ]
        (folder / "examples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (folder / "scores.json").write_text(json.dumps({"model": f"model {name}"}))
        return folder

    return save


def scores(count: int, shift: float = 0.0, seed: int = 0) -> dict[str, float]:
    dice = random.Random(seed)
    return {f"x{n}": 0.5 + shift + dice.uniform(-0.1, 0.1) for n in range(count)}


def test_better_worse_and_neither(save):
    a, b, c = save("a", scores(40)), save("b", scores(40, 0.1, 1)), save("c", scores(40, 0.0, 2))
    found = compare_runs(a, b)
    expected = paired_comparison(list(scores(40).values()), list(scores(40, 0.1, 1).values()))
    assert found.metrics == {"teds_normalised": expected} and found.pairs == 40
    assert found.verdict.startswith("B is better than A: teds_normalised changes by +0.")
    assert compare_runs(b, a).verdict.startswith("B is worse than A: teds_normalised changes by -0.")
    assert compare_runs(a, c).verdict.startswith("No difference between A and B can be shown")
    assert compare_runs(a, a).verdict == "A and B have the same teds_normalised on all 40 examples."
    assert found.names == (f"model a ({a})", f"model b ({b})")
    json.dumps(found.to_dict())


def test_lower_is_better(save):
    a, b = save("a", scores(30), "cer"), save("b", scores(30, -0.2, 1), "cer")
    found = compare_runs(a, b)
    row = found.metrics["cer"]
    assert found.verdict.startswith("B is better than A: cer changes by -0.")
    assert row.low < row.mean_difference < row.high < 0 and row.wins == 30
    assert found.means["cer"][0] + row.mean_difference == pytest.approx(found.means["cer"][1])


def test_the_largest_changes_come_first(save):
    a = save("a", {"same": 0.5, "up": 0.2, "down": 0.9})
    found = compare_runs(a, save("b", {"down": 0.1, "same": 0.5, "up": 0.4}))
    assert [(change.id, round(change.difference, 9)) for change in found.changes] == [
        ("down", -0.8),
        ("up", 0.2),
    ]
    assert "These are few examples" in found.verdict


def test_other_examples_are_refused_unless_shared(save):
    a, b = save("a", scores(8)), save("b", {**scores(6, 0.1), "y": 0.1})
    with pytest.raises(
        ValueError, match="A has 8 examples, B 7, 6 ids are in both; --shared compares the other 6"
    ):
        compare_runs(a, b)
    found = compare_runs(a, b, shared=True)
    assert found.pairs == 6 and found.left_out == (2, 1) and found.metrics["teds_normalised"].wins == 6
    other = save("c", scores(8), truth="u")
    with pytest.raises(ValueError, match="8 ids are in both, 8 of these with another truth"):
        compare_runs(a, other)
    with pytest.raises(ValueError, match="no example in common"):
        compare_runs(a, other, shared=True)


def test_metrics_are_those_of_both(save):
    a, b = save("a", scores(5), teds=0.5), save("b", scores(5), teds=0.25)
    assert list(compare_runs(a, b).metrics) == ["teds_normalised", "teds"]
    found = compare_runs(a, b, ["teds"])
    assert list(found.metrics) == ["teds"] and found.verdict.startswith("No difference")
    assert found.metrics["teds"].losses == 5  # of 32 assignments of signs, two are as far off: p = 1/16
    with pytest.raises(ValueError, match="no score in common"):
        compare_runs(a, b, ["anls"])


def test_what_is_no_folder_of_results(save, tmp_path):
    a = save("a", scores(3))
    with pytest.raises(ValueError, match="that `samvlm eval -o` wrote"):
        compare_runs(a, tmp_path / "none")
    (a / "examples.jsonl").write_text('{"id": "1"}\n')
    with pytest.raises(ValueError, match="run it again"):
        compare_runs(a, a)
    (a / "examples.jsonl").write_text("")
    with pytest.raises(ValueError, match="no examples"):
        compare_runs(a, a)
