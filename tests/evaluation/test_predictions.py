"""Predictions from files: every form that is read, and what is missing."""

import json

import pytest

from samvlm.evaluation.cases import Case
from samvlm.evaluation.predictions import FilePredictor, Prediction

BARE = "<table><tr><td>a</td></tr></table>"
HTML = f"<html><body>{BARE}</body></html>"


def predict(path, *cases: Case) -> dict[str, Prediction]:
    return {prediction.id: prediction for prediction in FilePredictor(path).predict(cases)}


def tables(*names: str) -> list[Case]:
    return [Case(name, "table", None, truth_html=HTML) for name in names]


def test_lines_of_every_form(tmp_path):
    path = tmp_path / "a.jsonl"
    rows = [
        {"id": "html", "html": BARE, "seconds": 2.5, "tokens": 9, "finish_reason": "length"},
        {"id": "otsl", "otsl": "<fcel>a<nl>"},
        {"id": "md", "markdown": "| a |\n|---|"},
        {"filename": "any.png", "text": f"```html\n{BARE}\n```", "finish_reason": "whatever"},
        {"id": 5, "html": ""},
        {"id": "failed", "error": "too dark"},
        {"id": "nothing", "score": 1},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    names = ["html", "otsl", "md", "any.png", "5", "failed", "nothing", "missing"]
    made = predict(path, *tables(*names))
    assert (made["html"].html, made["html"].seconds, made["html"].tokens) == (BARE, 2.5, 9)
    assert made["html"].finish_reason == "length" and made["any.png"].finish_reason == "unknown"
    assert "<td>a</td>" in made["otsl"].html and "<td>a</td>" in made["md"].html
    assert made["any.png"].html == HTML
    assert made["5"].html == "" and made["5"].error is None
    assert made["failed"].error == "too dark" and made["failed"].finish_reason == "error"
    assert (
        "has none of html" in made["nothing"].error and "no prediction for this id" in made["missing"].error
    )


def test_an_object_of_file_names(tmp_path):
    path = tmp_path / "pred.json"
    path.write_text(json.dumps({"x.png": HTML, "y.png": {"html": BARE}, "z": HTML}))
    made = predict(path, *tables("x.png", "y.png"), Case("deep/z.png", "table", tmp_path / "z.png", HTML))
    assert [made[name].html for name in ("x.png", "y.png", "deep/z.png")] == [HTML, BARE, HTML]


def test_a_list_and_texts(tmp_path):
    path = tmp_path / "pred.json"
    path.write_text(json.dumps([{"id": "1", "answer": "Ada"}, {"id": "2", "text": "<p>"}, 3]))
    cases = [
        Case("1", "question", None, truths=("Ada",), question="Who?"),
        Case("2", "text", None, truths=("x",)),
    ]
    made = predict(path, *cases)
    assert made["1"].text == "Ada" and made["2"].text == "<p>" and not made["2"].html
    assert len(FilePredictor(path).rejected) == 1


def test_bad_lines_cost_no_others(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": "1", "html": "x"}\n{"id": \n\n[]\n{"html": "y"}\n{"id": "2", "html": "z"}\n')
    predictor = FilePredictor(path)
    assert list(predictor.rows) == ["1", "2"] and len(predictor.rejected) == 3


def test_what_cannot_be_used(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("{}")
    with pytest.raises(ValueError, match="no predictions; give"):
        FilePredictor(path)
    path.write_text("{")
    with pytest.raises(ValueError, match="is the file complete"):
        FilePredictor(path)
    path.write_text('{"x.png": "<table>"}')
    with pytest.raises(ValueError, match=r"none of the 2 ids is in it, such as 'a'; it has 'x.png'"):
        FilePredictor(path).check(tables("a", "b"))
    FilePredictor(path).check(tables("a", "x.png"))


def test_a_line_comes_back_as_it_was():
    for given in (
        Prediction("1", HTML, "t\n–", "stop", 0.5, 3),
        Prediction("2", error="x", finish_reason="error"),
    ):
        assert Prediction.from_row(json.loads(given.to_line())) == given
    for row in ({}, {"id": ""}, {"id": 3}, [], {"id": "1", "html": None}, {"id": "1", "more": 1}):
        with pytest.raises(ValueError, match=r"predictions\.jsonl"):
            Prediction.from_row(row)
