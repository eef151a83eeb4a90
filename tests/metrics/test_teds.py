"""TEDS: the official scores, a textbook tree edit distance on random tables, and each rule of the normalised one."""

import json
import random
from pathlib import Path

import pytest
from lxml import etree
from lxml.html import HTMLParser, fromstring
from random_tables import random_table

from samvlm.metrics import teds, teds_normalised, teds_struct, teds_struct_normalised

OFFICIAL = Path(__file__).parents[3] / "shared" / "data" / "teds"


def page(rows: str) -> str:
    return f"<html><body><table>{rows}</table></body></html>"


# A slow reference: the official code's tree and costs, and the textbook recurrence of Zhang and Shasha.


def tokens(node) -> list[str]:
    out = [f"<{node.tag}>", *(node.text or "")]
    for child in node:
        out += tokens(child)
    if node.tag != "unk":
        out.append(f"</{node.tag}>")
    return out + (list(node.tail or "") if node.tag != "td" else [])


def postorder(node, structure: bool) -> list[tuple[tuple, int]]:
    """Each node as (label, number of nodes in its subtree)."""
    if node.tag == "td":
        spans = int(node.get("colspan", 1)), int(node.get("rowspan", 1))
        return [(("td", *spans, () if structure else tuple(tokens(node)[1:-1])), 1)]
    below = [item for child in node for item in postorder(child, structure)]
    return [*below, ((node.tag, None, None, ()), len(below) + 1)]


def levenshtein(a, b) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a):
        new = [i + 1]
        for j, y in enumerate(b):
            new.append(min(new[j] + 1, row[j + 1] + 1, row[j] + (x != y)))
        row = new
    return row[-1]


def rename(a, b) -> float:
    if a[:3] != b[:3]:
        return 1.0
    return levenshtein(a[3], b[3]) / max(len(a[3]), len(b[3]), 1) if a[0] == "td" else 0.0


def zhang_shasha(one, two) -> float:
    left1, left2 = ([i - size + 1 for i, (_, size) in enumerate(tree)] for tree in (one, two))
    distance = {}
    for i in sorted({left: i for i, left in enumerate(left1)}.values()):
        for j in sorted({left: j for j, left in enumerate(left2)}.values()):
            forest = {(left1[i] - 1, left2[j] - 1): 0.0}
            for x in range(left1[i], i + 1):
                forest[x, left2[j] - 1] = forest[x - 1, left2[j] - 1] + 1
            for y in range(left2[j], j + 1):
                forest[left1[i] - 1, y] = forest[left1[i] - 1, y - 1] + 1
            for x in range(left1[i], i + 1):
                for y in range(left2[j], j + 1):
                    best = min(forest[x - 1, y], forest[x, y - 1]) + 1
                    if left1[x] == left1[i] and left2[y] == left2[j]:
                        best = min(best, forest[x - 1, y - 1] + rename(one[x][0], two[y][0]))
                        distance[x, y] = best
                    else:
                        best = min(best, forest[left1[x] - 1, left2[y] - 1] + distance[x, y])
                    forest[x, y] = best
    return distance[len(one) - 1, len(two) - 1]


def slow_teds(prediction: str, truth: str, structure: bool) -> float | None:
    """None where neither table has a node."""
    parser = HTMLParser(remove_comments=True, encoding="utf-8")
    tables = [fromstring(text, parser=parser).xpath("body/table")[0] for text in (prediction, truth)]
    n_nodes = max(len(table.xpath(".//*")) for table in tables)
    if n_nodes == 0:
        return None
    return 1.0 - zhang_shasha(*(postorder(table, structure) for table in tables)) / n_nodes


