"""SAM's image encoder by others, with our tower's weights: transformers' SamVisionModel and Meta's segment_anything.

What scripts/bench_tower.py and the tests compare with.
"""

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import ModuleType

import torch
from torch import nn
from transformers import SamVisionConfig, SamVisionModel

from samvlm import SamVisionTower, SamVisionTowerConfig


def hf_config(config: SamVisionTowerConfig) -> SamVisionConfig:
    return SamVisionConfig(
        hidden_size=config.embed_dim,
        mlp_dim=config.mlp_dim,
        mlp_ratio=config.mlp_dim / config.embed_dim,
        num_hidden_layers=config.num_hidden_layers,
        num_attention_heads=config.num_attention_heads,
        image_size=config.image_size,
        patch_size=config.patch_size,
        output_channels=config.output_channels,
        window_size=config.window_size,
        global_attn_indexes=list(config.global_attn_indexes),
        num_pos_feats=config.output_channels // 2,
    )


def hf_twin(tower: SamVisionTower, attention: str) -> SamVisionModel:
    """transformers' encoder with the tower's weights."""
    config = hf_config(tower.config)
    config._attn_implementation = attention
    model = SamVisionModel(config).eval()
    model.load_state_dict({f"vision_encoder.{name}": tensor for name, tensor in tower.state_dict().items()})
    return model


@contextmanager
def metas_encoder() -> Iterator[type[nn.Module]]:
    """Meta's ImageEncoderViT. The package's own `__init__` wants torchvision for other things: it is left out."""
    spec = importlib.util.find_spec("segment_anything")
    before = {
        name: sys.modules.pop(name) for name in list(sys.modules) if name.startswith("segment_anything")
    }
    try:
        for name, folder in (("segment_anything", ""), ("segment_anything.modeling", "/modeling")):
            bare = ModuleType(name)
            bare.__path__ = [spec.submodule_search_locations[0] + folder]
            sys.modules[name] = bare
        from segment_anything.modeling.image_encoder import ImageEncoderViT

        yield ImageEncoderViT
    finally:
        for name in [name for name in sys.modules if name.startswith("segment_anything")]:
            del sys.modules[name]
        sys.modules.update(before)


def meta_name(name: str) -> str:
    """A parameter of our tower as Meta names it."""
    name = name.replace("patch_embed.projection", "patch_embed.proj").replace("layers.", "blocks.")
    if name.startswith("neck."):
        part = name.split(".")[1]
        return name.replace(part, str(["conv1", "layer_norm1", "conv2", "layer_norm2"].index(part)))
    return name.replace("layer_norm", "norm")


def meta_twin(
    encoder: type[nn.Module], tower: SamVisionTower, grid: tuple[int, int] | None = None
) -> nn.Module:
    """Meta's encoder with the tower's weights. For images smaller than the tower's size, `grid` (rows and columns of
    patches) cuts its position tables: Meta's code would interpolate them, which is another model."""
    config = tower.config
    model = encoder(
        img_size=config.image_size,
        patch_size=config.patch_size,
        embed_dim=config.embed_dim,
        depth=config.num_hidden_layers,
        num_heads=config.num_attention_heads,
        mlp_ratio=config.mlp_dim / config.embed_dim,
        out_chans=config.output_channels,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        qkv_bias=True,
        use_rel_pos=True,
        window_size=config.window_size,
        global_attn_indexes=tuple(config.global_attn_indexes),
    ).eval()
    model.load_state_dict({meta_name(name): tensor for name, tensor in tower.state_dict().items()})
    if grid is not None:
        rows, columns = grid
        model.pos_embed = nn.Parameter(model.pos_embed.detach()[:, :rows, :columns])
        for index in config.global_attn_indexes:
            attention = model.blocks[index].attn
            for name, size in (("rel_pos_h", rows), ("rel_pos_w", columns)):
                table = getattr(attention, name).detach()
                middle = table.shape[0] // 2
                setattr(attention, name, nn.Parameter(table[middle - size + 1 : middle + size]))
    return model


def random_weights(tower: SamVisionTower, seed: int) -> SamVisionTower:
    """Weights as hard as trained ones: peaked attention, offsets that count."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in tower.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            if weight.dim() == 1 and not name.endswith("bias"):
                weight.copy_(1 + 0.2 * noise)
            elif "rel_pos" in name or weight.dim() == 1 or "pos_embed" in name:
                weight.copy_(0.15 * noise)
            else:
                weight.copy_(1.2 * noise / weight[0].numel() ** 0.5)
    return tower.eval()


def gflops(config: SamVisionTowerConfig, height: int, width: int) -> float:
    """Of the matrix products of one image, real tokens only (Li et al., 2022, count the same)."""
    rows, columns, wide = height // config.patch_size, width // config.patch_size, config.embed_dim
    tokens, window = rows * columns, config.window_size
    side_h, side_w = min(rows, window), min(columns, window)
    total = tokens * wide * 3 * config.patch_size**2
    for layer in range(config.num_hidden_layers):
        seen = (rows, columns) if layer in config.global_attn_indexes else (side_h, side_w)
        total += tokens * wide * (4 * wide + 2 * config.mlp_dim + 2 * seen[0] * seen[1] + sum(seen))
    total += tokens * config.output_channels * (wide + 9 * config.output_channels)
    return 2 * total / 1e9
