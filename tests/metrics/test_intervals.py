"""Bootstrap intervals and the paired test: known answers, coverage, exactness."""

import itertools
import random

import numpy as np
import pytest

from samvlm.metrics import bootstrap_interval, intervals, paired_comparison


def test_the_interval_of_a_normal_mean():
    values = np.random.default_rng(1).normal(0.8, 0.1, 400)
    low, high = bootstrap_interval(values)
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.1 * half)
    narrow = bootstrap_interval(values, level=0.5)
    assert low < narrow[0] < values.mean() < narrow[1] < high


def test_the_interval_holds_the_true_mean_about_as_often_as_it_says(monkeypatch):
    monkeypatch.setattr(intervals, "DRAWS", 400)
    generator = np.random.default_rng(2)
    inside = 0
    for _ in range(300):
        low, high = bootstrap_interval(generator.beta(5, 2, 60))
        inside += low <= 5 / 7 <= high
    assert 0.90 < inside / 300 < 0.98


def test_the_same_seed_gives_the_same_interval(monkeypatch):
    values = np.random.default_rng(3).random(40)
    assert bootstrap_interval(values) == bootstrap_interval(values)
    assert bootstrap_interval(values, seed=1) != bootstrap_interval(values, seed=2)
    monkeypatch.setattr(intervals, "_AT_ONCE", 7)  # resamples drawn one by one
    assert bootstrap_interval(values) == pytest.approx(bootstrap_interval(values), abs=0.05)
    assert bootstrap_interval([0.3]) == (0.3, 0.3)


def test_the_exact_test_counts_every_assignment_of_signs():
    rng = random.Random(3)
    for size in (1, 2, 5, 9):
        a = [rng.random() for _ in range(size)]
        b = [rng.random() for _ in range(size)]
        differences = [y - x for x, y in zip(a, b, strict=True)]
        sums = [
            abs(sum(s * d for s, d in zip(signs, differences, strict=True)))
            for signs in itertools.product((1, -1), repeat=size)
        ]
        expected = sum(total >= abs(sum(differences)) - 1e-9 for total in sums) / 2**size
        found = paired_comparison(a, b)
        assert found.p_value == pytest.approx(expected)
        assert found.mean_difference == pytest.approx(sum(differences) / size)


def test_all_wins_of_one_size():
    found = paired_comparison([0.5] * 8, [0.75] * 8)
    assert found == (0.25, 0.25, 0.25, 2 / 2**8, 8, 0, 0)
    assert paired_comparison([0.75] * 8, [0.5] * 8)[:1] + paired_comparison([0.75] * 8, [0.5] * 8)[4:] == (
        -0.25, 0, 8, 0
    )  # fmt: skip


def test_nothing_differs():
    assert paired_comparison([0.5, 1.0], [0.5, 1.0]) == (0.0, 0.0, 0.0, 1.0, 0, 0, 2)


def test_drawn_signs_agree_with_the_exact_test(monkeypatch):
    generator = np.random.default_rng(4)
    a = generator.random(14)
    b = a + generator.normal(0.05, 0.15, 14)
    exact = paired_comparison(a, b).p_value
    monkeypatch.setattr(intervals, "_EXACT", 0)
    assert paired_comparison(a, b).p_value == pytest.approx(exact, abs=0.02)
    assert 0.02 < exact < 0.98
    monkeypatch.setattr(intervals, "_AT_ONCE", 50)
    assert paired_comparison(a, b).p_value == pytest.approx(exact, abs=0.02)


def test_a_real_difference_is_found_and_chance_is_not():
    generator = np.random.default_rng(5)
    a = generator.random(200)
    better = paired_comparison(a, a + generator.normal(0.03, 0.05, 200))
    assert better.p_value < 0.001 and 0 < better.low < 0.03 < better.high and better.wins > better.losses
    chance = [paired_comparison(a, a + generator.normal(0.0, 0.05, 200)).p_value < 0.05 for _ in range(20)]
    assert sum(chance) <= 4


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: bootstrap_interval([]), "at least one number"),
        (lambda: bootstrap_interval([[1.0]]), "at least one number"),
        (lambda: bootstrap_interval([0.5, float("nan")]), r"values\[1\] is nan"),
        (lambda: bootstrap_interval([0.5], level=95), "between 0 and 1"),
        (lambda: paired_comparison([1.0], [1.0, 0.5]), "a has 1 scores and b 2"),
        (lambda: paired_comparison([1.0], [float("inf")]), r"b\[0\] is inf"),
    ],
)
def test_what_is_no_score(call, text):
    with pytest.raises(ValueError, match=text):
        call()
