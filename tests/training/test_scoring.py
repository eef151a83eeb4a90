"""Scores while training: what is learnt stays the same, the best is kept, and nothing that goes wrong in it matters."""

import dataclasses
import json
import os
import re
import shutil
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from short_runs import STRIPS, log_of, same, write_recipe

from samvlm.data.synth import sample
from samvlm.evaluation.examples import Example
from samvlm.generation import DocumentParser
from training.checkpoints import checkpoints_in, read_manifest
from training.history import PREFIX, history_of, score_lines
from training.recipe import load_recipe
from training.scoring import Scoring, cer_of_table
from training.sharding import Sharding
from training.train import main

HELD = {"data": "synth:3", "options": {"size": [128, 64], "damage": 0}, "every": 2, "max_new_tokens": 6}
SIX = {"max_steps": 6, "gradient_accumulation_steps": 2, "logging_steps": 3}
TOWER = {"name": "tower", "dense_weight": 0.5, "guide_weight": 0.5}


def run(folder: Path, reader: str, *words: str, name: str = "out", **sections) -> tuple[int, Path]:
    """The exit code of a run of six steps, and its stage's folder."""
    sections = {"trainer": SIX, "stage": TOWER, "data": {"sources": [STRIPS], "input_noise": 0.2}, **sections}
    recipe = write_recipe(folder, reader, **sections)
    code = main([str(recipe), f"trainer.output_dir={folder / name}", *words])
    return code, folder / name / f"1-{sections['stage']['name']}"


def scores_in(folder: Path) -> list[dict]:
    """The scores of a run, by its last checkpoint, without what takes time."""
    lines = score_lines(history_of(checkpoints_in(folder)[-1]))
    return [{key: value for key, value in line.items() if key != PREFIX + "seconds"} for line in lines]


@pytest.fixture
def scripted(monkeypatch):
    """Lets the scorings of a run give these values in turn."""

    def give(*values: float) -> None:
        left = list(values)

        def compare(self, cases, predictions):
            value = left.pop(0)
            return [Example(case.id, None, case.truth_html, "", {"teds_normalised": value}) for case in cases]

        monkeypatch.setattr(Scoring, "compare", compare)
        monkeypatch.setattr("training.preflight.rehearse", lambda *args: None)

    return give