def random_html(rng: random.Random, depth: int = 0) -> str:
    """Tables as bad as models write them: th, nesting, empty sections and rows, inline tags, sections in odd order."""

    def text() -> str:
        inline = [
            "a",
            "b",
            " ",
            "1",
            "&lt;",
            "é",
            "\ue000",
            "<b>x</b>",
            "<i>y</i>z",
            "<sup>2</sup>",
            "<unk>u</unk>",
            "<b></b>",
            "<br>",
        ]
        return "".join(rng.choice(inline) for _ in range(rng.choice([0, 1, 2, 3, 6])))

    def cell() -> str:
        inner = random_html(rng, depth + 1) if depth < 1 and rng.random() < 0.03 else text()
        span = rng.choice([""] * 6 + [' colspan="2"', ' rowspan="2"', " colspan=3 rowspan=2"])
        tag = rng.choice(["td"] * 9 + ["th"])
        return f"<{tag}{span}>{inner}</{tag}>"

    def row() -> str:
        return f"<tr>{''.join(cell() for _ in range(rng.randint(0, 4)))}</tr>"

    def rows() -> str:
        return "".join(row() for _ in range(rng.choice([0, 1, 1, 2, 3])))

    parts = [rng.choice([f"<thead>{rows()}</thead>", f"<tbody>{rows()}</tbody>", rows(), "<caption>c</caption>"])
             for _ in range(rng.randint(1, 3))]  # fmt: skip
    return f"<table>{''.join(parts)}</table>"


@pytest.mark.slow
def test_against_the_textbook_on_5000_random_pairs():
    rng = random.Random(5)
    compared, scores = 0, set()
    while compared < 5000:
        if rng.random() < 0.5:
            pair = [f"<html><body>{random_html(rng)}</body></html>" for _ in range(2)]
        else:
            side = rng.choice([2, 2, 3, 4])
            pair = [random_table(rng, max_side=side, hostile=side < 4).to_html() for _ in range(2)]
        structure = compared % 4 == 0
        score = teds_struct if structure else teds
        expected = slow_teds(*pair, structure)
        if expected is None:
            with pytest.raises(ValueError, match="neither table"):
                score(*pair)
            continue
        assert abs(score(*pair) - expected) < 1e-12, pair
        if compared % 10 == 0:
            assert abs(score(*reversed(pair)) - expected) < 1e-12, pair
            same = slow_teds(pair[0], pair[0], structure)
            assert same is None or same == score(pair[0], pair[0]) == 1.0, pair[0]
        scores.add(round(expected, 6))
        compared += 1
    assert len(scores) > 1000


@pytest.mark.skipif(not OFFICIAL.is_dir(), reason=f"the official samples are not at {OFFICIAL}")
def test_the_official_samples():
    truth, prediction, official = (
        json.loads((OFFICIAL / name).read_text()) for name in ("gt.json", "pred.json", "official_scores.json")
    )
    assert len(official["teds"]) == 20
    for name, html in prediction.items():
        assert teds(html, truth[name]["html"]) == pytest.approx(official["teds"][name], abs=1e-12)
        assert teds_struct(html, truth[name]["html"]) == pytest.approx(
            official["teds_struct"][name], abs=1e-12
        )


ROW = "<tr><td>a</td><td>b</td></tr><tr><td>c</td><td>d</td></tr>"


@pytest.mark.parametrize(
    ("prediction", "truth", "score"),
    [
        (page("<tr><th>a</th><th>b</th></tr><tr><td>c</td><td>d</td></tr>"), page(ROW), 1 - 2 / 6),
        (page("<tr><th>x</th><td>b</td></tr>"), page("<tr><th>a</th><td>b</td></tr>"), 1.0),
        (page("<tr><td> a b </td></tr>"), page("<tr><td>a b</td></tr>"), 1 - (2 / 5) / 2),
        (page("<tr><td> </td></tr>"), page("<tr><td></td></tr>"), 0.5),
        (page("<tr><td><b>a</b></td></tr>"), page("<tr><td>a</td></tr>"), 1 - (2 / 3) / 3),
        (page(f"<tbody>{ROW}</tbody>"), page(ROW), 1 - 1 / 7),
        (f"<table>{ROW}</table>", page(ROW), 0.0),
        ("text" + page(ROW), page(ROW), 0.0),
        ("", page(ROW), 0.0),
        (" ", page(ROW), 0.0),
        ("<html><body>no table</body></html>", page(ROW), 0.0),
    ],
)
def test_oddities_of_the_official_score(prediction, truth, score):
    assert teds(prediction, truth) == pytest.approx(score, abs=1e-12)


@pytest.mark.parametrize("score", [teds, teds_struct])
def test_bad_pairs_are_errors_not_zeros(score):
    with pytest.raises(ValueError, match='colspan="100%"'):
        score(page('<tr><td colspan="100%">a</td></tr>'), page(ROW))
    with pytest.raises(ValueError, match="neither table"):
        score(page(""), page(""))


