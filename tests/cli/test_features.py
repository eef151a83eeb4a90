"""`samvlm features build`: what it makes is what training reads."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from samvlm.cli import main
from samvlm.data.samples import RecordSource
from samvlm.features import FeatureCache
from training.collator import Collator


@pytest.fixture
def records(tmp_path) -> str:
    """Six images of two sizes, one of them twice, a broken one, and a line that is no record."""
    lines = []
    for number in range(6):
        pixels = (
            np.random.default_rng(number).integers(0, 255, (60 + 40 * (number % 2), 200, 3)).astype(np.uint8)
        )
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    (tmp_path / "6.png").write_bytes(b"no image")
    for number in (*range(7), 0):
        target = {"text": str(number)}
        lines.append(json.dumps({"id": "x", "image": f"{number}.png", "task": "text", "target": target}))
    (tmp_path / "records.jsonl").write_text("\n".join([*lines, "{"]))
    return str(tmp_path / "records.jsonl")


def cache_of(folder, checkpoint, dtype=torch.float32):
    model = AutoModelForImageTextToText.from_pretrained(checkpoint, dtype=torch.float32).to(dtype)
    processor = AutoProcessor.from_pretrained(checkpoint)
    return FeatureCache(folder, model.requires_grad_(False), processor.image_processor), processor


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_is_built_is_what_training_reads(tmp_path, records, tiny_checkpoint, capsys, dtype):
    command = ["features", "build", records, "--model", str(tiny_checkpoint), "-o", str(tmp_path / "cache")]
    command += ["--dtype", dtype, "--max-pixels", "40000", "--device", "cpu"]
    assert main(command) == 1
    told = capsys.readouterr().err
    assert "6 made, 0 there before, 2 failed" in told and "6.png" in told and "jsonl:9" in told
    assert main(command) == 1
    assert "0 made, 6 there before, 2 failed" in capsys.readouterr().err

    cache, processor = cache_of(tmp_path / "cache", tiny_checkpoint, getattr(torch, dtype))
    assert len(cache.store) == 6
    source, collator = RecordSource(records), Collator(processor)
    for index in range(8):
        source.lookup = None
        live = collator([source.load(1, index)])
        source.lookup = cache.lookup
        batch = collator([source.load(1, index)])
        assert batch["feature_known"].all() and "pixel_values" not in batch
        assert torch.equal(batch["input_ids"], live["input_ids"])
        made = cache.make(live["pixel_values"], live["image_sizes"])
        assert torch.allclose(batch["feature_maps"].float(), made.float(), rtol=2e-2, atol=2e-2)


def test_a_recipe_says_what_to_build(tmp_path, records, tiny_checkpoint, capsys):
    recipe = tmp_path / "recipe.yaml"
    data = {"sources": [{"synth": "table"}, {"records": records}], "feature_cache": str(tmp_path / "cache")}
    recipe.write_text(json.dumps({"model": {"dtype": "bfloat16"}, "data": data}))
    parts = ["features", "build", str(recipe), "--model", str(tiny_checkpoint), "--device", "cpu", "--part"]
    assert {main([*parts, f"{part}/2"]) for part in (1, 2)} == {1}
    told = capsys.readouterr().err
    assert "4 made" not in told and told.count("3 made") == 2
    assert len(cache_of(tmp_path / "cache", tiny_checkpoint, torch.bfloat16)[0].store) == 6
    assert len(cache_of(tmp_path / "cache", tiny_checkpoint)[0].store) == 0  # of another dtype: others


def test_the_limit_is_kept(tmp_path, records, tiny_checkpoint, capsys):
    command = ["features", "build", records, "--model", str(tiny_checkpoint), "-o", str(tmp_path / "cache")]
    assert main([*command, "--max-gb", "1e-6", "--max-pixels", "1", "--device", "cpu"]) == 1
    assert "full" in capsys.readouterr().err
    assert sum(path.stat().st_size for path in (tmp_path / "cache").rglob("*.safetensors")) <= 1000


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["none.jsonl", "-o", "OUT"], "none.jsonl"),
        (["RECORDS"], "name the folder"),
        (["RECORDS", "-o", "OUT", "--model", "no/such/folder"], "no/such/folder"),
        (["RECORDS", "-o", "OUT", "--device", "abacus"], "abacus"),
        (["RECIPE", "-o", "OUT"], "without end"),
    ],
)
def test_bad_input_is_one_line(tmp_path, records, capsys, words, told):
    recipe = tmp_path / "drawn.yaml"
    recipe.write_text("data: {sources: [{synth: table}]}")
    names = {"RECORDS": records, "OUT": str(tmp_path / "out"), "RECIPE": str(recipe)}
    assert main(["features", "build", *(names.get(word, word) for word in words)]) == 2
    said = capsys.readouterr().err.strip()
    assert told in said and "\n" not in said
