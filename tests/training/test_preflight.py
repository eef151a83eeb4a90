"""Pre-flight: it tells what will be learnt and needed, finds what would fail later, and changes nothing."""

import json
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from readers import build_reader, draw_strips
from safetensors.torch import load_file
from short_runs import STRIPS, log_of, write_recipe

from samvlm.data.synth import sample
from training import preflight
from training.collator import Collator
from training.objective import Objective
from training.preflight import Preflight, untouched
from training.recipe import load_recipe
from training.survey import Survey, shown
from training.train import main, read_arguments


def write_records(folder, answers, image: bool = True) -> str:
    drawn = sample("strip", 7, 0, size=(128, 64)).image
    lines = []
    for number, answer in enumerate(answers):
        turns = [{"from": "human", "value": "<image>\nRead." if image else "Hi"}]
        turns.append({"from": "gpt", "value": answer})
        line = {"id": f"r{number}", "conversations": turns}
        if image:
            drawn.save(folder / f"{number}.png")
            line["image"] = f"{number}.png"
        lines.append(json.dumps(line))
    path = folder / "records.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.fixture
def look(tmp_path, reader_folder, caplog, capsys):
    """Runs a dry run; gives the exit code, the lines that it logs and what it says on standard error."""

    def look(*overrides, **sections):
        caplog.clear()
        recipe = write_recipe(tmp_path, reader_folder, **sections)
        with caplog.at_level("INFO", logger="samvlm.training"):
            code = main([str(recipe), *overrides, "--dry-run"])
        assert not (tmp_path / "out").exists(), "a dry run writes nothing"
        return code, list(caplog.messages), capsys.readouterr().err

    return look


def test_a_dry_run_tells_everything_and_writes_nothing(look):
    code, lines, _ = look(trainer={"preflight_samples": 6})
    assert code == 0 and lines[-1] == "dry run: nothing was trained or written"
    text = "\n".join(lines)
    assert text.count("sample strip-1-") == 2
    given, learnt = (
        next(line for line in lines if line.startswith(f"  {word}")) for word in ("given", "learnt")
    )
    assert "<|im_start|>user" in given and "Read the text.<|im_end|>" in given and "<image> x 32" in given
    assert learnt.endswith("<|im_end|>") and "<|im_start|>" not in learnt
    for start in ("disk: ", "read: 6 of 6", "labels: ", "tokens: 32 visual an image", "longest batch: 2 x "):
        assert any(line.startswith(start) for line in lines), start
    assert any(line.startswith("memory: ") and "MB of the process" in line for line in lines)
    assert any(line.startswith("steps: 4, each of 1 micro-batches; about ") for line in lines)
    assert any(line.startswith("[Frozen]     vision_tower") for line in lines)


def test_the_share_of_labels_is_that_of_the_batches():
    _, processor = build_reader()
    survey, collator = Survey(processor), Collator(processor)
    batches = [collator(draw_strips(2, seed=seed)) for seed in range(2)]
    for batch in batches:
        survey.add(batch)
    assert survey.labels == sum(int((batch["labels"] != -100).sum()) for batch in batches)
    assert survey.tokens == sum(int(batch["attention_mask"].sum()) for batch in batches)
    assert survey.visual == [32] * 4 and (survey.drawn, survey.useful) == (4, 4)
    assert f"{1 - survey.labels / survey.tokens:.1%} are masked" in "\n".join(survey.lines())


def test_texts_cannot_steer_a_terminal():
    assert shown("a\x1b[31m\nb\u202e\ud800é") == r"a\x1b[31m\nb\u202e\ud800é"
    assert len(shown("x" * 10_000)) < 700


def test_every_stage_of_a_recipe_is_looked_over(tmp_path, caplog):
    with caplog.at_level("INFO", logger="samvlm.training"):
        overrides = (f"trainer.output_dir={tmp_path / 'runs'}", "trainer.preflight_samples=1")
        assert main(["debug_cpu", *overrides, "--dry-run"]) == 0
    assert sum(line.startswith("longest batch") for line in caplog.messages) == 3
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("lora", [None, {"r": 2, "lora_dropout": 0.5}], ids=["whole", "lora"])
def test_the_run_is_that_without_preflight(lora, tmp_path, reader_folder, monkeypatch):
    """Bit for bit, with dropout and noise."""
    recipe = str(
        write_recipe(
            tmp_path,
            reader_folder,
            data={"input_noise": 0.2},
            stage={"lora": lora},
            trainer={"preflight_samples": 5},
        )
    )
    assert main([recipe]) == 0
    monkeypatch.setattr(Preflight, "run", lambda self: None)
    assert main([recipe, f"trainer.output_dir={tmp_path / 'without'}"]) == 0
    folders = [tmp_path / name / "1-instruct" for name in ("out", "without")]
    name = "adapter_model.safetensors" if lora else "model.safetensors"
    first, second = (load_file(folder / name) for folder in folders)
    assert first.keys() == second.keys() and all(torch.equal(first[n], second[n]) for n in first)
    assert log_of(folders[0]) == log_of(folders[1])


