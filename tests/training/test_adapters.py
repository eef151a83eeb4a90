"""Adapters of every scope, from a run to a folder and back."""

import io
import json
import re

import pytest
import torch
from readers import build_reader, draw_strips
from safetensors.torch import load_file
from short_runs import write_recipe
from transformers import AutoModelForImageTextToText, AutoProcessor

from samvlm.cli import main as samvlm
from samvlm.data.synth import sample
from training.collator import Collator
from training.train import main

ALL = ["vision_tower", "connector", "language_model"]
SCOPES = {
    "qkv of the tower, DoRA": (
        {"lora": {"r": 2, "tower": True, "use_dora": True, "new_tokens": True}},
        r"vision_tower\.layers\.[01]\.attn\.qkv\.lora_",
    ),
    "last block of the tower whole": (
        {"lora": {"r": 2}, "train": ALL, "tower_blocks": 1},
        r"vision_tower\.(layers\.1|neck)\.",
    ),
}


@pytest.mark.parametrize("name", SCOPES)
def test_an_adapter_folder_has_all_that_was_trained(name, tmp_path, reader_folder):
    stage, pattern = SCOPES[name]
    assert main([str(write_recipe(tmp_path, reader_folder, stage=stage))]) == 0
    folder = tmp_path / "out" / "1-instruct"
    saved = load_file(folder / "adapter_model.safetensors")
    tower = {key for key in saved if "vision_tower" in key}
    assert tower and all(re.search(pattern, key) for key in tower)
    assert any("multi_modal_projector" in key for key in saved)
    assert any("trainable_tokens_delta" in key for key in saved) == ("new_tokens" in stage["lora"])

    base = AutoModelForImageTextToText.from_pretrained(reader_folder).eval()
    loaded = AutoModelForImageTextToText.from_pretrained(folder).eval()
    batch = Collator(AutoProcessor.from_pretrained(folder))(draw_strips(2))
    pixels = batch["pixel_values"]
    with torch.no_grad():
        maps = [model.model.vision_tower(pixels).last_hidden_state for model in (base, loaded)]
        assert (maps[0] - maps[1]).abs().max() > 1e-4, "the tower's part is loaded too"
        logits = [model(**batch).logits for model in (base, loaded)]
    assert (logits[0] - logits[1]).abs().max() > 1e-2
    for key in tower:  # what trained whole, as it was saved
        if "lora_" not in key:
            parameters = dict(loaded.named_parameters())
            (found,) = [
                n
                for n in parameters
                if n.replace("modules_to_save.default.", "") in key.replace("base_model.model.", "")
            ]
            assert torch.equal(parameters[found], saved[key])


def test_every_command_takes_an_adapter_from_any_folder(tmp_path, monkeypatch, capsys):
    """The base model was given relative to another folder; its token table and head are one."""
    home = tmp_path / "home"
    model, processor = build_reader()
    model.save_pretrained(home / "base")
    processor.save_pretrained(home / "base")
    monkeypatch.chdir(home)
    lora = {"r": 2, "use_dora": True, "tower": True, "new_tokens": True}
    assert main([str(write_recipe(home, "base", stage={"lora": lora}, trainer={"output_dir": "out"}))]) == 0
    adapter = home / "out" / "1-instruct"

    (tmp_path / "away").mkdir()
    monkeypatch.chdir(tmp_path / "away")
    table = sample("table", 5, 0, size=(128, 64))
    table.image.save("table.png")
    record = {"id": "1", "image": "table.png", "task": "table", "target": {"otsl": table.answer}}
    (tmp_path / "away" / "records.jsonl").write_text(json.dumps(record))
    few = ["--max-new-tokens", "20"]
    capsys.readouterr()
    assert samvlm(["merge", str(adapter), "-o", "merged"]) == 0
    answers = []
    for folder in (adapter, "merged"):
        assert samvlm(["parse", "table.png", "--model", str(folder), "-f", "otsl", *few]) == 0
        answers.append(capsys.readouterr().out)
    assert answers[0] == answers[1] != ""
    monkeypatch.setattr("sys.stdin", io.StringIO("How many rows?\n"))
    assert samvlm(["chat", "table.png", "--model", str(adapter), *few]) == 0
    evaluate = ["eval", str(adapter), "--data", "records.jsonl", "-o", "scores", *few]
    assert samvlm(evaluate) == 0
    (line,) = (tmp_path / "away" / "scores" / "predictions.jsonl").read_text().splitlines()
    assert json.loads(line)["error"] is None


