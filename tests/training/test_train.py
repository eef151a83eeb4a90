"""Whole runs: three stages, their losses and folders, resume, records, adapters."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from readers import build_reader, draw_strips
from safetensors.torch import load_file
from short_runs import STRIPS, log_of, same, weights, write_recipe
from transformers import AutoModelForImageTextToText, AutoProcessor

from samvlm.data.synth import sample
from training.collator import Collator
from training.train import main


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
    assert main([str(recipe), *overrides, "trainer.max_steps=8"]) == 2  # the schedule would be another
    assert main([str(recipe), *overrides, "trainer.max_steps=8", "trainer.force=true"]) == 0
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
            assert main([str(recipe), f"trainer.output_dir={tmp_path / 'next'}", "--force"]) == 0
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
    data = {"sources": [{"records": str(tables)}], "workers": workers, "max_pixels": 65536}
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


def test_a_stage_goes_on_at_another_scale_and_resumes(tmp_path, reader_folder):
    change = {"rescale": {"image_size": 512, "text_height": 16}}
    path = write_recipe(tmp_path, reader_folder, model=change, trainer={"max_steps": 2})
    assert main([str(path)]) == 0
    assert main([str(path), "trainer.max_steps=4", "--resume", "auto", "--force"]) == 0
    model = AutoModelForImageTextToText.from_pretrained(tmp_path / "out" / "1-instruct")
    processor = AutoProcessor.from_pretrained(tmp_path / "out" / "1-instruct")
    assert model.config.vision_config.image_size == 512
    assert model.model.vision_tower.pos_embed.shape[1] == 32
    assert (processor.image_processor.text_height, processor.image_processor.size.longest_edge) == (16.0, 512)


def test_a_scale_that_does_not_fit_is_told(tmp_path, reader_folder, capsys):
    for change, told in (
        ({"image_size": 300}, "model.rescale: image_size=300: give a multiple of 64"),
        ({"text_hight": 16}, "did you mean 'text_height'?"),
        ({"text_height": "large"}, "model.rescale: text_height='large'"),
    ):
        path = write_recipe(tmp_path, reader_folder, model={"rescale": change})
        assert main([str(path)]) == 2
        assert told in capsys.readouterr().err