def test_what_is_learnt_stays_the_same(tmp_path, reader_folder, capsys):
    code, plain = run(tmp_path, reader_folder, name="plain")
    assert code == 0 and not scores_in(plain)
    code, scored = run(tmp_path, reader_folder, name="scored", scoring={**HELD, "keep_best": False})
    assert code == 0 and same(plain, scored) and log_of(plain) == log_of(scored)
    found = scores_in(scored)
    assert [line["step"] for line in found] == [2, 4, 6]
    names = {"teds_normalised", "teds_struct_normalised", "cer", "repetition", "valid", "errors", "best_step"}
    assert all(names <= {key.removeprefix(PREFIX) for key in line} for line in found)
    rows = [json.loads(line) for line in (scored / "held_out.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == [f"synth-900001-{number}" for number in range(3)]
    recalled = Scoring(load_recipe(tmp_path / "recipe.yaml")[0].scoring, scored)
    recalled.recall()
    assert [example.scores for example in recalled.examples] == [row["scores"] for row in rows]
    (scored / "held_out.jsonl").write_bytes((scored / "held_out.jsonl").read_bytes()[:-30])
    recalled.examples = []
    recalled.recall()
    assert recalled.examples == [], "what is torn is not shown"

    resumed = tmp_path / "resumed" / "1-tower"
    shutil.copytree(scored / "checkpoint-4", resumed / "checkpoint-4")
    code, _ = run(
        tmp_path, reader_folder, "--resume", "auto", name="resumed", scoring={**HELD, "keep_best": False}
    )
    assert code == 0 and same(scored, resumed) and scores_in(resumed) == found


@pytest.mark.parametrize("step", [4, 6])
def test_a_signal_while_scoring_ends_at_once_and_the_scores_are_made_up_for(
    step, tmp_path, reader_folder, monkeypatch
):
    code, whole = run(tmp_path, reader_folder, name="whole", scoring=HELD)
    assert code == 0
    predict, seen = Scoring.predict, []

    def interrupted(self, trainer, cases, *rest):
        if trainer.state.global_step == step and not seen:
            seen.append(len(cases))
            os.kill(os.getpid(), signal.SIGTERM)
        return predict(self, trainer, cases, *rest)

    monkeypatch.setattr(Scoring, "predict", interrupted)
    code, broken = run(tmp_path, reader_folder, name="broken", scoring=HELD)
    assert code == 143 and seen == [3]
    assert checkpoints_in(broken)[-1].name == f"checkpoint-{step}"
    assert scores_in(broken) == scores_in(whole)[: step // 2 - 1]
    assert not (broken / "README.md").exists(), "without its scores there is no result"
    assert run(tmp_path, reader_folder, "--resume", "auto", name="broken", scoring=HELD)[0] == 0
    assert same(broken, whole) and log_of(broken) == log_of(whole)
    assert scores_in(broken) == scores_in(whole)[: None if step == 4 else -1], "it was saved before the last"
    cards = [(folder / "README.md").read_text().partition("## Scores")[2] for folder in (broken, whole)]
    assert cards[0].partition("## Recipe")[0] == cards[1].partition("## Recipe")[0] != ""


@pytest.mark.parametrize("lora", [False, True])
def test_the_best_is_kept_and_is_the_result(lora, tmp_path, reader_folder, scripted, caplog):
    scripted(0.1, 0.9, 0.5)
    stage = {"name": "instruct", "lora": {"r": 2}} if lora else TOWER
    trainer = {**SIX, "save_total_limit": 1, "save_steps": 1}
    with caplog.at_level("INFO", logger="samvlm.training"):
        code, folder = run(tmp_path, reader_folder, stage=stage, trainer=trainer, scoring=HELD)
    assert code == 0
    assert [path.name for path in checkpoints_in(folder)] == ["checkpoint-4", "checkpoint-6"]
    assert "the best teds_normalised was 0.9000, at step 4: that is the result, not step 6" in caplog.messages
    assert any(
        "held out: teds_normalised 0.5" in line and "best was step 4" in line for line in caplog.messages
    )
    file = "adapter_model.safetensors" if lora else "model.safetensors"
    result, best, last = (load_file(path / file) for path in (folder, *checkpoints_in(folder)))
    assert all(torch.equal(result[name], best[name]) for name in result)
    assert not all(torch.equal(result[name], last[name]) for name in result)
    assert read_manifest(folder)["step"] == 4 and log_of(folder)[-1]["step"] == 6
    (folder / file).unlink()  # the result was not written: it is made again from the checkpoints
    assert (
        run(tmp_path, reader_folder, "--resume", "auto", stage=stage, trainer=trainer, scoring=HELD)[0] == 0
    )
    again = load_file(folder / file)
    assert all(torch.equal(again[name], best[name]) for name in best if name in again)


def test_a_stage_ends_where_it_gets_no_better(tmp_path, reader_folder, scripted, caplog):
    scripted(0.5, 0.5, 0.4, 0.9, 0.3, 0.3)
    patient = {**HELD, "every": 1, "patience": 2}
    assert run(tmp_path, reader_folder, scoring=patient)[0] == 0
    folder = tmp_path / "out" / "1-tower"
    assert checkpoints_in(folder)[-1].name == "checkpoint-3" and read_manifest(folder)["step"] == 1
    with caplog.at_level("INFO", logger="samvlm.training"):
        assert run(tmp_path, reader_folder, "--resume", "auto", scoring=patient)[0] == 0
    assert any(message.startswith("done already, at step 3") for message in caplog.messages)
    assert run(tmp_path, reader_folder, "--resume", "auto", scoring={**patient, "patience": 3})[0] == 0
    assert [line["step"] for line in scores_in(folder)] == [1, 2, 3, 4, 5, 6]
    assert read_manifest(folder)["step"] == 4


@pytest.fixture
def held_records(tmp_path) -> Path:
    """Three tables to score, one with an image that is none."""
    lines = []
    for index in range(3):
        drawn = sample("table", 88, index, size=(128, 64))
        drawn.image.save(tmp_path / f"held{index}.png")
        record = {"id": f"h{index}", "image": f"held{index}.png", "task": "table"}
        lines.append(json.dumps({**record, "target": {"html": drawn.table.to_html()}}))
    (tmp_path / "held1.png").write_bytes(b"no image")
    path = tmp_path / "held.jsonl"
    path.write_text("\n".join(lines))
    return path


def test_a_held_out_image_that_is_none_ends_nothing(tmp_path, reader_folder, held_records):
    trainer = {"max_steps": 2}
    held = {**HELD, "data": str(held_records), "options": {}}
    code, folder = run(tmp_path, reader_folder, trainer=trainer, scoring=held)
    assert code == 0
    (line,) = scores_in(folder)
    assert line[PREFIX + "errors"] == pytest.approx(1 / 3)


def test_held_out_images_are_not_trained_on(tmp_path, reader_folder, held_records, capsys, caplog):
    shutil.copy(tmp_path / "held2.png", tmp_path / "trained.png")
    record = {"id": "t", "image": "trained.png", "task": "text", "target": {"text": "abc"}}
    (tmp_path / "train.jsonl").write_text(json.dumps(record))
    data = {"sources": [{"records": str(tmp_path / "train.jsonl")}]}
    stage = {"name": "instruct"}
    held = {**HELD, "data": str(held_records), "options": {}}
    rest = {"data": data, "stage": stage, "scoring": held, "trainer": {"max_steps": 2}}
    assert run(tmp_path, reader_folder, "--dry-run", **rest)[0] == 2
    said = capsys.readouterr().err
    assert "1 of the 3 held-out images are in data.sources too, the first is that of h2" in said
    assert run(tmp_path, reader_folder, "--dry-run", "--force", **rest)[0] == 0
    assert any("learnt by heart" in message for message in caplog.messages)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory. Tried …"), KeyError("any")])
def test_what_goes_wrong_in_scoring_ends_nothing(error, tmp_path, reader_folder, monkeypatch, caplog):
    def broken(*args, **kwargs):
        raise error

    assert run(tmp_path, reader_folder, name="plain", trainer={"max_steps": 2})[0] == 0
    monkeypatch.setattr("training.preflight.rehearse", lambda *args: None)
    monkeypatch.setattr(DocumentParser, "parse_batch", broken)
    code, folder = run(tmp_path, reader_folder, trainer={"max_steps": 2}, scoring=HELD)
    assert code == 0 and same(folder, tmp_path / "plain" / "1-tower") and not scores_in(folder)
    assert "step 2 has no scores; training goes on" in caplog.messages


def test_the_pre_flight_names_what_is_held_out_and_reads_one(
    tmp_path, reader_folder, monkeypatch, capsys, caplog
):
    with caplog.at_level("INFO", logger="samvlm.training"):
        assert run(tmp_path, reader_folder, "--dry-run", scoring=HELD)[0] == 0
    text = "\n".join(caplog.messages)
    assert "held out: synth (3 examples, seed 900001), scored every 2 steps and behind the last" in text
    assert re.search(r"held-out example synth-900001-\d: [1-6] tokens in .* s; a scoring takes", text)
    assert not (tmp_path / "out").exists()

    def broken(*args, **kwargs):
        raise RuntimeError("no such operator")

    monkeypatch.setattr(DocumentParser, "parse_batch", broken)
    assert run(tmp_path, reader_folder, "--dry-run", scoring=HELD)[0] == 2
    assert "the model cannot read held-out example synth-900001-" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("scoring", "told"),
    [
        (
            {"data": "synth:3", "metric": "ted"},
            "scoring.metric=ted: no such score; choose one of teds_normalised",
        ),
        (
            {"data": "synth:3", "metric": "anls"},
            "scoring.metric=anls is no score of what scoring.data=synth:3",
        ),
        ({"data": "synth:3", "seed": 1}, "scoring.seed=1 is data.seed too"),
        ({"patience": 2}, "scoring.data names nothing to score"),
        ({"data": "synth:3", "every": 0}, "scoring.every=0: at least 1"),
        ({"data": "nowhere.jsonl"}, "scoring.data=nowhere.jsonl: "),
        ({"dat": "synth:3"}, "unknown key 'dat': did you mean 'data'?"),
    ],
)
def test_wrong_settings_are_told(scoring, told, tmp_path, reader_folder, capsys):
    assert run(tmp_path, reader_folder, scoring=scoring)[0] == 2
    assert told in capsys.readouterr().err


def test_where_no_process_has_the_whole_model_none_is_scored(tmp_path, reader_folder, monkeypatch, capsys):
    spread = Sharding("ZeRO-3", deepspeed=True, weights=True)
    monkeypatch.setattr("training.trainer.sharding_of", lambda recipe: spread)
    assert run(tmp_path, reader_folder, "--dry-run", scoring=HELD)[0] == 2
    assert "with ZeRO-3 no process has the whole model" in capsys.readouterr().err


def test_character_errors_of_tables():
    truth = "<table><tr><td>ab</td><td></td></tr><tr><td>cd</td><td>e</td></tr></table>"
    example = Example("1", None, truth, truth.replace("cd", "cx"))
    assert cer_of_table(example) == pytest.approx(1 / 7), "two line ends are between the three texts"
    assert cer_of_table(dataclasses.replace(example, prediction_html="")) == 1.0
    assert cer_of_table(dataclasses.replace(example, prediction_html=truth)) == 0.0
    assert cer_of_table(dataclasses.replace(example, prediction_html=truth, finish_reason="error")) == 1.0
