"""The Auto classes in a process that only imported samvlm."""

import subprocess
import sys
from pathlib import Path

import pytest
from sam_reference import random_tower

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
import samvlm
import torch
from PIL import Image
from transformers import (
    AutoConfig, AutoImageProcessor, AutoModel, AutoModelForImageTextToText, AutoModelForMultimodalLM, AutoProcessor
)
vlm, tower = sys.argv[1:]
seen = {
    "config": AutoConfig.from_pretrained(vlm),
    "base": AutoModel.from_pretrained(vlm),
    "vlm": AutoModelForImageTextToText.from_pretrained(vlm),
    "multimodal": AutoModelForMultimodalLM.from_pretrained(vlm),
    "processor": AutoProcessor.from_pretrained(vlm),
    "image processor": AutoImageProcessor.from_pretrained(vlm),
    "tower config": AutoConfig.from_pretrained(tower),
    "tower": AutoModel.from_pretrained(tower),
    "tower image processor": AutoImageProcessor.from_pretrained(tower),
}
for name, thing in seen.items():
    print(f"{name}: {type(thing).__name__}")
pixels = seen["tower image processor"](Image.new("RGB", (200, 90)), return_tensors="pt")["pixel_values"]
print("map:", tuple(seen["tower"](pixels).last_hidden_state.shape))
same = all(torch.equal(tensor, seen["vlm"].model.state_dict()[name])
           for name, tensor in seen["base"].state_dict().items())
print("same weights:", same)
"""
EXPECTED = """\
config: SamVlmConfig
base: SamVlmModel
vlm: SamVlmForConditionalGeneration
multimodal: SamVlmForConditionalGeneration
processor: SamVlmProcessor
image processor: SamVlmImageProcessor
tower config: SamVisionTowerConfig
tower: SamVisionTower
tower image processor: SamVlmImageProcessor
map: (1, 32, 8, 16)
same weights: True
"""


def test_all_auto_classes(tiny_checkpoint, tmp_path):
    from tiny import TINY_TOWER

    random_tower(**TINY_TOWER).save_pretrained(tmp_path)
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tiny_checkpoint), str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == EXPECTED


def test_public_names():
    import samvlm

    for name in samvlm.__all__:
        assert getattr(samvlm, name) is not None, name
    with pytest.raises(AttributeError, match="no attribute 'Sam'"):
        samvlm.Sam  # noqa: B018