def test_a_stage_does_not_start_from_an_adapter(tmp_path, reader_folder, capsys):
    path = write_recipe(tmp_path, reader_folder, stage={"lora": {"r": 2}}, trainer={"max_steps": 1})
    assert main([str(path)]) == 0
    adapter = tmp_path / "out" / "1-instruct"
    capsys.readouterr()
    assert main([str(path), f"model.init_from={adapter}", f"trainer.output_dir={tmp_path / 'next'}"]) == 2
    told = capsys.readouterr().err
    assert "is an adapter" in told and f"samvlm merge {adapter}" in told
    recipe = path.read_text()
    path.write_text(f"{recipe}\n---\n{recipe.replace(reader_folder, 'previous')}")
    assert main([str(path), f"trainer.output_dir={tmp_path / 'two'}"]) == 2
    assert "leaves an adapter" in capsys.readouterr().err and not (tmp_path / "two").exists()
    assert samvlm(["merge", str(adapter), "-o", str(tmp_path / "merged")]) == 0
    path.write_text(recipe)
    start = [f"model.init_from={tmp_path / 'merged'}", f"trainer.output_dir={tmp_path / 'next'}"]
    assert main([str(path), *start]) == 0


def test_a_base_that_was_changed_since_is_told(tmp_path, capsys):
    model, processor = build_reader()
    for part in (model, processor):
        part.save_pretrained(tmp_path / "base")
    path = write_recipe(tmp_path, str(tmp_path / "base"), stage={"lora": {"r": 2}}, trainer={"max_steps": 1})
    assert main([str(path)]) == 0
    merge = ["merge", str(tmp_path / "out" / "1-instruct"), "-o", str(tmp_path / "merged")]
    with torch.no_grad():
        model.model.vision_tower.pos_embed += 1.0
    model.save_pretrained(tmp_path / "base")
    capsys.readouterr()
    assert samvlm(merge) == 2
    assert "is not the model" in capsys.readouterr().err
    assert samvlm([*merge, "--force"]) == 0


def test_4_bits_need_bitsandbytes_and_whole_weights(tmp_path, reader_folder, capsys, monkeypatch):
    path = write_recipe(tmp_path, reader_folder, stage={"lora": {"r": 2, "quantize": "4bit"}})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main([str(path)]) == 2
    assert "pip install bitsandbytes" in capsys.readouterr().err
    assert main([str(path), "trainer.fsdp=true"]) == 2
    told = capsys.readouterr().err
    assert "stage.lora.quantize" in told and "trainer.fsdp" in told


def test_an_adapter_trained_on_4_bits_merges_into_whole_weights(tmp_path, capsys):
    bitsandbytes = pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    model, processor = build_reader({"hidden_size": 64, "intermediate_size": 128})
    for part in (model, processor):
        part.save_pretrained(tmp_path / "base")
    stage = {"lora": {"r": 2, "quantize": "4bit", "new_tokens": True}}
    path = write_recipe(tmp_path, str(tmp_path / "base"), stage=stage)
    with pytest.MonkeyPatch.context() as patch:
        calls = []
        plain = bitsandbytes.nn.Linear4bit.forward
        patch.setattr(
            bitsandbytes.nn.Linear4bit, "forward", lambda self, x: calls.append(self) or plain(self, x)
        )
        assert main([str(path)]) == 0
    assert len({id(layer) for layer in calls}) == 14, "the language model's linear layers, and no others"
    adapter = tmp_path / "out" / "1-instruct"
    assert (
        main(
            [
                str(path),
                "--resume",
                f"{adapter / 'checkpoint-2'}",
                "trainer.output_dir=" + str(tmp_path / "b"),
            ]
        )
        == 0
    )
    again, first = (
        load_file(f / "adapter_model.safetensors") for f in (tmp_path / "b" / "1-instruct", adapter)
    )
    assert all(torch.equal(again[key], first[key]) for key in first)

    capsys.readouterr()
    assert samvlm(["merge", str(adapter), "-o", str(tmp_path / "merged")]) == 0
    assert "in 4 bits" in capsys.readouterr().err
    assert "in 4 bits" in (tmp_path / "merged" / "README.md").read_text()
    card = (adapter / "README.md").read_text()
    language_model = sum(v.numel() for k, v in model.named_parameters() if "language_model" in k)
    assert f"{language_model:,} |" in card, "every number is counted, packed or not"
    whole = load_file(tmp_path / "merged" / "model.safetensors")
    base = load_file(tmp_path / "base" / "model.safetensors")
    assert whole.keys() == base.keys() and {value.dtype for value in whole.values()} == {torch.float32}
    tower = [key for key in whole if "vision_tower" in key]
    assert all(torch.equal(whole[key], base[key]) for key in tower)
    change = {key: (whole[key] - base[key]).abs().max() for key in whole if "q_proj" in key}
    assert all(0 < value < 0.05 for value in change.values()), "the adapter, and no rounding to 4 bits"
