"""Fine-tuning a converted GOT-OCR2 with the recipes: two steps each, and the way back to transformers."""

import json
from pathlib import Path

import pytest
import torch
from got_models import save_got, tiny_got
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoProcessor, GotOcr2ForConditionalGeneration

from samvlm.cli import main as command
from samvlm.generation import DocumentParser
from samvlm.model.got_ocr2 import load_got_ocr2, save_as_got_ocr2
from training.train import main

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def converted(tmp_path: Path, table_tokens: bool) -> Path:
    source = save_got(tiny_got(max_position_embeddings=4096), tmp_path / "got")
    model, processor = load_got_ocr2(source, table_tokens=table_tokens)
    folder = tmp_path / "converted"
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def records(tmp_path: Path) -> Path:
    """Two records of each kind: text in GOT-OCR2's own words, tables in ours."""
    lines = []
    for number in range(4):
        Image.effect_noise((150 + 40 * number, 70), 80).convert("RGB").save(tmp_path / f"{number}.png")
        target = (
            {"html": f"<table><tr><td>a</td><td>{number}</td></tr></table>"}
            if number % 2
            else {"text": "the"}
        )
        task = "table" if number % 2 else "text"
        lines.append({"id": str(number), "image": f"{number}.png", "task": task, "target": target})
    path = tmp_path / "records.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


SETTINGS = ["trainer.max_steps=2", "trainer.use_cpu=true", "trainer.logging_steps=1", "trainer.save_steps=2"]
SETTINGS += ["model.dtype=float32", "trainer.gradient_accumulation_steps=1", "scoring.report=false"]
SETTINGS += ["data.workers=0", "scoring.data=null", "trainer.preflight_samples=2", "trainer.report_to=none"]


def run(recipe: str, folder: Path, out: Path, *settings: str) -> Path:
    given = [f"model.init_from={folder}", f"trainer.output_dir={out}", *SETTINGS, *settings]
    assert main([str(CONFIGS / f"{recipe}.yaml"), *given]) == 0
    return out / "1-instruct"


@pytest.mark.parametrize("table_tokens", [pytest.param(False, marks=pytest.mark.slow), True])
def test_instruct(table_tokens, tmp_path):
    """Stage 2, on files and on drawn tables, which are stretched to the square as files are."""
    folder = converted(tmp_path, table_tokens)
    sources = f"[{{records: {records(tmp_path)}}}, {{synth: strip, weight: 1.0}}]"
    result = run("stage2_instruct", folder, tmp_path / "out", f"data.sources={sources}", "data.max_images=2")
    log = json.loads((result / "log.json").read_text())
    assert all(torch.isfinite(torch.tensor(line["loss"])) for line in log if "loss" in line)
    before, after = (load_file(place / "model.safetensors") for place in (folder, result))
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name].to(before[name].dtype))}
    assert any("language_model" in name for name in changed)
    assert any("multi_modal_projector" in name for name in changed)
    assert not any("vision_tower" in name for name in changed)
    answer = DocumentParser.from_pretrained(result, device="cpu")(
        Image.new("RGB", (90, 50)), max_new_tokens=8
    )
    assert bool(answer.tables) is table_tokens
    # and back, for those who use transformers
    model, processor = (
        AutoModelForImageTextToText.from_pretrained(result),
        AutoProcessor.from_pretrained(result),
    )
    save_as_got_ocr2(model, processor, tmp_path / "back")
    theirs = GotOcr2ForConditionalGeneration.from_pretrained(tmp_path / "back")
    given = AutoProcessor.from_pretrained(tmp_path / "back")
    inputs = given(Image.new("RGB", (90, 50)), return_tensors="pt", num_image_tokens=4)
    with torch.no_grad():
        assert (theirs(**inputs).logits - model(**inputs).logits).abs().max() < 1e-4


def test_lora(tmp_path):
    """LoRA on tables, the new tokens too."""
    folder = converted(tmp_path, table_tokens=True)
    result = run(
        "lora_table",
        folder,
        tmp_path / "out",
        f"data.sources=[{{records: {records(tmp_path)}}}]",
        "stage.lora.new_tokens=true",
        "data.max_images=2",
    )
    assert (result / "adapter_config.json").is_file()
    page = Image.new("RGB", (90, 50))
    (table,) = DocumentParser.from_pretrained(result, device="cpu")(page, max_new_tokens=12).tables
    assert table.n_rows


@pytest.mark.slow
def test_lora_merged_and_back(tmp_path):
    """Adapters on a checkpoint without new tokens, merged, and the whole to transformers: one model in three forms."""
    folder = converted(tmp_path, table_tokens=False)
    sources = f"data.sources=[{{records: {records(tmp_path)}}}]"
    result = run("lora_table", folder, tmp_path / "out", sources, "data.max_images=2")
    assert command(["merge", str(result), "-o", str(tmp_path / "merged"), "--dtype", "float32"]) == 0
    assert command(["convert", str(tmp_path / "merged"), str(tmp_path / "back"), "--to", "got_ocr2"]) == 0
    theirs = GotOcr2ForConditionalGeneration.from_pretrained(tmp_path / "back")
    processor = AutoProcessor.from_pretrained(tmp_path / "back")
    inputs = processor(
        Image.effect_noise((90, 50), 80).convert("RGB"), return_tensors="pt", num_image_tokens=4
    )
    tuned = DocumentParser.from_pretrained(result, device="cpu").model
    before = AutoModelForImageTextToText.from_pretrained(folder)
    with torch.no_grad():
        expected = theirs(**inputs).logits
        assert (tuned(**inputs).logits - expected).abs().max() < 1e-3
        assert (before(**inputs).logits - expected).abs().max() > 1e-2
