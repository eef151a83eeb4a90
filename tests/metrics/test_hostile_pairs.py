"""200 hostile pairs: every metric gives a float or one clear ValueError, in bounded time and memory."""

import json
import math
import os
import random
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from patience import ends_soon
from random_tables import random_table

from samvlm import metrics
from samvlm.metrics import METRICS, align_tables, score_pairs, teds, teds_normalised
from samvlm.metrics.table_pair import read_pair

TABLE_METRICS = ["teds", "teds_struct", "teds_normalised", "grits_top", "grits_con", "cell_f1"]
TEXT_METRICS = ["edit_distance", "cer", "exact_match", "anls"]


def page(rows: str) -> str:
    return f"<html><body><table>{rows}</table></body></html>"


def grid(rows: int, cols: int, text=lambda row, col: f"{row}.{col}") -> str:
    return page(
        "".join(f"<tr>{''.join(f'<td>{text(r, c)}</td>' for c in range(cols))}</tr>" for r in range(rows))
    )


PLAIN = grid(3, 3)
LARGE = grid(100, 20)  # 2,000 cells
HEBREW = "\u202eשלום\u202c عربى \u200f12.5\u200e"
DEEP = 10_000

TABLES = {
    "span of 1e9": page('<tr><td colspan="1000000000" rowspan="1000000000">a</td><td>b</td></tr>'),
    "span of 1e9 in each cell": page('<tr><td rowspan="1000000000">a<td colspan=1000000000>b</tr>' * 40),
    "spans that overlap": page('<tr><td rowspan="3">a<td colspan="3">b<tr><td colspan="4">c<tr><td rowspan="9">d'),
    "spans of a thousand": page("<tr>" + '<td colspan="1000" rowspan="1000">a' * 40),
    "spans of 5000 digits": page(f'<tr><td colspan="{"9" * 5000}">a'),
    "span of zero, of minus five": page('<tr><td colspan="0" rowspan="-5">a</td></tr>'),
    "span of a fraction": page('<tr><td colspan="1.5" rowspan="1e3">a</td></tr>'),
    "span in Arabic digits": page('<tr><td colspan="٣">a</td></tr>'),
    "span of nothing": page("<tr><td colspan rowspan=>a</td></tr>"),
    "nothing": "",
    "blanks": " \n\t ",
    "word": "None",
    "null": "null",
    "not a number": "NaN",
    "comment": "<!-- <table><tr><td>a</td></tr></table> -->",
    "comment left open": "<html><body><table><tr><td>a<!-- ",
    "bare table": "<table><tr><td>a</td></tr></table>",
    "code fence": "```html\n" + PLAIN + "\n```",
    "table without rows": page(""),
    "rows without cells": page("<tr></tr>" * 500),
    "cells without rows": page("<td>a" * 20),
    "unclosed tags": "<html><body><table><thead><tr><td>a<td><b>b<i>c<tr><td><sup>d",
    "cut within a tag": "<html><body><table><tr><td>a</td><td cols",
    "closed too often": page("<tr><td>a</td></td></td></tr></tr></table></table><tr><td>b</td></tr>"),
    "sections astray": page("<tbody><tr><td>a</tbody><thead><tr><th>b</thead><tfoot><td>c</tfoot><caption>d</caption>"),
    "table within a cell": page(f"<tr><td>{PLAIN}</td><td>{PLAIN}</td></tr>"),
    "table beside a table": PLAIN.replace("</table>", "</table><table><tr><td>z</td></tr></table>"),
    "tables nested 10,000 deep": page("<tr><td><table>" * DEEP),
    "tables in tables": page("<table>" * DEEP + "<tr><td>a"),
    "bold 10,000 deep": page("<tr><td>" + "<b>" * DEEP + "x"),
    "bold 10,000 deep and closed": page("<tr><td>" + "<b>" * DEEP + "x" + "</b>" * DEEP + "</td></tr>"),
    "boxes 10,000 deep around": "<html><body>" + "<div>" * DEEP + "<table><tr><td>a",
    "headers 10,000 deep": page("<tr><th>" * DEEP),
    "headers in headers, branched": page("<tr><th><b></b>" * 2500),
    "3,000 rows": page("<tr><td>" * 3_000),
    "right to left": page(f'<tr dir="rtl"><td>{HEBREW}</td><td>{HEBREW[::-1]}</td></tr>'),
    "lone surrogates": page("<tr><td>\ud800a</td><td>b\udfff</td></tr>"),
    "lone surrogates as references": page("<tr><td>&#xD800;</td><td>&#1114112;&#x110000;&amp;#xDC00;</td></tr>"),
    "null characters": page("<tr><td>a\x00b</td><td>\x00</td></tr>"),
    "control characters": page(f"<tr><td>{''.join(map(chr, range(1, 32)))}\x7f\x85\u2028\ufffe\uffff</td></tr>"),
    "marks that combine": page(f"<tr><td>e{chr(0x301) * 3000}</td><td>ﷺ{'ﷺ' * 300}</td></tr>"),
    "entities left open": page("<tr><td>&lt &amp;amp;lt; &nosuch; &#; &#x;</td></tr>"),
    "byte order mark": "\ufeff" + PLAIN,
    "XML declaration": '<?xml version="1.0" encoding="utf-16"?>' + PLAIN,
    "XHTML": PLAIN.replace("<html>", '<html xmlns="http://www.w3.org/1999/xhtml">').replace("td", "TD"),
    "entity bomb": '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;&b;">]>' + page("<tr><td>&c;</td></tr>"),
    "script": page("<tr><td><script>alert(1)</script>=SUM(A1)</td><td><style>td{}</style></td></tr>"),
    "processing instruction": page("<tr><td><?php echo 1 ?>a</td></tr>"),
    "attributes by the thousand": page(f"<tr><td {' '.join(f'a{n}=1' for n in range(3000))}>a</td></tr>"),
    "tag names of long length": page(f"<tr><td><{'x' * 5000}>a</td></tr>"),
    "2,000 cells": LARGE,
    "800 cells in a column": grid(800, 1),
    "800 cells in a row": grid(1, 800),
    "2,000 equal cells": grid(100, 20, lambda row, col: "same"),
    "2,000 empty cells": grid(100, 20, lambda row, col: ""),
    "8,000 cells in a row": page("<tr>" + "<td>" * 8_000),
    "a row of 120 columns, then one": page(f"<tr>{'<td>a' * 120}<tr><td>b"),
    "one long text": grid(1, 1, lambda row, col: "lorem ipsum " * 3000),
    "100,000 characters": grid(1, 1, lambda row, col: "x" * 100_000),
    "a loop cut off": page("<tr><td>0</td><td>0</td></tr>" * 800)[:-40],
}  # fmt: skip


