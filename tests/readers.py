"""Toy models with the renderer's alphabet, and drawn strips, for the tests of training."""

import torch
from torch import nn

from samvlm.data.samples import Sample, SynthSource
from samvlm.data.synth import CHARSET
from samvlm.model.assembly import assemble
from training.trainer import attach_heads

TOWER = {
    "embed_dim": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "mlp_dim": 64,
    "output_channels": 32,
    "image_size": 256,
    "window_size": 4,
    "global_attn_indexes": [1],
}
DECODER = {
    "model_type": "llama",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 64,
    "max_position_embeddings": 1024,
    "tie_word_embeddings": True,
}


def build_reader(decoder: dict | None = None, dense: bool = False, factor: int = 1, **tower):
    """A random model with the renderer's alphabet and its processor."""
    model, processor = assemble(
        {**TOWER, **tower},
        {**DECODER, **(decoder or {})},
        CHARSET,
        connector={"factor": factor},
        image={"image_mean": [1.0] * 3, "image_std": [0.4] * 3},
        seed=3,
    )
    if dense:
        torch.manual_seed(0)
        attach_heads(model, CHARSET, None)
    return model, processor


def draw_strips(count: int, seed: int = 5) -> list[Sample]:
    """Lines of random text on 128x64 pixels."""
    source = SynthSource("strip", size=(128, 64), options={"damage": 0.0})
    return [source.load(seed, index) for index in range(count)]


def name_and_bytes(model: nn.Module) -> dict[str, bytes]:
    """Every parameter's bytes."""
    return {
        n: p.detach().reshape(-1).view(torch.uint8).numpy().tobytes() for n, p in model.named_parameters()
    }
