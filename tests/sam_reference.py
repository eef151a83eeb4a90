"""Towers with random weights, and SAM's encoder by others with the same."""

import math

import torch
from torch import nn
from transformers import PreTrainedModel

from samvlm import SamVisionTower, SamVisionTowerConfig
from scripts.tower_peers import hf_config, hf_twin, meta_name, meta_twin, metas_encoder

__all__ = ["enable_checkpointing", "hf_config", "hf_twin", "meta_name", "meta_twin", "metas_encoder"]
__all__ += ["random_tower", "randomise", "relative_error"]


def randomise(module: nn.Module, seed: int = 0) -> nn.Module:
    """Weights that make every part matter: peaked attention, offsets that count, biases and norms off their start."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(module.named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator)
        if "rel_pos" in name:
            noise *= 0.15
        elif "pos_embed" in name:
            noise *= 0.5
        elif name.endswith("bias"):
            noise *= 0.2
        elif parameter.dim() == 1:
            noise = 1 + 0.2 * noise  # norm weights
        else:
            noise *= 1.2 / math.sqrt(parameter[0].numel())
        parameter.data.copy_(noise)
    return module


def random_tower(seed: int = 0, **settings) -> SamVisionTower:
    return randomise(SamVisionTower(SamVisionTowerConfig(**settings)), seed).eval()


def relative_error(result: torch.Tensor, reference: torch.Tensor) -> float:
    """Relative L2 distance."""
    assert result.shape == reference.shape, f"{tuple(result.shape)} is not {tuple(reference.shape)}"
    return ((result - reference).norm() / reference.norm()).item()


def enable_checkpointing(model: PreTrainedModel) -> None:
    """Under the name of transformers 5.23, or of 5.19."""
    getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)()
