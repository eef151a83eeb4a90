"""GriTS against a slow reference written from the paper and the official code's description, and by hand."""

import random
from difflib import SequenceMatcher

import pytest
from random_tables import random_table

from samvlm.data.tables import Table
from samvlm.metrics import grits_con, grits_top, table_pair
from samvlm.metrics.grits import align_grids, mean_rewards, span_rewards, text_rewards


def page(rows: str) -> str:
    return f"<html><body><table>{rows}</table></body></html>"


# The slow reference: every reward apart, nested dynamic programming, F-score. A diagonal step is preferred, then
# leaving out a line of the truth.


def align(n1: int, n2: int, reward) -> tuple[float, list[tuple[int, int]]]:
    best = [[0.0] * (n2 + 1) for _ in range(n1 + 1)]
    step = [[""] * (n2 + 1) for _ in range(n1 + 1)]
    for i in range(1, n1 + 1):
        for j in range(1, n2 + 1):
            options = {
                "both": best[i - 1][j - 1] + reward(i - 1, j - 1),
                "first": best[i - 1][j],
                "second": best[i][j - 1],
            }
            best[i][j] = max(options.values())
            step[i][j] = next(name for name, value in options.items() if value == best[i][j])
    pairs, i, j = [], n1, n2
    while i and j:
        if step[i][j] == "both":
            pairs.append((i - 1, j - 1))
        i, j = i - (step[i][j] != "second"), j - (step[i][j] != "first")
    return best[n1][n2], pairs[::-1]


def slow_grits(truth: list[list], prediction: list[list], reward) -> tuple[float, list, list]:
    def lines(one: list[list], two: list[list]) -> list[tuple[int, int]]:
        gains = {}
        for i, a in enumerate(one):
            for j, b in enumerate(two):
                gains[i, j] = align(len(a), len(b), lambda x, y, a=a, b=b: reward(a[x], b[y]))[0]
        return align(len(one), len(two), lambda i, j: gains[i, j])[1]

    rows = lines(truth, prediction)
    cols = lines([*zip(*truth, strict=True)], [*zip(*prediction, strict=True)])
    total = sum(reward(truth[i][k], prediction[j][m]) for i, j in rows for k, m in cols)
    places = sum(len(grid) * len(grid[0]) for grid in (truth, prediction))
    return 2 * total / places, rows, cols


def texts(table: Table) -> list[list[str]]:
    return [[" ".join(cell.text.split()) for cell in line] for line in table.grid()]


def spans(table: Table) -> list[list[tuple]]:
    return [
        [(c.col - x, c.row - y, c.col + c.colspan - x, c.row + c.rowspan - y) for x, c in enumerate(line)]
        for y, line in enumerate(table.grid())
    ]


def matching_ratio(a: str, b: str) -> float:
    blocks = SequenceMatcher(None, a, b).get_matching_blocks()
    return 2 * sum(block.size for block in blocks) / (len(a) + len(b)) if a or b else 1.0


def overlap(a: tuple, b: tuple) -> float:
    """Common area over the area of the rectangle around both, as the official code takes it."""
    low, high = [max(p, q) for p, q in zip(a, b, strict=True)], [min(p, q) for p, q in zip(a, b, strict=True)]
    common = max(high[2] - low[0], 0) * max(high[3] - low[1], 0)
    return common / ((low[2] - high[0]) * (low[3] - high[1]))


def edited(table: Table, rng: random.Random) -> Table:
    """The table with some texts changed and some rows or columns dropped, doubled or moved; spans are lost."""
    rows = [
        [cell.text if rng.random() < 0.8 else cell.text[1:] + "x" for cell in line] for line in table.grid()
    ]
    for _ in range(2):
        change = rng.choice(["none", "drop", "double", "turn"])
        index = rng.randrange(len(rows))
        if change == "drop" and len(rows) > 1:
            del rows[index]
        elif change == "double":
            rows.insert(index, list(rows[index]))
        rows = [list(line) for line in zip(*rows, strict=True)]
    return Table.from_rows(rows)


def random_pair(rng: random.Random) -> tuple[Table, Table]:
    truth = random_table(rng, max_side=6, hostile=rng.random() < 0.5)
    return (edited(truth, rng) if rng.random() < 0.5 else random_table(rng, max_side=6, hostile=False)), truth


