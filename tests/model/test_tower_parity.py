"""The tower against transformers' and Meta's encoder on the same random, non-trivial weights: 1e-5 in fp32."""

import pytest
import torch
from sam_reference import hf_twin, meta_twin, random_tower, relative_error

LIMIT = 1e-5
VIT_B_SHORT = {"num_hidden_layers": 2, "global_attn_indexes": [1]}  # real widths, one block of each kind
SMALL = {
    "num_hidden_layers": 3,
    "global_attn_indexes": [1],
    "image_size": 256,
    "output_channels": 32,
}
HEADS = {
    "head 64": {"embed_dim": 128, "num_attention_heads": 2, "mlp_dim": 256},
    "head 80": {"embed_dim": 160, "num_attention_heads": 2, "mlp_dim": 640},
    "narrow": {"embed_dim": 36, "num_attention_heads": 3, "mlp_dim": 36},
}


def image(height: int, width: int, batch: int = 1) -> torch.Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(7))


@pytest.fixture(scope="module")
def short_vit_b():
    tower = random_tower(**VIT_B_SHORT)
    pixels = image(1024, 1024)
    with torch.no_grad():
        return tower, pixels, tower(pixels).last_hidden_state


@pytest.mark.slow
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_vit_b_widths_against_transformers(short_vit_b, attention):
    tower, pixels, features = short_vit_b
    with torch.no_grad():
        assert relative_error(features, hf_twin(tower, attention)(pixels).last_hidden_state) < LIMIT


@pytest.mark.slow
def test_vit_b_widths_against_meta(short_vit_b, meta_encoder):
    tower, pixels, features = short_vit_b
    with torch.no_grad():
        assert relative_error(features, meta_twin(meta_encoder, tower)(pixels)) < LIMIT


@pytest.mark.parametrize("window", [14, 7, 5, 16])
@pytest.mark.parametrize("heads", HEADS)
def test_square_images(heads, window, meta_encoder):
    tower = random_tower(**SMALL, **HEADS[heads], window_size=window)
    pixels = image(256, 256, batch=2)
    with torch.no_grad():
        features = tower(pixels).last_hidden_state
        assert relative_error(features, hf_twin(tower, "eager")(pixels).last_hidden_state) < LIMIT
        assert relative_error(features, hf_twin(tower, "sdpa")(pixels).last_hidden_state) < LIMIT
        assert relative_error(features, meta_twin(meta_encoder, tower)(pixels)) < LIMIT


@pytest.mark.parametrize("grid", [(64, 20), (17, 64), (4, 4), (1, 1), (29, 3)], ids=str)
def test_native_aspect_is_meta_at_that_size(grid, meta_encoder):
    """The same as Meta's code for that size, its tables cut: absolute positions top left, offsets to the middle."""
    tower = random_tower(**SMALL | {"image_size": 1024}, **HEADS["head 64"])
    pixels = image(16 * grid[0], 16 * grid[1])
    with torch.no_grad():
        features = tower(pixels).last_hidden_state
        reference = meta_twin(meta_encoder, tower, grid)(pixels)
    assert relative_error(features, reference) < LIMIT


def test_gradients_are_metas(meta_encoder):
    grid = (11, 16)
    tower = random_tower(**SMALL, **HEADS["head 64"], window_size=7)
    meta = meta_twin(meta_encoder, tower, grid)
    pixels = image(16 * grid[0], 16 * grid[1])
    tower(pixels).last_hidden_state.square().mean().backward()
    meta(pixels).square().mean().backward()
    for ours, theirs in (
        (tower.patch_embed.projection.weight, meta.patch_embed.proj.weight),
        (tower.layers[0].attn.rel_pos_w, meta.blocks[0].attn.rel_pos_w),
        (tower.layers[0].attn.qkv.bias, meta.blocks[0].attn.qkv.bias),  # padded places included
        (tower.layers[1].attn.qkv.weight, meta.blocks[1].attn.qkv.weight),
        (tower.neck.conv2.weight, meta.neck[2].weight),
    ):
        assert relative_error(ours.grad, theirs.grad) < 1e-4


@pytest.mark.parametrize("part", ["rel_pos_h", "rel_pos_w", "pos_embed", "qkv.bias"])
def test_the_comparison_sees_every_part(part):
    """Weights are such that leaving out one part is far beyond the limit."""
    tower = random_tower(**SMALL, **HEADS["head 64"])
    pixels = image(256, 256)
    with torch.no_grad():
        features = tower(pixels).last_hidden_state
        for name, parameter in tower.named_parameters():
            if name.endswith(part):
                parameter.zero_()
        assert relative_error(tower(pixels).last_hidden_state, features) > 1000 * LIMIT