def test_deep_nesting_is_no_recursion_error():
    deep = page("<tr><td>" + "<b>" * 3000 + "x" + "</b>" * 3000 + "</td></tr>")
    assert 0.0 < teds(deep, deep) <= 1.0
    nested = page("<tr><th>" * 500)
    assert teds(nested, nested) == 1.0


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (f"Here it is:\n```html\n<table>{ROW}</table>\n```", page(ROW)),
        (page("<tr><th>a</th><th>b</th></tr><tr><td>c</td><td>d</td></tr>"), page(ROW)),
        (page("<thead><tr><td>a</td></tr></thead><tbody><tr><td>b</td></tr></tbody>"), page("<tr><td>a</td></tr><tr><td>b</td></tr>")),
        (page("<tr></tr><tr><td>a</td></tr>"), page("<tr><td>a</td></tr>")),
        (page("<tr><td><b>5</b> m<sup>2</sup></td></tr>"), page("<tr><td>5 m2</td></tr>")),
        (page("<tr><td>a<br>b</td></tr>"), page("<tr><td>a b</td></tr>")),
        (page("<tr><td><p>a</p><p>b</p></td></tr>"), page("<tr><td>a b</td></tr>")),
        (page("<tr><td>&amp;lt; &amp;</td></tr>"), page("<tr><td>&lt; &amp;amp;</td></tr>")),
        (page("<tr><td>Ａ１ ﬁ m²…</td></tr>"), page("<tr><td>A1 fi m2...</td></tr>")),
        (page("<tr><td> a&nbsp; b </td><td> </td></tr>"), page("<tr><td>a b</td><td></td></tr>")),
        (page('<tr><td colspan="1" rowspan="">a</td></tr>'), page("<tr><td>a</td></tr>")),
        (page('<tr><td rowspan="9">a</td><td>b</td></tr><tr><td>c</td></tr>'), page('<tr><td rowspan="2">a</td><td>b</td></tr><tr><td>c</td></tr>')),
        (page("<tr><td>a</td></tr><tr><td>c</td><td>d</td></tr>"), page("<tr><td>a</td><td></td></tr><tr><td>c</td><td>d</td></tr>")),
    ],
)  # fmt: skip
def test_each_rule_of_the_normalised_score(one, two):
    assert teds_normalised(one, two) == 1.0
    assert teds_normalised(two, one) == 1.0


@pytest.mark.parametrize(
    ("one", "two", "score"),
    [
        (page("<tr><td>A</td></tr>"), page("<tr><td>a</td></tr>"), 0.5),
        (page("<tr><td>1–2</td></tr>"), page("<tr><td>1-2</td></tr>"), 1 - (1 / 3) / 2),
        (page('<tr><td colspan="2">a</td></tr>'), page("<tr><td>a</td><td></td></tr>"), 1 - 2 / 3),
        ("no table", page("<tr><td>a</td></tr>"), 0.0),
        ("", page("<tr><td>a</td></tr>"), 0.0),
    ],
)
def test_what_the_normalised_score_still_counts(one, two, score):
    assert teds_normalised(one, two) == pytest.approx(score, abs=1e-12)


def test_the_normalised_score_needs_a_truth():
    with pytest.raises(ValueError, match="no table"):
        teds_normalised(page(ROW), "nothing")


def test_the_normalised_structure():
    truth = page('<thead><tr><th colspan="2">a</th></tr></thead><tr><td>b<br>c</td><td>d</td></tr>')
    same = '```html\n<table><tr><td colspan="2"></td></tr><tr><td></td><td>x</td></tr></table>\n```'
    assert teds_struct_normalised(same, truth) == teds_struct_normalised(truth, same) == 1.0
    without_span = "<table><tr><td>a</td><td></td></tr><tr><td>b</td><td>d</td></tr></table>"
    # tbody, two rows and four cells against one cell less: one is changed and one added
    assert teds_struct_normalised(without_span, truth) == pytest.approx(1 - 2 / 7, abs=1e-12)
    assert teds_struct_normalised("none", truth) == 0.0
    with pytest.raises(ValueError, match="no table"):
        teds_struct_normalised(truth, "none")


def test_the_parser_makes_no_nodes_of_processing_instructions_or_comments():
    plain = page("<tr><td>ab</td></tr>")
    assert teds(page("<tr><td>a<!-- x -->b</td></tr>"), plain) == 1.0
    assert etree.LIBXML_VERSION >= (2, 10)
