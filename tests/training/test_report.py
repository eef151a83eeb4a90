"""curves.png and report.html: whole, safe, there however a run ends, and going on where it was resumed."""

import base64
import io
import json
import re

import pytest
from PIL import Image
from short_runs import STRIPS, write_recipe
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from samvlm.evaluation.examples import Example
from training import report
from training.curves import PANELS, SCORES, _series, draw_curves, smoothed
from training.faults import TrainingStopped
from training.history import IDENTITY
from training.report_page import choose, json_lines
from training.train import main
from training.trainer import SamVlmTrainer

HELD = {
    "data": "synth:4",
    "options": {"size": [128, 64], "damage": 0},
    "every": 2,
    "max_new_tokens": 6,
    "report": True,
}


def history(steps: int) -> list[dict]:
    lines = [{IDENTITY: {}, "step": 1}]
    for step in range(1, steps + 1):
        lines.append(
            {"loss": 5 / step, "lm_loss": 5 / step, "learning_rate": 1e-3, "grad_norm": 2.0, "step": step}
        )
        lines.append(
            {"mfu": 0.3, "data_wait": 0.1, "samples_per_second": 3.0, "memory_gb": 1.0, "step": step}
        )
        scores = {"eval_teds_normalised": step / steps, "eval_cer": 1.0, "eval_best_step": step}
        lines.append({**scores, "step": step})
    lines[1]["bad_steps"] = 1.0
    return lines


def test_curves_of_every_length():
    small, large = (draw_curves(history(steps), "title", "teds_normalised") for steps in (1, 60))
    for picture in (small, large):
        image = Image.open(io.BytesIO(picture))
        assert image.format == "PNG" and image.width == 1300 and image.height > 700
        assert len(image.convert("L").getcolors()) > 20
    assert draw_curves([{"loss": float("nan"), "step": 1}], "", "cer"), "nothing to draw is no error"
    assert large != draw_curves(history(60)[:-1], "title", "teds_normalised")


def test_what_is_in_a_panel():
    lines = history(3)
    assert _series(lines, PANELS[0]) == {"loss": ([1, 2, 3], [5.0, 2.5, 5 / 3])}, "lm_loss is the same curve"
    assert next(iter(_series(lines, SCORES, "grits_top"))) == "eval_teds_normalised"
    lines[-1]["eval_grits_top"] = 0.5
    assert next(iter(_series(lines, SCORES, "grits_top"))) == "eval_grits_top"
    assert smoothed([1.0] * 50) == pytest.approx([1.0] * 50)
    assert smoothed([0.0] * 50 + [1.0] * 50)[-1] == pytest.approx(1.0, abs=0.01)


def test_a_run_is_reported_and_its_scores_reach_tensorboard(tmp_path, reader_folder):
    records = [{"id": "<b>bad</b>", "conversations": [{"from": "human", "value": "Who answers?"}]}]
    Image.new("RGB", (128, 64), "white").save(tmp_path / "there.png")
    records += [
        {"id": f"r{n}", "image": "there.png", "task": "text", "target": {"text": "abc"}} for n in range(3)
    ]
    (tmp_path / "records.jsonl").write_text("\n".join(map(json.dumps, records)))
    data = {
        "sources": [STRIPS, {"records": str(tmp_path / "records.jsonl"), "weight": 3.0}],
        "max_refused": 0.9,
    }
    trainer = {"max_steps": 6, "logging_steps": 2, "report_to": "tensorboard"}
    recipe = write_recipe(tmp_path, reader_folder, data=data, trainer=trainer, scoring=HELD)
    assert (
        main([str(recipe), "trainer.max_steps=4"]) == 0
        and main([str(recipe), "--resume", "auto", "--force"]) == 0
    )
    folder = tmp_path / "out" / "1-instruct"
    page = (folder / "report.html").read_text()
    for told in (
        "6 of 6",
        "teds_normalised*",
        "Scores on synth (4 examples, seed 900001)",
        "The best by teds_normalised",
        "<td>vision_tower</td>",
        "3 records",
        "&lt;b&gt;bad&lt;/b&gt;",
        "Every step was taken",
        "<code>scoring.data</code>",
        "tokens a second",
    ):
        assert told in page, told
    assert (
        "<script" not in page and "<b>bad</b>" not in page and str(tmp_path) not in page.split("<h2>Data")[0]
    )
    assert re.findall(r'<td class="n">(\d)</td>', page)[:3] == ["2", "4", "6"], "of both runs"
    curves = (folder / "curves.png").read_bytes()
    assert base64.b64encode(curves).decode() in page
    assert not list(folder.glob(".samvlm-*"))
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    assert {
        "eval/teds_normalised",
        "eval/repetition",
        "train/loss",
        "train/mfu",
        "train/tokens_per_second",
    } <= tags
    assert [scalar.step for scalar in events.Scalars("eval/teds_normalised")] == [2, 4, 6]


def test_a_run_that_dies_leaves_its_curves(tmp_path, reader_folder, monkeypatch):
    step = SamVlmTrainer.training_step

    def dies(self, *args, **kwargs):
        if self.state.global_step == 3:
            raise TrainingStopped("enough")
        return step(self, *args, **kwargs)

    monkeypatch.setattr(SamVlmTrainer, "training_step", dies)
    recipe = write_recipe(tmp_path, reader_folder, trainer={"logging_steps": 1}, scoring={"report": True})
    assert main([str(recipe)]) == 1
    assert "3 of 4" in (tmp_path / "out" / "1-instruct" / "report.html").read_text()


def test_a_picture_that_cannot_be_drawn_costs_nothing(tmp_path, reader_folder, monkeypatch, caplog):
    def broken(*args):
        raise ImportError("matplotlib")

    monkeypatch.setattr(report, "draw_curves", broken)
    recipe = write_recipe(tmp_path, reader_folder, scoring={"report": True})
    assert main([str(recipe)]) == 0
    assert sum("pip install matplotlib" in message for message in caplog.messages) == 1
    assert not (tmp_path / "out" / "1-instruct" / "curves.png").exists()


def test_examples_that_are_shown(tmp_path):
    examples = [Example(str(n), None, "", "", {"cer": n / 10}) for n in (3, 1, 2)]
    assert [example.id for _, example in choose(examples, "cer")] == ["1", "2", "3"]
    assert [example.id for _, example in choose(examples[:1], "cer")] == ["3"] and choose([], "cer") == []
    (tmp_path / "refused.jsonl").write_text('{"id": 1}\n{"id": ')
    (tmp_path / "refused.rank1.jsonl").write_text('{"id": 2}\n[3]\n')
    assert json_lines(tmp_path, "refused") == [{"id": 1}, {"id": 2}] and json_lines(tmp_path, "none") == []