def hostile_pairs() -> list[tuple[str, str, str]]:
    """(name, prediction, truth): each table against a plain one both ways, itself and another; some bent at random."""
    rng = random.Random(0)
    names = list(TABLES)
    found = []
    for name, table in TABLES.items():
        found.append((f"{name} | plain", table, PLAIN))
        found.append((f"plain | {name}", PLAIN, table))
        other = rng.choice(names)
        found.append((f"{name} | {other}", table, TABLES[other]))
    while len(found) < 200:
        given = random_table(rng).to_html(th=rng.random() < 0.5)
        start = rng.randrange(len(given))
        bent = (
            given[:start]
            + rng.choice(["<", ">", "</td", "<table>", "\ud800", ""])
            + given[start + rng.randint(0, 30) :]
        )
        found.append((f"bent {len(found)}", bent, given))
    return found


PAIRS = hostile_pairs()


def test_the_pairs_are_200():
    assert len(PAIRS) == len({name for name, *_ in PAIRS}) >= 200


@pytest.mark.parametrize("part", range(10))
def test_a_float_or_a_clear_error(part):
    for name, prediction, truth in PAIRS[part::10]:
        texts_too = len(prediction) * len(truth) < 1e8
        for metric in [*TABLE_METRICS, *(TEXT_METRICS if texts_too else [])]:
            try:
                with ends_soon(f"{metric} of {name}"):
                    value = METRICS[metric](prediction, truth)
            except ValueError as error:
                assert 15 < len(str(error)) < 400, (name, metric, error)
            else:
                assert isinstance(value, float) and math.isfinite(value), (name, metric)
                assert value <= 1.0 or metric == "cer", (name, metric)


def test_what_is_no_text():
    for value in (None, 5, 1.5, b"<table>", ["<table>"], float("nan")):
        for metric, score in METRICS.items():
            with pytest.raises(ValueError, match="must be text"):
                score(value, PLAIN)
            if metric != "anls":  # takes a list of answers
                with pytest.raises(ValueError, match="must be text"):
                    score(PLAIN, value)


def test_2000_cells_take_seconds():
    """One cell in three is wrong and a row is gone, so that no short cut helps."""
    wrong = grid(100, 20, lambda row, col: f"{row}.{col}" if (7 * row + col) % 3 else f"{col}~{row}")
    prediction = wrong.replace("<tr><td>40", "</tr><td>40", 1)
    for metric in TABLE_METRICS:
        with ends_soon(metric):
            assert 0.3 < METRICS[metric](prediction, LARGE) <= 1.0
    assert align_tables(*read_pair(prediction, LARGE)).count("equal") > 1000


def test_what_hides_in_texts_is_still_compared():
    pair = TABLES["right to left"], TABLES["right to left"]
    assert teds(*pair) == teds_normalised(*pair) == 1.0
    deep = page("<tr><td>" + "<b>" * 200 + "x" + "</b>" * 200 + "</td></tr>")
    assert teds_normalised(deep, page("<tr><td>x</td></tr>")) == 1.0


def test_the_largest_stay_within_memory():
    """In the process of parallel scoring, with 1 GB of address space."""
    column = grid(2000, 1)
    pairs = [(LARGE, LARGE), (column, column), (TABLES["span of 1e9 in each cell"], LARGE)]
    pairs += [(TABLES["headers 10,000 deep"], PLAIN), (TABLES["8,000 cells in a row"], PLAIN)]
    names = ["teds", "teds_normalised", "grits_top", "grits_con"]
    done = subprocess.run(
        [sys.executable, "-P", str(Path(metrics.__file__).with_name("pair_worker.py"))],
        input="".join(json.dumps([*pair, names]) + "\n" for pair in pairs),
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)),
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0 and len(answers) == len(pairs), done.stderr[-500:]
    assert answers[0][0] == answers[1][0] == dict.fromkeys(names, 1.0)
    assert not [error for _, error in answers if error and "Memory" in error]


def test_parallel_scoring_survives_them():
    some = [pair[1:] for pair in PAIRS[::8]]
    names = ("teds", "teds_normalised", "cell_f1")
    assert score_pairs(some, names, workers=2) == score_pairs(some, names)
