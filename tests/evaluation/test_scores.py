"""Scores of examples: by task, with errors, by bucket."""

import pytest

from samvlm.data.tables import Table
from samvlm.evaluation.cases import Case
from samvlm.evaluation.examples import BUCKETS, table_buckets
from samvlm.evaluation.predictions import Prediction
from samvlm.evaluation.scores import (
    ALL_METRICS,
    MEANINGS,
    STRUCTURE_METRICS,
    TABLE_METRICS,
    make_examples,
    median_seconds,
    summarise,
)
from samvlm.metrics import METRICS, bootstrap_interval, teds, teds_struct

OTSL = "<ched>Year<ched>Sales<nl><fcel>2004<fcel>34.7<nl>"
HTML = Table.from_otsl(OTSL).to_html()
SPANNED = Table.from_otsl("<ched>a<lcel><nl>" + "<fcel>x<fcel>y<nl>" * 12).to_html()


def table(name: str = "1", html: str = HTML, **more) -> Case:
    return Case(name, "table", None, truth_html=html, **more)


def score(case: Case, prediction: Prediction, metrics=None):
    (example,) = make_examples([case], [prediction], metrics)
    return example


def test_a_right_and_a_wrong_table():
    right = score(table(), Prediction("1", HTML, OTSL))
    assert right.scores == dict.fromkeys(TABLE_METRICS, 1.0) and right.error is None
    assert right.prediction_text == OTSL and right.truth_html == HTML
    wrong = Table.from_otsl("<fcel>Year<fcel>Sales<nl><fcel>2004<fcel>44.7<nl>").to_html()
    found = score(table(), Prediction("1", wrong)).scores
    assert found["teds"] == teds(wrong, HTML) < found["teds_normalised"] == 1 - 0.25 / 6
    assert found["teds_struct"] == teds_struct(wrong, HTML) < 1 and found["teds_struct_normalised"] == 1.0
    assert found["cell_precision"] == found["cell_recall"] == 0.75 and found["grits_top"] == 1.0


def test_no_table_and_no_answer_score_nothing():
    for prediction in (Prediction("1", "", "", "length"), Prediction.failed(table(), "torn\nimage")):
        example = score(table(), prediction)
        assert example.scores == dict.fromkeys(TABLE_METRICS, 0.0)
    assert example.error == "torn image" and example.finish_reason == "error"


def test_a_pair_that_cannot_be_scored_is_an_error_with_the_worst_score():
    example = score(table(), Prediction("1", HTML.replace("<td>2004", '<td colspan="two">2004')))
    assert example.scores["teds"] == 0.0 and example.scores["teds_normalised"] == 1.0
    assert example.error.startswith("not scored: teds: ") and "two" in example.error
    assert summarise([example])["rates"]["errors"] == 1.0


def test_structure_alone_where_the_truth_has_no_texts():
    case = table(
        html="<html><body><table><tr><td></td><td></td></tr></table></body></html>", structure_only=True
    )
    found = score(
        case, Prediction("1", "<html><body><table><tr><td>a</td><td>b</td></tr></table></body></html>")
    )
    assert found.scores == dict.fromkeys(STRUCTURE_METRICS, 1.0)


def test_texts_and_forms():
    case = Case("1", "text", None, truths=("one two",))
    assert score(case, Prediction("1", text="```\none two\n```")).scores == {
        "cer": 0.0,
        "edit_distance": 0.0,
        "exact_match": 1.0,
    }
    found = score(Case("1", "form", None, truths=("Name: Ada",)), Prediction("1", text="Name: Adam"))
    assert (
        found.scores["cer"] == pytest.approx(1 / 9) and found.truth_text == "Name: Ada" and not found.buckets
    )
    failed = score(case, Prediction.failed(case, "torn"))
    assert failed.scores == {"cer": 1.0, "edit_distance": 1.0, "exact_match": 0.0}


def test_questions_with_several_right_answers():
    case = Case("1", "question", None, truths=("12 May", "May 12"), question="When?")
    for text, scores in (
        ("May 12", {"anls": 1.0, "exact_match": 1.0}),
        ("may 12", {"anls": 1.0, "exact_match": 0.0}),
        ("May 13", {"anls": 1 - 1 / 6, "exact_match": 0.0}),
        ("never", {"anls": 0.0, "exact_match": 0.0}),
    ):
        example = score(case, Prediction("1", text=text))
        assert example.scores == pytest.approx(scores) and example.question == "When?"
    assert score(case, Prediction("1", text="May 12"), ["exact_match"]).scores == {"exact_match": 1.0}


