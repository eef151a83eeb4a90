"""A trained model brought to another scale: larger images, larger text."""

import numpy as np
import pytest
import torch
from PIL import Image
from readers import build_reader
from transformers import AutoModelForImageTextToText, AutoProcessor

from samvlm.model.rescaling import rescale, stretch_positions


def test_positions_are_stretched_over_the_larger_grid():
    model, _ = build_reader()
    tower = model.model.vision_tower
    grid = tower.pos_embed.shape[1]
    ramp = torch.arange(grid, dtype=torch.float32)
    with torch.no_grad():
        tower.pos_embed.copy_(ramp[None, None, :, None].expand_as(tower.pos_embed))  # the column's number
        tower.layers[1].attn.rel_pos_w.copy_(
            torch.arange(2 * grid - 1, dtype=torch.float32)[:, None].expand(-1, 16) - grid + 1
        )
    window = tower.layers[0].attn.rel_pos_w.clone()
    stretch_positions(tower, 2 * tower.config.image_size)
    assert tower.config.image_size == 512 and tower.pos_embed.shape == (1, 2 * grid, 2 * grid, 32)
    inner = tower.pos_embed[0, 5, 4:-4, 0].detach().numpy()
    assert np.allclose(inner, (np.arange(2 * grid)[4:-4] + 0.5) / 2 - 0.5, atol=0.06)
    relative = tower.layers[1].attn.rel_pos_w[:, 0].detach()
    assert relative.shape == (4 * grid - 1,)
    assert relative[2 * grid - 1].abs() < 1e-5, "no distance stays none"
    assert torch.allclose(relative, -relative.flip(0), atol=1e-4)
    assert torch.equal(window, tower.layers[0].attn.rel_pos_w), "windows keep their size"


def test_a_rescaled_model_is_saved_and_takes_larger_images(tmp_path):
    model, processor = build_reader()
    rescale(model, processor, image_size=512, text_height=16)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    model = AutoModelForImageTextToText.from_pretrained(tmp_path)
    processor = AutoProcessor.from_pretrained(tmp_path)
    assert processor.image_processor.text_height == 16.0
    pixels = processor.image_processor([Image.new("RGB", (900, 300), "white")], return_tensors="pt")
    assert pixels["pixel_values"].shape == (1, 3, 192, 512)
    features = model.model.vision_tower(pixels["pixel_values"]).last_hidden_state
    assert features.shape == (1, 32, 12, 32) and features.isfinite().all()


def test_the_same_scale_changes_nothing():
    model, processor = build_reader()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rescale(model, processor, image_size=256)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert processor.image_processor.text_height is None


@pytest.mark.parametrize("change", [{"image_size": 300}, {"image_size": 0}, {"text_height": 0.0}])
def test_a_scale_that_cannot_be_is_refused(change):
    model, processor = build_reader()
    with pytest.raises(ValueError, match=f"{next(iter(change))}="):
        rescale(model, processor, **change)
    assert model.config.vision_config.image_size == 256