def test_the_context_leaves_numbers_gradients_and_modes():
    model, _ = build_reader()
    model.eval()
    model.lm_head.train()
    draws = []
    for used in (False, True):
        random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002
        if used:
            with untouched(model, torch.device("cpu")):
                random.random(), np.random.rand(), torch.rand(3)  # noqa: NPY002
                model.train()
                model.lm_head.weight.grad = torch.ones_like(model.lm_head.weight)
        draws.append((random.random(), np.random.rand(), torch.rand(1).item()))  # noqa: NPY002
    assert draws[0] == draws[1]
    assert model.lm_head.training and not model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_longest_record_is_tried(look, tmp_path):
    records = write_records(tmp_path, ["short"] * 9 + ["word " * 60])
    code, lines, _ = look(data={"sources": [{"records": records}], "max_pixels": 10**6, "max_images": 3})
    assert code == 0
    (line,) = [line for line in lines if line.startswith("longest batch: 3 x ")]
    assert int(line.split()[4]) > 300


def test_memory_that_ends_is_told_before_the_first_step(look, monkeypatch):
    def no_memory(self, **batch):
        raise torch.OutOfMemoryError("no")

    monkeypatch.setattr(Objective, "losses", no_memory)
    code, _, err = look()
    assert code == 2 and "the longest batch (2 x " in err and "one sample alone does not fit" in err
    assert err.count("\n") == 1 or "Traceback" not in err


def test_a_disk_that_is_too_small_is_told_before_the_first_step(look, monkeypatch):
    usage = SimpleNamespace(free=1000)
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda place: usage)
    code, _, err = look()
    assert code == 2 and "trainer.save_total_limit" in err and "0.0 MB free" in err
    code, lines, _ = look("--force")
    assert code == 0 and any("0.0 MB are free" in line for line in lines)


def test_samples_that_cannot_be_used_are_told(look, tmp_path):
    records = write_records(tmp_path, ["a", "b", "c", ""], image=False)
    sources = {"sources": [{"records": records}], "max_refused": 0.5}
    code, lines, _ = look(data=sources, trainer={"preflight_samples": 8})
    assert code == 0 and any("1 of 4 records cannot be used" in line for line in lines)
    code, _, err = look(data={**sources, "max_tokens": 3})
    assert code == 2 and "cannot be used" in err and "more than the 3 allowed" in err
    code, _, err = look(data={**sources, "max_tokens": 3, "max_refused": 1.0})
    assert code == 0


def test_broken_weights_and_foreign_processors_are_told(tmp_path, capsys):
    model, processor = build_reader()
    with torch.no_grad():
        model.lm_head.weight[3, 3] = float("nan")
    model.save_pretrained(tmp_path / "nan")
    processor.save_pretrained(tmp_path / "nan")
    assert main([str(write_recipe(tmp_path, str(tmp_path / "nan"))), "--dry-run"]) == 2
    assert "not finite" in capsys.readouterr().err
    model, processor = build_reader()
    processor.tokenizer.add_tokens([f"<more{number}>" for number in range(100)])
    model.save_pretrained(tmp_path / "foreign")
    processor.save_pretrained(tmp_path / "foreign")
    assert main([str(write_recipe(tmp_path, str(tmp_path / "foreign"))), "--dry-run"]) == 2
    assert "the processor is of another model" in capsys.readouterr().err


def test_a_warm_up_that_never_ends_is_told(look):
    code, lines, _ = look(trainer={"warmup_steps": 4})
    assert code == 0 and any(
        "trainer.warmup_steps=4 last as long as trainer.max_steps=4" in line for line in lines
    )


def test_parts_that_no_loss_reaches_are_told(look):
    code, lines, _ = look(
        stage={"name": "tower", "lm_weight": 0.0, "dense_weight": 1.0}, data={"sources": [STRIPS]}
    )
    assert code == 0
    told = [line.split()[0] for line in lines if line.endswith("the longest batch gives it no gradient")]
    assert told == ["connector", "language_model"]


def test_a_dry_run_drops_nothing(tmp_path, reader_folder):
    recipe = str(write_recipe(tmp_path, reader_folder))
    assert main([recipe]) == 0
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert main([recipe, "--dry-run"]) == 2, "checkpoints are in the way"
    assert main([recipe, "--dry-run", "--force"]) == 0
    assert main([recipe, "--dry-run", "--resume", "auto", "--force", "trainer.max_steps=6"]) == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_the_flag_is_the_key():
    _, settings = read_arguments(["debug_cpu", "--dry-run"])
    assert load_recipe("debug_cpu", settings)[0].trainer.dry_run
    assert not load_recipe("debug_cpu")[0].trainer.dry_run
