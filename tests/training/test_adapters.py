"""Adapters of every scope, from a run to a folder and back."""

import re

import pytest
import torch
from readers import draw_strips
from safetensors.torch import load_file
from short_runs import write_recipe
from transformers import AutoModelForImageTextToText, AutoProcessor

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