def test_against_the_slow_reference():
    rng = random.Random(11)
    scores = set()
    for _ in range(150):
        prediction, truth = random_pair(rng)
        for score, view, reward in ((grits_top, spans, overlap), (grits_con, texts, matching_ratio)):
            expected, rows, cols = slow_grits(view(truth), view(prediction), reward)
            assert abs(score(prediction.to_html(), truth.to_html()) - expected) < 1e-12
            rewards = (span_rewards if view is spans else text_rewards)(truth, prediction)
            assert align_grids(rewards) == (rows, cols)
            scores.add(round(expected, 9))
        assert grits_top(truth.to_html(), truth.to_html()) == 1.0
        assert grits_con(truth.to_html(), truth.to_html()) == 1.0
    assert len(scores) > 150


def test_the_mean_of_two_rewards():
    rng = random.Random(2)
    for _ in range(30):
        prediction, truth = random_pair(rng)
        both = mean_rewards(text_rewards(truth, prediction), span_rewards(truth, prediction))
        one, two = [(texts(t), spans(t)) for t in (truth, prediction)]
        for _ in range(10):
            i, k = rng.randrange(truth.n_rows), rng.randrange(truth.n_cols)
            j, m = rng.randrange(prediction.n_rows), rng.randrange(prediction.n_cols)
            expected = (matching_ratio(one[0][i][k], two[0][j][m]) + overlap(one[1][i][k], two[1][j][m])) / 2
            assert both.values[both.kinds1[i, k], both.kinds2[j, m]] == pytest.approx(expected)


ROWS = "<tr><td>a</td><td>b</td></tr><tr><td>c</td><td>d</td></tr>"


@pytest.mark.parametrize(
    ("prediction", "truth", "top", "con"),
    [
        (page(ROWS), page(ROWS), 1.0, 1.0),
        (f"```html\n<table>{ROWS}</table>\n```", page(ROWS.replace("td", "th")), 1.0, 1.0),
        (page("<tr><td>a</td><td>b</td></tr>"), page(ROWS), 2 * 2 / 6, 2 * 2 / 6),
        (page("<tr><td>c</td><td>d</td></tr>"), page(ROWS), 2 * 2 / 6, 2 * 2 / 6),
        (page("<tr><td>a</td><td>x</td></tr><tr><td>c</td><td>d</td></tr>"), page(ROWS), 1.0, 3 / 4),
        (page("<tr><td>ab</td></tr>"), page("<tr><td>a</td></tr>"), 1.0, 2 / 3),
        (page("<tr><td></td></tr>"), page("<tr><td> </td></tr>"), 1.0, 1.0),
        # two places of one cell against one place each: [0, 2] on [0, 1], then [-1, 1] on [0, 1]
        (page('<tr><td colspan="2">a</td></tr>'), page("<tr><td>a</td><td>a</td></tr>"), 0.5, 1.0),
        ("no table", page(ROWS), 0.0, 0.0),
        ("", page(ROWS), 0.0, 0.0),
        (page("<tr></tr>"), page(ROWS), 0.0, 0.0),
    ],
)
def test_by_hand(prediction, truth, top, con):
    assert grits_top(prediction, truth) == pytest.approx(top)
    assert grits_con(prediction, truth) == pytest.approx(con)


def test_crossed_spans_overlap_within_the_rectangle_around_both():
    wide, high = page('<tr><td colspan="2">a<tr><td>b<td>c'), page('<tr><td rowspan="2">a<td>b<tr><td>c')
    # corner place: [0, 2] x [0, 1] on [0, 1] x [0, 2] have 1 of 4 (of a true union, 1 of 3)
    assert grits_top(wide, high) == pytest.approx((1 / 4 + 1 / 2 + 1 / 2 + 1) / 4)


@pytest.mark.parametrize("score", [grits_top, grits_con])
def test_what_is_an_error(score, monkeypatch):
    with pytest.raises(ValueError, match="no table"):
        score(page(ROWS), "nothing")
    with pytest.raises(ValueError, match="prediction must be text"):
        score(None, page(ROWS))
    monkeypatch.setattr(table_pair, "MAX_PRODUCT", 15)
    with pytest.raises(ValueError, match="too large to compare: 4 against 4 places"):
        score(page(ROWS), page(ROWS))


def test_long_rows_are_aligned_in_parts(monkeypatch):
    rng = random.Random(4)
    tables = [Table.from_rows([[rng.choice("abc") for _ in range(7)] for _ in range(9)]) for _ in range(2)]
    whole = grits_con(tables[0].to_html(), tables[1].to_html())
    monkeypatch.setattr("samvlm.metrics.grits._AT_ONCE", 100)
    assert grits_con(tables[0].to_html(), tables[1].to_html()) == whole
