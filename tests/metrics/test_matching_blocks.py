"""Content similarity against difflib itself, on texts that make it choose."""

import random
from difflib import SequenceMatcher

import numpy as np
import pytest

from samvlm.metrics import matching_blocks
from samvlm.metrics.matching_blocks import matching_ratios

ALPHABETS = ["ab", "abc", "0123456789.", "abcdefghijklmnop ", "日本語ab\U0001d6fc", "x"]


def slow_ratio(first: str, second: str) -> float:
    """As the official GriTS code: the texts of the matching blocks, joined."""
    if not first and not second:
        return 1.0
    blocks = SequenceMatcher(None, first, second).get_matching_blocks()
    return 2 * len("".join(first[b.a : b.a + b.size] for b in blocks)) / (len(first) + len(second))


def slow_ratios(firsts: list[str], seconds: list[str]) -> np.ndarray:
    return np.array([[slow_ratio(first, second) for second in seconds] for first in firsts])


def test_equal_to_difflib_on_random_texts():
    rng = random.Random(3)
    seen = set()
    for _ in range(150):
        alphabet, longest = rng.choice(ALPHABETS), rng.choice([2, 5, 12, 40])
        lists = [
            ["".join(rng.choices(alphabet, k=rng.randint(0, longest))) for _ in range(rng.randint(1, 9))]
            for _ in range(2)
        ]
        expected = slow_ratios(*lists)
        assert (matching_ratios(*lists) == expected).all(), lists
        seen.update(expected.ravel().tolist())
    assert len(seen) > 300


@pytest.mark.parametrize("longest", [120, 199, 200, 350])
def test_equal_to_difflib_on_long_texts(longest):
    """From 200 characters on, difflib leaves popular characters of the second text out; so do we."""
    rng = random.Random(longest)
    words = ["alpha", "beta ", "gamma", "1.5", " (±", "0.05)", "δ"]
    lists = []
    for _ in range(2):
        texts = ["".join(rng.choices(words, k=longest))[:length] for length in (longest, longest - 1, 30, 0)]
        lists.append([*texts, "".join(chr(0x4E00 + rng.randrange(300)) for _ in range(longest))])
    assert (matching_ratios(*lists) == slow_ratios(*lists)).all()


@pytest.mark.parametrize("times", [300, 700])
def test_a_first_text_beyond_the_small_numbers(times):
    first, second = "ab" * times + "needle" + "cd" * times, "needle ab cd" * 10
    assert matching_ratios([first, "e"], [second, "needle"]).tolist() == [
        [slow_ratio(first, second), slow_ratio(first, "needle")],
        [slow_ratio("e", second), slow_ratio("e", "needle")],
    ]


def test_many_pairs_are_parted_and_sorted(monkeypatch):
    rng = random.Random(8)
    texts = ["".join(rng.choices("abcde 12", k=rng.randint(0, 25))) for _ in range(80)]
    expected = slow_ratios(texts[:40], texts[40:])
    assert (matching_ratios(texts[:40], texts[40:]) == expected).all()
    monkeypatch.setattr(matching_blocks, "_PAIRS", 100)  # several parts, several groups of lengths in each
    monkeypatch.setattr(matching_blocks, "_PLACES", 64)
    assert (matching_ratios(texts[:40], texts[40:]) == expected).all()


def test_more_characters_than_a_byte_holds_and_surrogates():
    first = "".join(chr(0x100 + n) for n in range(180)) + "\ud800"
    second = "".join(chr(0x100 + n) for n in range(90, 270)) + "\ud800\udfff"
    assert matching_ratios([first], [second[:199]])[0, 0] == slow_ratio(first, second[:199])


def test_nothing_to_compare():
    assert matching_ratios(["", "a"], ["", "b"]).tolist() == [[1.0, 0.0], [0.0, 0.0]]


def test_texts_that_would_take_minutes_are_refused(monkeypatch):
    with pytest.raises(ValueError, match="too long to compare: 200000 characters"):
        matching_ratios(["ab" * 100_000], ["ba" * 100_000])
    rng = random.Random(0)
    rare = ["".join(chr(0x4E00 + rng.randrange(150)) for _ in range(2000)) for _ in range(2)]
    assert matching_ratios(rare[:1], rare[1:])[0, 0] > 0
    monkeypatch.setattr(matching_blocks, "MAX_STEPS", 30_000)
    with pytest.raises(ValueError, match="takes too long to compare"):
        matching_ratios(rare[:1], rare[1:])
