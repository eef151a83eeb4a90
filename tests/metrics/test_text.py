"""Text scores on cases worked out by hand, and the detection of loops."""

import random

import pytest

from samvlm.metrics import anls, cer, edit_distance, exact_match, find_repetition


@pytest.mark.parametrize(
    ("prediction", "truth", "expected"),
    [("abc", "abc", (0, 0, 1)), ("abd", "abc", (1 / 3, 1 / 3, 0)), ("", "ab", (1, 1, 0)), ("abcd", "ab", (0.5, 1, 0)),
     ("abcdef", "ab", (4 / 6, 2, 0)), ("", "", (0, 0, 1)), ("x", "", (1, 1, 0)), (" a  b", "a b\n", (3 / 5, 3 / 4, 1))],
)  # fmt: skip
def test_text_scores(prediction, truth, expected):
    scores = edit_distance(prediction, truth), cer(prediction, truth), exact_match(prediction, truth)
    assert scores == pytest.approx(expected)


def test_anls():
    assert anls("Paris ", "  paris") == 1.0
    assert anls("pari", ["london", "paris"]) == pytest.approx(0.8)
    assert anls("ab", "xb") == 0.5  # at the threshold it counts
    assert anls("abcd", "abxyz") == 0.0
    assert anls("", "a") == 0.0
    with pytest.raises(ValueError, match="at least one"):
        anls("a", [])


def test_a_loop_is_found_with_its_unit():
    for unit, count in (("a", 160), ("ab ", 60), ("<fcel>0<nl>", 20), ("x" * 30 + "y", 8)):
        text = "Begin:" + unit * count
        assert find_repetition(text) == (len("Begin:"), len(unit), count)
    ids = [1, 2, 3] + [7, 8] * 100
    assert find_repetition(ids) == (3, 2, 100)


def test_what_is_no_loop():
    rng = random.Random(0)
    assert find_repetition("".join(rng.choice("ab") for _ in range(5000))) is None
    assert find_repetition("Contents" + "." * 120) is None  # a leader
    assert find_repetition("<fcel>0<fcel>0<nl>" * 7) is None  # a few equal rows
    assert find_repetition("<fcel>0<fcel>0<nl>" * 40 + "end") is None  # it came out of it
    assert find_repetition("") is None
    with pytest.raises(ValueError, match="min_repeats"):
        find_repetition("aaaa", min_repeats=1)
