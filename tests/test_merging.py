"""Adapters merged into their base model: the same logits, the same files as a full training's, no wrong merge."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from readers import build_reader
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText, AutoProcessor

from samvlm.cli import main
from samvlm.merging import merge_adapter, probe
from training.recipe import StageRecipe
from training.stages import set_trainable

ALL = ["vision_tower", "connector", "language_model"]
TABLES = ["embed_tokens", "lm_head"]
KINDS = {
    "everything": {"lora": {"r": 2, "use_dora": True, "tower": True, "new_tokens": True}},
    "lora": {"lora": {"r": 2, "new_tokens": True}},
    "blocks": {"lora": {"r": 2, "use_rslora": True}, "train": ALL, "tower_blocks": 1},
    "table whole": {"lora": {"r": 2, "modules_to_save": ["multi_modal_projector", "embed_tokens"]}},
    "head whole": {"lora": {"r": 2, "modules_to_save": ["lm_head"]}},
    "tables adapted": {"lora": {"r": 2, "target_modules": [*TABLES, "q_proj"]}},
}
TORN = ("table whole", "head whole", "tables adapted")  # a tied table and head come apart


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def base(request, tmp_path_factory) -> Path:
    """A reader whose token table and head are one, and one of whom they are two."""
    return save_reader(tmp_path_factory.mktemp("base") / "reader", tie_word_embeddings=request.param)


def save_reader(folder: Path, **decoder) -> Path:
    model, processor = build_reader(decoder)
    model.generation_config.max_new_tokens = 77  # something to carry on
    model.save_pretrained(folder)
    AutoModelForImageTextToText.from_pretrained(folder).save_pretrained(
        folder
    )  # with its parts' dtypes, as training
    processor.save_pretrained(folder)
    return folder


def save_adapter(base: Path, folder: Path, seed: int = 0, **stage) -> Path:
    """An adapter as a stage saves it, every trained weight moved."""
    model = AutoModelForImageTextToText.from_pretrained(base)
    processor = AutoProcessor.from_pretrained(base)
    added = set(processor.tokenizer.get_added_vocab().values()) - {processor.image_token_id}
    model = set_trainable(model, StageRecipe(name="instruct", **stage), sorted(added))
    torch.manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight += 0.05 * torch.randn_like(weight)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@torch.no_grad()
def logits(folder: Path) -> torch.Tensor:
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    return model(**probe(model)).logits


def apart(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


@pytest.mark.parametrize("kind", KINDS)
def test_the_merged_model_on_disk_answers_as_the_adapter(kind, base, tmp_path):
    adapter = save_adapter(base, tmp_path / "adapter", **KINDS[kind])
    expected, plain = logits(adapter), logits(base)
    assert apart(plain, expected) > 1e-3, "the adapter does something"
    merged = merge_adapter(adapter, tmp_path / "merged")
    assert apart(logits(tmp_path / "merged"), expected) <= 1e-5 and merged.difference <= 1e-5
    tied = json.loads((base / "config.json").read_text())["tie_word_embeddings"]
    assert merged.untied == (tied and kind in TORN)
    written, before = (load_file(folder / "model.safetensors") for folder in (tmp_path / "merged", base))
    assert written.keys() == before.keys() | ({"lm_head.weight"} if merged.untied else set())
    settings = [json.loads((folder / "config.json").read_text()) for folder in (tmp_path / "merged", base)]
    if not merged.untied:
        assert settings[0] == settings[1]
    generation = json.loads((tmp_path / "merged" / "generation_config.json").read_text())
    assert generation["max_new_tokens"] == 77
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "merged"], "nothing is left aside"


def test_new_tokens_of_tied_tables_come_out_at_both_ends(tmp_path):
    base = save_reader(tmp_path / "base", tie_word_embeddings=True)
    adapter = save_adapter(base, tmp_path / "adapter", **KINDS["lora"])
    (name,) = [key for key in load_file(adapter / "adapter_model.safetensors") if "trainable_tokens" in key]
    rows = json.loads((adapter / "adapter_config.json").read_text())["trainable_token_indices"]
    trained = load_file(adapter / "adapter_model.safetensors")[name]
    merge_adapter(adapter, tmp_path / "merged")
    model = AutoModelForImageTextToText.from_pretrained(tmp_path / "merged")
    before = AutoModelForImageTextToText.from_pretrained(base).get_input_embeddings().weight
    for table in (model.get_input_embeddings().weight, model.lm_head.weight):
        assert torch.equal(table[rows], trained)
        others = sorted(set(range(len(table))) - set(rows))
        assert torch.equal(table[others], before[others])
    assert model.lm_head.weight is model.get_input_embeddings().weight


@pytest.fixture
def pair(tmp_path) -> tuple[Path, Path]:
    """A base model and an adapter of it."""
    base = save_reader(tmp_path / "base", tie_word_embeddings=True)
    return base, save_adapter(base, tmp_path / "adapter", **KINDS["lora"])


def test_an_adapter_on_what_an_adapter_was_merged_to(pair, tmp_path):
    _, adapter = pair
    merge_adapter(adapter, tmp_path / "once")
    second = save_adapter(tmp_path / "once", tmp_path / "second", seed=1, **KINDS["everything"])
    merge_adapter(second, tmp_path / "twice")
    assert apart(logits(tmp_path / "twice"), logits(second)) <= 1e-5
    with pytest.raises(ValueError, match="adapter itself"):
        merge_adapter(second, tmp_path / "wrong", base=adapter)


def test_another_process_loads_it(pair, tmp_path):
    _, adapter = pair
    merge_adapter(adapter, tmp_path / "merged", dtype="bfloat16")
    code = (
        "import samvlm, sys; from transformers import AutoModelForImageTextToText as A, AutoProcessor as P\n"
        "m = A.from_pretrained('merged'); P.from_pretrained('merged'); print(m.dtype)\n"
        "assert 'peft' not in sys.modules and not hasattr(m, 'peft_config')"
    )
    root = str(Path(__file__).resolve().parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "torch.bfloat16", done.stderr
    assert apart(logits(tmp_path / "merged"), logits(adapter)) < 0.05


def test_the_command(pair, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["merge", "adapter", "-o", "new/merged"]) == 0
    told = capsys.readouterr()
    assert "float32" in told.err and told.out == ""
    card = (tmp_path / "new" / "merged" / "README.md").read_text()
    assert "samvlm merge" in card and "base_model: base" in card and 'from_pretrained("merged")' in card
    before = (tmp_path / "new" / "merged").stat().st_ino
    assert main(["merge", "adapter", "-o", "new/merged"]) == 2
    assert "--force" in capsys.readouterr().err
    assert (tmp_path / "new" / "merged").stat().st_ino == before
    assert main(["merge", "adapter", "-o", "new/merged", "--force", "--dtype", "bfloat16"]) == 0
    assert json.loads((tmp_path / "new/merged/config.json").read_text())["dtype"] == "bfloat16"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["merged"]


def test_a_base_that_is_gone_is_asked_for(pair, tmp_path, capsys):
    base, adapter = pair
    expected = logits(adapter)
    base.rename(tmp_path / "moved")
    capsys.readouterr()
    assert main(["merge", str(adapter), "-o", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert str(base) in told and "--base" in told and told.count("\n") == 1
    with pytest.raises(ValueError, match="does not fit its base model"):
        merge_adapter(adapter, tmp_path / "out", base="samvlm-tiny")
    merge_adapter(adapter, tmp_path / "out", base=tmp_path / "moved")
    assert apart(logits(tmp_path / "out"), expected) <= 1e-5


def test_what_cannot_be_merged_says_why(pair, tmp_path, capsys):
    base, adapter = pair
    file = adapter / "adapter_model.safetensors"
    weights = load_file(file)
    some = next(key for key in weights if "lora_B" in key)
    faults = {
        "lacks 1 weights": {key: value for key, value in weights.items() if key != some},
        "no place for 1 weights": {**weights, some.replace("layers.0", "layers.7"): weights[some].clone()},
        "not finite": {**weights, some: weights[some] * float("nan")},
        "damaged": {**weights, some: weights[some][:-1].clone()},
    }
    for told, content in faults.items():
        save_file(content, file)
        assert main(["merge", str(adapter), "-o", str(tmp_path / "out")]) == 2
        error = capsys.readouterr().err
        assert told in error and error.count("\n") == 1, error
    file.write_bytes(b"torn")
    for source, told in (
        (adapter, "damaged"),
        (base, "nothing to merge"),
        (tmp_path / "none", "no such folder"),
    ):
        with pytest.raises(ValueError, match=told):
            merge_adapter(source, tmp_path / "out")
    save_file(weights, file)
    for output, force, told in (
        (base, True, "is read"),
        (tmp_path, True, "holds"),
        (file, True, "no checkpoint"),
    ):
        with pytest.raises(ValueError, match=told):
            merge_adapter(adapter, output, force=force)
    settings = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**settings, "quantization_config": {"load_in_4bit": True}}))
    with pytest.raises(ValueError, match="quantised"):
        merge_adapter(adapter, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_full_disk_leaves_what_was_there(pair, tmp_path, monkeypatch, capsys):
    _, adapter = pair
    merge_adapter(adapter, tmp_path / "out")
    before = (tmp_path / "out" / "model.safetensors").read_bytes()
    monkeypatch.setattr(
        "samvlm.merging.merged_card", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left"))
    )
    assert main(["merge", str(adapter), "-o", str(tmp_path / "out"), "--force"]) == 1
    assert "No space left" in capsys.readouterr().err
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "base", "out"]
