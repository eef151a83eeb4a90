"""samvlm/evaluation/ceiling.py: what OTSL keeps of a table, in both scores."""

import pytest

from samvlm.evaluation.ceiling import round_trip_ceiling


def html(rows: str) -> str:
    return f"<html><body><table><tbody>{rows}</tbody></table></body></html>"


@pytest.mark.parametrize(
    ("truth", "official", "normalised"),
    [
        (html("<tr><td>a</td><td colspan='2'>b</td></tr><tr><td>c</td><td>d</td><td></td></tr>"), 1.0, 1.0),
        (html("<tr><td><b>a</b></td></tr>"), 1 - 2 / 3 / 4, 1.0),  # two of three tokens; with b four nodes
        (html("<tr><td>a</td><td> </td></tr>"), 0.75, 1.0),
        ("<table><tr><td>a</td></tr></table>", None, 1.0),
    ],
)
def test_the_ceiling(truth, official, normalised):
    found = round_trip_ceiling(truth)
    assert found[1] == normalised
    assert found[0] is None if official is None else found[0] == pytest.approx(official, abs=1e-12)


def test_what_cannot_be_measured():
    for truth, message in (
        ("no", "no table with cells"),
        (html('<tr><td rowspan="x">a</td></tr>'), "no integer"),
    ):
        with pytest.raises(ValueError, match=message):
            round_trip_ceiling(truth)