def test_chosen_metrics():
    assert score(table(), Prediction("1", HTML), ["grits_con", "teds"]).scores == {
        "teds": 1.0,
        "grits_con": 1.0,
    }
    with pytest.raises(ValueError, match="unknown metrics tedz; give some of teds_normalised"):
        make_examples([], [], ["tedz"])
    with pytest.raises(ValueError, match="none of the metrics anls is one of the task table"):
        score(table(), Prediction("1", HTML), ["anls"])


def test_in_parallel_as_one_by_one():
    cases = [table(str(n)) for n in range(6)]
    made = [Prediction(case.id, HTML.replace("2004", "2" * n)) for n, case in enumerate(cases)]
    assert make_examples(cases, made, workers=2) == make_examples(cases, made)


def test_summary():
    cases = [table("1"), table("2", SPANNED), table("3", SPANNED)]
    made = [Prediction("1", HTML), Prediction("2", SPANNED, "x", "length"), Prediction.failed(cases[2], "x")]
    examples = make_examples(cases, made, ["teds", "teds_normalised"])
    found = summarise(examples)
    low, high = bootstrap_interval([1.0, 1.0, 0.0])
    assert list(found["metrics"]) == ["teds_normalised", "teds"] and found["n"] == 3
    assert found["metrics"]["teds"] == pytest.approx(
        {"mean": 2 / 3, "low": low, "high": high, "n": 3}, abs=1e-6
    )
    expected = {"valid": 2 / 3, "empty": 1 / 3, "truncated": 1 / 3, "repetition": 0.0, "errors": 1 / 3}
    assert found["rates"] == pytest.approx(expected, abs=1e-6)
    assert found["buckets"]["spans"]["simple"]["teds"] == 1.0
    assert found["buckets"]["spans"]["with spans"]["teds_normalised"] == 0.5
    assert found["buckets"]["spans"]["with spans"]["intervals"]["teds"] == [0.0, 1.0]
    assert {kind: list(values) for kind, values in found["buckets"].items()} == {
        "spans": ["simple", "with spans"],
        "cells": ["1-20 cells", "21-50 cells"],
        "rows": ["1-5 rows", "11-20 rows"],
        "header": ["1 header row"],
    }
    assert "tasks" not in found


def test_summary_of_several_tasks():
    cases = [table("1"), Case("2", "text", None, truths=("a",)), Case("3", "question", None, "", ("a",), "?")]
    made = [Prediction("1", HTML), Prediction("2", text="a"), Prediction("3", text="b")]
    found = summarise(make_examples(cases, made))
    assert found["metrics"]["exact_match"]["n"] == 2 and found["metrics"]["exact_match"]["mean"] == 0.5
    assert list(found["tasks"]) == ["table", "text", "question"]
    assert found["tasks"]["text"]["metrics"]["exact_match"]["mean"] == 1.0
    assert found["rates"] == {"empty": 0.0, "truncated": 0.0, "repetition": 0.0, "errors": 0.0}
    assert found["tasks"]["table"]["rates"]["valid"] == 1.0
    assert sum(values["n"] for values in found["buckets"]["rows"].values()) == 1


def test_a_loop_is_one_only_where_the_model_did_not_end_by_itself():
    text = "<fcel>a<nl>" * 60
    for reason, rate in (("stop", 0.0), ("length", 1.0), ("unknown", 1.0), ("repetition", 1.0)):
        example = score(table(), Prediction("1", HTML, text, reason))
        assert summarise([example])["rates"]["repetition"] == rate


def test_buckets():
    assert table_buckets(HTML) == {
        "spans": "simple",
        "cells": "1-20 cells",
        "rows": "1-5 rows",
        "header": "1 header row",
    }
    large = Table.from_rows([["a"] * 5] * 41, header_rows=4).to_html()
    assert table_buckets(large) == {
        "spans": "simple",
        "cells": "201 or more cells",
        "rows": "41 or more rows",
        "header": "3 or more header rows",
    }
    assert all(value in BUCKETS[kind] for kind, value in table_buckets(SPANNED).items())
    assert table_buckets("none") == {}


def test_every_score_is_explained_and_known():
    assert set(MEANINGS) == set(ALL_METRICS) <= set(METRICS)


def test_median_seconds():
    assert median_seconds([Prediction("1", seconds=s) for s in (3.0, None, 1.0, 2.0)]) == 2.0
    assert median_seconds([Prediction("1")]) is None
