"""Whole runs: three stages, their losses and folders, resume, records, adapters, bad input, interruption."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image
from readers import build_reader, draw_strips
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoProcessor

from samvlm.data.synth import sample
from training.collator import Collator
from training.train import main

TRAIN = Path(__file__).resolve().parents[2] / "training" / "train.py"
STRIPS = {"synth": "strip", "size": [128, 64], "options": {"damage": 0.0}}


def write_recipe(folder: Path, init_from: str, **sections) -> Path:
    """A recipe of a few steps; `sections` add to data, stage and trainer."""
    recipe = {
        "model": {"init_from": init_from, **sections.get("model", {})},
        "data": {"sources": [STRIPS], "max_pixels": 16384, **sections.get("data", {})},
        "stage": {"name": "instruct", **sections.get("stage", {})},
        "trainer": {
            "output_dir": str(folder / "out"),
            "max_steps": 4,
            "learning_rate": 3e-3,
            "logging_steps": 2,
            "save_steps": 2,
            "use_cpu": True,
            **sections.get("trainer", {}),
        },
    }
    path = folder / "recipe.yaml"
    path.write_text(json.dumps(recipe))  # JSON is YAML
    return path


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def log_of(folder: Path) -> list[dict]:
    return json.loads((folder / "log.json").read_text())


def same(first: Path, second: Path) -> bool:
    a, b = weights(first), weights(second)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def debug_run(tmp_path_factory) -> Path:
    """The debug recipe, shortened."""
    folder = tmp_path_factory.mktemp("debug")
    overrides = ["max_steps=24", "logging_steps=4", "save_steps=12", f"output_dir={folder}"]
    assert main(["debug_cpu", *(f"trainer.{override}" for override in overrides)]) == 0
    return folder


def test_the_debug_recipe_runs_all_three_stages(debug_run):
    for name in ("1-tower", "2-align", "3-instruct"):
        model = AutoModelForImageTextToText.from_pretrained(debug_run / name)
        processor = AutoProcessor.from_pretrained(debug_run / name)
        assert not any("training_heads" in key for key in weights(debug_run / name))
        assert (debug_run / name / "checkpoint-12" / "optimizer.pt").is_file()
        inputs = processor.apply_chat_template(
            [{"role": "user", "content": [{"type": "image", "image": Image.new("RGB", (64, 64), "white")}]}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
        assert model.generate(**inputs, max_new_tokens=2).shape[1] > inputs["input_ids"].shape[1]
    heads = [load_file(debug_run / name / "training_heads.safetensors") for name in ("1-tower", "3-instruct")]
    assert all(torch.equal(heads[0][name], heads[1][name]) for name in heads[0]), "handed on to later stages"


def test_the_loss_falls_over_the_stages(debug_run):
    """From the first line of stage 0 to the last of stage 2 the loss of the next token falls by a quarter or more."""
    first, last = log_of(debug_run / "1-tower")[0], log_of(debug_run / "3-instruct")[-1]
    assert first["step"] == 4 and last["step"] == 24
    assert last["lm_loss"] < 0.75 * first["lm_loss"]
    dense = [line["dense_loss"] for line in log_of(debug_run / "1-tower")]
    assert dense[-1] < 0.5 * dense[0]


def test_a_stage_moves_its_parts_alone(debug_run):
    tower, align, instruct = (weights(debug_run / name) for name in ("1-tower", "2-align", "3-instruct"))
    for before, after, parts in (
        (tower, align, ("multi_modal_projector",)),
        (align, instruct, ("multi_modal_projector", "language_model", "lm_head")),
    ):
        for name in before:
            moved = not torch.equal(before[name], after[name])
            assert moved == any(part in name for part in parts), name


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_resumed_run_ends_as_the_unbroken_one(dtype, tmp_path, reader_folder):
    """Muon, bf16 with fp32 weights, dense and guide loss, noise, accumulation and a schedule, bit for bit."""
    settings = {
        "model": {"dtype": dtype},
        "data": {
            "sources": [STRIPS, {"synth": "table", "size": [192, 64], "weight": 0.5}],
            "input_noise": 0.2,
        },
        "stage": {"name": "tower", "dense_weight": 0.5, "guide_weight": 0.5},
        "trainer": {"optimizer": "muon", "gradient_accumulation_steps": 2, "max_steps": 6, "warmup_steps": 2},
    }
    recipe = write_recipe(tmp_path, reader_folder, **settings)
    assert main([str(recipe)]) == 0
    whole = tmp_path / "out" / "1-tower"
    assert sorted(path.name for path in whole.glob("checkpoint-*")) == ["checkpoint-4", "checkpoint-6"]

    broken = tmp_path / "broken" / "1-tower"
    broken.mkdir(parents=True)
    shutil.copytree(whole / "checkpoint-4", broken / "checkpoint-4")
    overrides = [f"trainer.output_dir={broken.parent}", "trainer.resume=auto"]
    assert main([str(recipe), *overrides]) == 0
    assert same(whole, broken)
    heads = [load_file(folder / "training_heads.safetensors") for folder in (whole, broken)]
    assert all(torch.equal(heads[0][name], heads[1][name]) for name in heads[0])
    assert log_of(broken) == log_of(whole)

    # What is done is not done again, and more steps go on from there.
    before = (broken / "model.safetensors").stat().st_mtime_ns
    assert main([str(recipe), *overrides]) == 0
    assert (broken / "model.safetensors").stat().st_mtime_ns == before
    (broken / "log.json").unlink()  # stopped between the last checkpoint and the result
    assert main([str(recipe), *overrides]) == 0
    assert same(whole, broken)
    assert sorted(path.name for path in broken.glob("checkpoint-*")) == ["checkpoint-4", "checkpoint-6"]
    assert main([str(recipe), *overrides, "trainer.max_steps=8"]) == 0
    assert not same(whole, broken) and log_of(broken)[-1]["step"] == 8


def test_the_dense_head_goes_on_from_a_result_and_from_a_checkpoint(tmp_path, reader_folder, caplog):
    stage = {"name": "tower", "dense_weight": 1.0, "lm_weight": 0.0}
    assert main([str(write_recipe(tmp_path, reader_folder, stage=stage))]) == 0
    result = tmp_path / "out" / "1-tower"
    for start in (result, result / "checkpoint-4"):
        recipe = write_recipe(
            tmp_path, str(start), stage=stage, trainer={"learning_rate": 0.0, "max_steps": 1}
        )
        with caplog.at_level("INFO", logger="samvlm.training"):
            assert main([str(recipe), f"trainer.output_dir={tmp_path / 'next'}"]) == 0
        assert f"dense head from {start}" in caplog.messages
        heads = load_file(tmp_path / "next" / "1-tower" / "training_heads.safetensors")
        saved = load_file(result / "training_heads.safetensors")
        assert all(torch.equal(heads[name], saved[name]) for name in saved)


def test_some_samples_may_be_for_the_tower_alone(tmp_path, reader_folder):
    recipe = write_recipe(
        tmp_path,
        reader_folder,
        data={"sources": [{**STRIPS, "dense_only": True}, {**STRIPS, "weight": 1.0}], "max_images": 1},
        stage={"name": "tower", "dense_weight": 1.0, "guide_weight": 0.5},
        trainer={"max_steps": 8, "logging_steps": 1},
    )
    assert main([str(recipe)]) == 0
    lines = log_of(tmp_path / "out" / "1-tower")
    assert all("dense_loss" in line for line in lines)
    assert {"lm_loss" in line for line in lines} == {True, False}
    assert all(("guide_loss" in line) == ("lm_loss" in line) for line in lines)


@pytest.fixture
def tables(tmp_path) -> Path:
    """Records of drawn tables, a broken image and a LLaVA chat without an image among them."""
    lines = []
    for index in range(6):
        drawn = sample("table", 77, index, size=(128, 64))
        drawn.image.save(tmp_path / f"{index}.png")
        record = {"id": f"t{index}", "image": f"{index}.png", "task": "table"}
        lines.append({**record, "target": {"html": drawn.table.to_html()}})
    (tmp_path / "2.png").write_bytes((tmp_path / "2.png").read_bytes()[:60])
    turns = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]
    lines.append({"id": "chat", "conversations": turns})
    path = tmp_path / "records.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines))
    return path


@pytest.mark.parametrize("workers", [0, 1])
def test_records_train(workers, tmp_path, reader_folder, tables, caplog):
    data = {"sources": [{"records": str(tables)}], "workers": workers}
    recipe = write_recipe(tmp_path, reader_folder, data=data, trainer={"max_steps": 8})
    assert main([str(recipe)]) == 0
    assert len(log_of(tmp_path / "out" / "1-instruct")) == 4
    if not workers:  # a worker logs in its own process
        assert sum("skipped record t2" in line for line in caplog.messages) == 1


@pytest.mark.parametrize("tied", [True, False])
def test_an_adapter_loads_and_merges_to_equal_logits(tied, tmp_path, tables):
    from peft import PeftModel

    model, processor = build_reader({"tie_word_embeddings": tied})
    base = tmp_path / "base"
    model.save_pretrained(base)
    processor.save_pretrained(base)
    lora = {"r": 4, "lora_alpha": 8, "new_tokens": True}
    recipe = write_recipe(
        tmp_path, str(base), data={"sources": [{"records": str(tables)}, STRIPS]}, stage={"lora": lora}
    )
    assert main([str(recipe)]) == 0
    adapter = tmp_path / "out" / "1-instruct"
    saved = load_file(adapter / "adapter_model.safetensors")
    assert not (adapter / "model.safetensors").exists()
    assert any("multi_modal_projector" in name for name in saved)
    assert sum("trainable_tokens_delta" in name for name in saved) == (1 if tied else 2)
    assert not any("vision_tower" in name for name in saved)

    batch = Collator(AutoProcessor.from_pretrained(adapter))(draw_strips(2))
    loaded = AutoModelForImageTextToText.from_pretrained(adapter).eval()
    wrapped = PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained(base), adapter).eval()
    with torch.no_grad():
        plain = model(**batch).logits
        logits = loaded(**batch).logits
        assert torch.allclose(wrapped(**batch).logits, logits, atol=1e-5)
        assert (logits - plain).abs().max() > 1e-2, "the adapter changes something"
        merged = wrapped.merge_and_unload()
        assert torch.allclose(merged(**batch).logits, logits, atol=1e-4)
        merged.save_pretrained(tmp_path / "merged")
        again = AutoModelForImageTextToText.from_pretrained(tmp_path / "merged").eval()
        assert torch.allclose(again(**batch).logits, logits, atol=1e-4)
    assert weights(tmp_path / "merged").keys() == weights(base).keys()
    assert (again.lm_head.weight is again.get_input_embeddings().weight) == tied


def test_an_adapters_resumed_run_ends_as_the_unbroken_one(tmp_path, reader_folder):
    recipe = write_recipe(
        tmp_path, reader_folder, stage={"lora": {"r": 2, "new_tokens": True, "lora_dropout": 0.1}}
    )
    assert main([str(recipe)]) == 0
    whole, broken = tmp_path / "out" / "1-instruct", tmp_path / "broken" / "1-instruct"
    broken.mkdir(parents=True)
    shutil.copytree(whole / "checkpoint-2", broken / "checkpoint-2")
    assert main([str(recipe), f"trainer.output_dir={broken.parent}", "trainer.resume=auto"]) == 0
    first, second = (load_file(f / "adapter_model.safetensors") for f in (whole, broken))
    assert first.keys() == second.keys() and all(torch.equal(first[n], second[n]) for n in first)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["data.sources=[{synth: tabel}]"], "unknown kind 'tabel'"),
        (["data.sources=[{synth: table, wieght: 2}]"], "wieght"),
        (["data.sources=[{records: missing.jsonl}]"], "no record file at missing.jsonl"),
        (["trainer.max_stepps=3"], "did you mean 'max_steps'"),
        (["model.init_from=null", "model.assemble={towr: {}}"], "towr"),
        (["trainer.resume=nowhere"], "trainer.resume=nowhere is no checkpoint"),
        (["trainer.schedule=cosinus"], "cosinus"),
        (["stage.guide_weight=1", "stage.guide_layers=[7]"], "stage.guide_layers=[7]"),
        (["stage.lora={rnk: 3}"], "stage.lora"),
        (["data.sources=[{synth: strip, size: [512, 64]}]"], "at most 256"),
        (["data.sources=[{synth: strip, size: [512, 64]}]", "data.workers=1"], "at most 256"),
        (["data.sources=[{synth: strip, size: [32, 16]}]", "data.workers=1"], "too small"),
    ],
)
def test_bad_input_gets_one_line_and_exit_code_2(overrides, told, tmp_path, reader_folder, capsys):
    assert main([str(write_recipe(tmp_path, reader_folder)), *overrides]) == 2
    err = [line for line in capsys.readouterr().err.splitlines() if line.startswith("samvlm train:")]
    assert len(err) == 1 and told in err[0] and "Traceback" not in err[0]


def test_a_missing_model_or_recipe_is_told(tmp_path, capsys):
    assert main([str(write_recipe(tmp_path, str(tmp_path / "no_model")))]) == 2
    assert main(["no_such_recipe"]) == 2
    assert main([]) == 2
    assert main(["--help"]) == 0
    err = capsys.readouterr().err
    assert "no_model" in err and "there is no recipe no_such_recipe" in err and "Traceback" not in err


def test_a_checkpoint_of_another_stage_is_refused(tmp_path, reader_folder, capsys):
    recipe = write_recipe(tmp_path, reader_folder, stage={"name": "tower"})
    assert main([str(recipe)]) == 0
    overrides = ["trainer.resume=auto", "trainer.max_steps=6"]
    assert main([str(recipe), *overrides, "stage.dense_weight=1"]) == 2
    assert "lacks 2 weights of this stage, the first is training_heads." in capsys.readouterr().err
    assert main([str(recipe), *overrides, "stage.train=[connector]"]) == 2
    assert "samvlm train: " in capsys.readouterr().err


def test_a_loss_that_is_no_number_stops_the_run_and_saves_nothing(tmp_path, reader_folder, capsys):
    recipe = write_recipe(
        tmp_path, reader_folder, trainer={"learning_rate": 1e30, "save_steps": 1, "max_steps": 9}
    )
    assert main([str(recipe)]) == 1
    err = capsys.readouterr().err
    assert "nan at step" in err and "lower trainer.learning_rate" in err and "Traceback" not in err
    folder = tmp_path / "out" / "1-instruct"
    assert not (folder / "model.safetensors").exists()
    for checkpoint in folder.glob("checkpoint-*"):
        assert all(tensor.isfinite().all() for tensor in weights(checkpoint).values())


@pytest.mark.parametrize("when", ["while it loads", "while it trains"])
def test_ctrl_c_ends_with_130_and_without_a_traceback(when, tmp_path, reader_folder):
    trainer = {"max_steps": 10_000, "save_steps": 9999}
    recipe = write_recipe(tmp_path, reader_folder, data={"workers": 1}, trainer=trainer)
    run = subprocess.Popen(
        [sys.executable, "-v", str(TRAIN), str(recipe)]
        if "loads" in when
        else [sys.executable, str(TRAIN), str(recipe)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    sign = "import 'torch'" if "loads" in when else "step 2/"
    lines = []
    try:
        for line in run.stderr:
            lines.append(line)
            if line.startswith(sign):
                break
        time.sleep(0.3)
        os.killpg(run.pid, signal.SIGINT)  # as a terminal does: to the workers too
        lines += run.communicate(timeout=60)[1].splitlines()
    finally:
        run.kill()
    said = "\n".join(line for line in lines if not line.startswith(("#", "import ")))
    assert run.returncode == 130, said
    assert "Traceback" not in said and "KeyboardInterrupt" not in said
    assert "loads" in when or "interrupted; trainer.resume=auto" in said


@pytest.mark.slow
@pytest.mark.parametrize("dense_only", [False, True])
def test_two_processes_train_as_one_with_twice_the_accumulation(dense_only, tmp_path, reader_folder):
    """DDP over gloo: the same weights, and a clean end. Without the language model its weights have no gradient."""
    stage = {"name": "tower", "dense_weight": 0.5, "guide_weight": 0.0 if dense_only else 0.5}
    recipe = write_recipe(
        tmp_path,
        reader_folder,
        stage={**stage, "lm_weight": 0.0 if dense_only else 1.0},
        trainer={"gradient_accumulation_steps": 2},
    )
    assert main([str(recipe)]) == 0
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    overrides = ["trainer.gradient_accumulation_steps=1", f"trainer.output_dir={tmp_path / 'two'}"]
    done = subprocess.run(
        [sys.executable, *launcher, str(TRAIN), str(recipe), *overrides],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    one, two = weights(tmp_path / "out" / "1-tower"), weights(tmp_path / "two" / "1-tower")
    for name in one:
        assert torch.allclose(one[name], two[name], atol=1e-5), name
    first, second = log_of(tmp_path / "out" / "1-tower"), log_of(tmp_path / "two" / "1-tower")
    for a, b in zip(first, second, strict=True):
        assert a["dense_loss"] == pytest.approx(b["dense_loss"], abs=2e-3)
    assert done.stderr.count("step 4/4") == 1, "one process speaks"
