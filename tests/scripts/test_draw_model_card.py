"""scripts/draw_model_card.py: buckets in Markdown, and two pictures of tables that follow from the scores by rule."""

import json

import numpy as np
import pytest
from PIL import Image

from samvlm.data.tables import Table
from samvlm.evaluation.benchmarks import open_benchmark
from samvlm.evaluation.cases import Case
from samvlm.evaluation.predictions import Prediction
from samvlm.evaluation.runner import evaluate
from scripts import draw_model_card as card

NUMBER = 12


class Blurred:
    """Reads right but for as many cells as the number of the table; the last one has no table, one fails."""

    identity = {"kind": "model", "name": "blurred"}

    def predict(self, cases):
        for number, case in enumerate(cases):
            table = Table.from_html(case.truth_html)
            for cell in table.cells[:number]:
                cell.text = f"wrong {cell.text}"
            if number == NUMBER - 2:
                yield Prediction.failed(case, "no memory")
            else:
                yield Prediction(case.id, table.to_html() if number < NUMBER - 1 else "")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    benchmark = open_benchmark("synth", limit=NUMBER, options={"max_area": 20000})
    evaluate(Blurred(), benchmark, folder, metrics=[card.SCORE, card.STRUCTURE])
    return folder


def test_pictures_and_buckets(results, tmp_path, capsys):
    assert card.main([str(results), "-o", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    scores = json.loads((results / "scores.json").read_text())
    assert f"| all | {NUMBER} | {scores['metrics'][card.SCORE]['mean']:.3f} |" in said
    assert "| simple |" in said and "cells |" in said and "(wrong.png)" in said
    for name in ("right", "wrong"):
        path = tmp_path / f"{name}.png"
        assert path.stat().st_size < card.MOST_BYTES
        with Image.open(path) as picture:
            assert picture.width == card.WIDTH
            colours = {tuple(colour) for colour in np.asarray(picture.convert("RGB")).reshape(-1, 3)}
        assert any(np.abs(np.array(colour) - (0xFF, 0xE0, 0x8A)).max() < 12 for colour in colours)
    lines = (results / "predictions.jsonl").read_text().count("\n")
    assert lines == NUMBER  # the failed one is still there


def test_the_choice_follows_the_rules():
    def shown(number: int, score: float, cells: str) -> card.Shown:
        case = Case(str(number), "table", lambda: Image.new("RGB", (90, 50)), area=4500)
        return card.Shown(case, Prediction(str(number)), score, {"cells": cells, "spans": "simple"})

    many = [shown(n, 1 - n / 100, "21-50 cells" if n % 10 else "101-200 cells") for n in range(100)]
    right = card.choose_right(many)
    assert [one.case.id for one in right] == ["0", "1", "10", "2", "20", "3", "4", "5", "6", "7"]
    wrong = [int(one.case.id) for one in card.choose_wrong(many)]
    assert wrong[0] == 50 and wrong[-1] == 99 and set(np.diff(wrong)) <= {5, 6}
    for one in many[95:]:
        one.case.area = 10**6
    assert [int(one.case.id) for one in card.choose_wrong(many)][-1] == 94
    assert card.choose_wrong(many[:3]) == many[:3]


def test_other_data_are_refused(results, tmp_path, capsys):
    run = json.loads((results / "run.json").read_text())
    run["data"]["seed"] = 3
    (tmp_path / "run.json").write_text(json.dumps(run))
    for name in ("scores.json", "examples.jsonl", "predictions.jsonl"):
        (tmp_path / name).write_bytes((results / name).read_bytes())
    assert card.main([str(tmp_path), "-o", str(tmp_path / "out")]) == 2
    assert "other data now" in capsys.readouterr().err
    assert card.main([str(tmp_path / "nothing"), "-o", str(tmp_path / "out")]) == 2
    assert "no results" in capsys.readouterr().err
