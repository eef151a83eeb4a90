"""Which cells correspond and what is wrong with them, on small tables with one known fault each."""

import random

import pytest
from random_tables import random_table

from samvlm.data.tables import Table
from samvlm.metrics import align_tables, cell_scores, table_pair


def table(*rows: str) -> Table:
    """Rows of texts, a blank between cells; `_` is an empty cell."""
    return Table.from_rows([["" if text == "_" else text for text in row.split()] for row in rows])


def html(rows: str) -> Table:
    return Table.from_html(f"<table>{rows}</table>")


TRUTH = table("Name Mass Charge", "electron 0.511 -1", "muon 105.7 -1", "proton 938.3 +1")


def counts(prediction: Table, truth: Table) -> dict[str, int]:
    alignment = align_tables(prediction, truth)
    found = {name: alignment.count(name) for name in ("equal", "text", "span", "missing", "extra")}
    assert sum(found.values()) == len(alignment.cells)
    return {name: count for name, count in found.items() if count}


def test_equal_tables():
    assert counts(TRUTH, TRUTH) == {"equal": 12}
    alignment = align_tables(TRUTH, TRUTH)
    assert alignment.rows == [(n, n) for n in range(4)] and alignment.cols == [(n, n) for n in range(3)]


@pytest.mark.parametrize("empty_too", [False, True])
def test_random_tables_equal_themselves(empty_too):
    rng = random.Random(1)
    for _ in range(60):
        some = random_table(rng, hostile=not empty_too)
        assert counts(some, some) == {"equal": len(some.cells)}


def test_a_wrong_text():
    prediction = table("Name Mass Charge", "electron 0.517 -1", "muon 105.7 -1", "proton 938.3 +1")
    assert counts(prediction, TRUTH) == {"equal": 11, "text": 1}
    alignment = align_tables(prediction, TRUTH)
    assert alignment.truth_verdicts()[1, 1] == alignment.prediction_verdicts()[1, 1] == "text"
    (wrong,) = [cell for cell in alignment.cells if cell.verdict == "text"]
    assert (wrong.truth.text, wrong.prediction.text) == ("0.511", "0.517")


def test_a_row_left_out_and_one_too_many():
    without = table("Name Mass Charge", "electron 0.511 -1", "proton 938.3 +1")
    assert counts(without, TRUTH) == {"equal": 9, "missing": 3}
    assert counts(TRUTH, without) == {"equal": 9, "extra": 3}
    assert align_tables(without, TRUTH).rows == [(0, 0), (1, 1), (3, 2)]
    assert {place for place, v in align_tables(without, TRUTH).truth_verdicts().items() if v == "missing"} == {
        (2, 0), (2, 1), (2, 2)
    }  # fmt: skip


def test_a_column_moved_to_the_other_side():
    turned = table("Charge Name Mass", "-1 electron 0.511", "-1 muon 105.7", "+1 proton 938.3")
    assert counts(turned, TRUTH) == {"equal": 8, "missing": 4, "extra": 4}


def test_a_cell_split_in_two_and_two_merged():
    merged = html('<tr><td colspan="2">Name<td>Unit<tr><td>a<td>b<td>c')
    split = html("<tr><td>Name<td><td>Unit<tr><td>a<td>b<td>c")
    assert counts(split, merged) == {"equal": 4, "span": 1, "extra": 1}
    assert counts(merged, split) == {"equal": 4, "span": 1, "missing": 1}
    assert align_tables(split, merged).truth_verdicts()[0, 0] == "span"
    assert align_tables(split, merged).prediction_verdicts()[0, 1] == "extra"


def test_a_span_of_the_same_size_elsewhere():
    one = html('<tr><td colspan="2">ab<td>c<tr><td>1<td>2<td>3')
    two = html('<tr><td>c<td colspan="2">ab<tr><td>1<td>2<td>3')
    verdicts = align_tables(one, two).truth_verdicts()
    assert "equal" not in (verdicts[0, 0], verdicts[0, 1])
    assert [verdicts[1, col] for col in range(3)] == ["equal"] * 3


def test_texts_are_compared_as_a_reader_sees_them():
    assert counts(table("ﬁ Ａ１"), table("fi A1")) == {"equal": 2}
    assert counts(html("<tr><td>a<br>b"), html("<tr><td>a b")) == {"equal": 1}
    assert counts(table("a"), table("A")) == {"text": 1}


def test_nothing_in_common():
    assert counts(table("x"), table("a b", "c d")) == {"text": 1, "missing": 3}
    scores = cell_scores(table("x").to_html(), table("a b", "c d").to_html())
    assert scores == (0.0, 0.0, 0.0)


def test_every_cell_has_one_verdict():
    rng = random.Random(7)
    for _ in range(150):
        prediction, truth = random_table(rng, hostile=False), random_table(rng, hostile=False)
        alignment = align_tables(prediction, truth)
        assert [c.truth for c in alignment.cells if c.truth is not None] == truth.cells
        assert len(alignment.truth_verdicts()) == len(truth.cells)
        assert len(alignment.prediction_verdicts()) == len(prediction.cells)
        for cell in alignment.cells:
            assert (cell.prediction is None) == (cell.verdict == "missing")
            assert (cell.truth is None) == (cell.verdict == "extra")
            if cell.verdict in ("equal", "text"):
                size = cell.truth.rowspan, cell.truth.colspan
                assert size == (cell.prediction.rowspan, cell.prediction.colspan)
                assert (cell.truth.row, cell.prediction.row) in alignment.rows
                assert (cell.truth.col, cell.prediction.col) in alignment.cols


def test_precision_and_recall():
    prediction = table("Name Mass Charge", "electron 0.511 -1", "muon 105.7 wrong")
    scores = cell_scores(prediction.to_html(), TRUTH.to_html())
    assert scores == pytest.approx((8 / 9, 8 / 12, 16 / 21))
    assert cell_scores(TRUTH.to_html(th=True, wrap=False), TRUTH.to_html()) == (1.0, 1.0, 1.0)
    assert cell_scores("no table", TRUTH.to_html()) == (0.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="no table"):
        cell_scores(TRUTH.to_html(), "")


def test_tables_too_large_to_compare(monkeypatch):
    monkeypatch.setattr(table_pair, "MAX_PRODUCT", 143)
    with pytest.raises(ValueError, match="too large to compare: 12 against 12 places"):
        align_tables(TRUTH, TRUTH)
