"""Shares of outputs that are valid, empty, cut off, stuck."""

import pytest

from samvlm.metrics import rates

VALID = "<table><tr><td>a</td><td>b</td></tr></table>"


@pytest.mark.parametrize(
    ("html", "valid", "empty"),
    [
        (VALID, 1, 0),
        (VALID + VALID, 1, 0),
        ("<table><tr><td rowspan='2'>a</td><td>b</td></tr><tr><td>c</td></tr></table>", 1, 0),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", 0, 0),  # a short row
        ("<table><tr><td rowspan='3'>a</td><td>b</td></tr></table>", 0, 0),  # a span beyond the table
        (VALID + "<table><tr><td>a</td></tr><tr><td>b</td><td>c</td></tr></table>", 0, 0),
        ("<table><tr><td> </td><td></td></tr></table>", 0, 1),
        ("<table></table>", 0, 1),
        ("some words", 0, 1),
        ("", 0, 1),
        (None, 0, 1),
        ("<table>" + "<tr>" + "<td colspan='1000'>a" * 101 + "</table>", 0, 0),  # too large to be one
    ],
)
def test_valid_and_empty(html, valid, empty):
    assert rates([html]) == (valid, empty, 0.0, 0.0)


def test_shares_of_a_set():
    looping = "<table>" + "<tr><td>0</td></tr>" * 40
    found = rates([VALID, "", looping, VALID], ["stop", "length", "length", "repetition"])
    assert found == (3 / 4, 1 / 4, 2 / 4, 2 / 4)
    assert rates([VALID, VALID], [None, "stop"], ["ab", "ab" * 200]).repetition == 0.5


def test_lists_that_do_not_fit():
    with pytest.raises(ValueError, match="got none"):
        rates([])
    with pytest.raises(ValueError, match="2 predictions, 1 finish reasons and 2 texts"):
        rates([VALID, VALID], ["stop"])
