"""Tiny checkpoints of others in their own layouts: named as their authors' code names them, around Meta's encoder."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from sam_reference import meta_twin, metas_encoder, random_tower
from torch import nn

SIDE, CHANNELS = 256, 32
SMALL = {
    "embed_dim": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "mlp_dim": 64,
    "image_size": SIDE,
    "output_channels": CHANNELS,
    "window_size": 5,
    "global_attn_indexes": [0, 2],
}


@dataclass(frozen=True)
class Original:
    """A checkpoint, and its own code's answers.

    path:   the file or folder
    map:    pixels (B, 3, SIDE, SIDE) to the encoder's map (B, CHANNELS, 16, 16); None where the source has none
    tokens: pixels to what its convolutions make of the map, (B, C, 4, 4); None where it has none
    """

    path: Path
    map: Callable[[torch.Tensor], torch.Tensor] | None = None
    tokens: Callable[[torch.Tensor], torch.Tensor] | None = None


class Encoder(nn.Module):
    """Meta's encoder with the two convolutions that Vary put behind it (vary_b.py of GOT-OCR2, sam_vary_sdpa.py of
    DeepSeek-OCR: `net_2` and `net_3` beside the encoder's own modules)."""

    def __init__(self, seed: int = 0, last: int = 4 * CHANNELS, nets: bool = True):
        super().__init__()
        with metas_encoder() as encoder:
            inner = meta_twin(encoder, random_tower(seed, **SMALL))
        self.inner = [inner]  # not a child: its parts are
        for name, module in inner.named_children():
            setattr(self, name, module)
        self.pos_embed = inner.pos_embed
        if nets:
            self.net_2 = nn.Conv2d(CHANNELS, 2 * CHANNELS, 3, stride=2, padding=1, bias=False)
            self.net_3 = nn.Conv2d(2 * CHANNELS, last, 3, stride=2, padding=1, bias=False)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.inner[0](pixels)

    def tokens(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.net_3(self.net_2(self(pixels)))


def save(names: dict[str, nn.Module | torch.Tensor], path: Path) -> Path:
    """A weight file of modules and tensors under their names."""
    tensors = {}
    for name, part in names.items():
        if isinstance(part, nn.Module):
            tensors |= {f"{name}.{key}" if name else key: value for key, value in part.state_dict().items()}
        else:
            tensors[name] = part
    tensors = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)
    return path


def language_model(root: str) -> dict[str, torch.Tensor]:
    """Names of a Qwen2, with small tensors."""
    names = ["embed_tokens", "norm", "layers.0.self_attn.q_proj", "layers.0.mlp.up_proj"]
    names += ["layers.1.input_layernorm"]
    return {f"{root}{name}.weight": torch.randn(4, 4) for name in names} | {
        "lm_head.weight": torch.randn(4, 4)
    }


def clip(root: str) -> dict[str, torch.Tensor]:
    """Names of a CLIP or SigLIP of transformers."""
    inner = (
        "embeddings.class_embedding",
        "embeddings.patch_embedding.weight",
        "encoder.layers.0.mlp.fc1.weight",
    )
    return {f"{root}vision_model.{name}": torch.randn(4, 4) for name in inner}


def siglip_of_timm(root: str) -> dict[str, torch.Tensor]:
    """Names of timm's SigLIP, which are those of Meta's encoder in part."""
    inner = ("patch_embed.proj.weight", "pos_embed", "blocks.0.norm1.weight", "blocks.0.attn.qkv.weight")
    return {f"{root}{name}": torch.randn(4, 4) for name in inner}


# Layouts named after the code of their authors: file name, and what stands around the encoder.
NAMED: dict[str, tuple[str, Callable[[Encoder], dict]]] = {
    "GOT-OCR2": (
        "model.safetensors",
        lambda e: {
            "model.vision_tower_high": e,
            "model.mm_projector_vary.weight": torch.randn(4, 4),
            **language_model("model."),
        },
    ),
    "Vary": (
        "pytorch_model.bin",
        lambda e: {
            "transformer.vision_tower_high": e,
            "transformer.mm_projector.weight": torch.randn(4, 4),
            "transformer.mm_projector_vary.weight": torch.randn(4, 4),
            "transformer.h.0.attn.c_attn.weight": torch.randn(4, 4),
            "transformer.wte.weight": torch.randn(4, 4),
            **clip("transformer.vision_tower."),
        },
    ),
    "Vary-toy": (
        "pytorch_model.bin",
        lambda e: {
            "model.vision_tower_high": e,
            "model.mm_projector.weight": torch.randn(4, 4),
            "model.mm_projector_vary.weight": torch.randn(4, 4),
            **clip("model.vision_tower."),
            **language_model("model."),
        },
    ),
    "Vary-tiny": (
        "pytorch_model.bin",
        lambda e: {
            "model.vision_tower_2": e,
            "model.mm_projector.weight": torch.randn(4, 4),
            "model.decoder.layers.0.fc1.weight": torch.randn(4, 4),
        },
    ),
    "an encoder of Vary's kind": ("vitb.pth", lambda e: {"": e}),
    "DeepSeek-OCR or Unlimited-OCR": (
        "model.safetensors",
        lambda e: {
            "model.sam_model": e,
            "model.projector.layers.weight": torch.randn(4, 4),
            "model.image_newline": torch.randn(4),
            "model.view_seperator": torch.randn(4),
            **{
                f"model.vision_model.transformer.layers.{i}.mlp.fc1.weight": torch.randn(4, 4)
                for i in range(2)
            },
            "model.vision_model.embeddings.class_embedding": torch.randn(4),
            **language_model("model."),
        },
    ),
    "DeepSeek-OCR-2": (
        "model.safetensors",
        lambda e: {
            "model.sam_model": e,
            "model.qwen2_model.query_768.weight": torch.randn(4, 4),
            "model.qwen2_model.model.model.layers.0.mlp.up_proj.weight": torch.randn(4, 4),
            "model.projector.layers.weight": torch.randn(4, 4),
            "model.view_seperator": torch.randn(4),
            **language_model("model."),
        },
    ),
    "DeepSeek-VL": (
        "model.safetensors",
        lambda e: {
            "vision_model.vision_tower_high.vision_tower": e,
            "vision_model.vision_tower_high.vision_tower.downsamples.0.weight": torch.randn(4, 4, 3, 3),
            "vision_model.vision_tower_high.vision_tower.neck_hd.0.weight": torch.randn(4, 4),
            "vision_model.vision_tower_high.vision_tower.hd_alpha_downsamples": torch.zeros(1),
            "aligner.high_up_proj.weight": torch.randn(4, 4),
            **siglip_of_timm("vision_model.vision_tower_low.vision_tower."),
            **language_model("language_model.model."),
        },
    ),
    "SAM": (
        "sam_vit_b_01ec64.pth",
        lambda e: {
            "image_encoder": e,
            "prompt_encoder.point_embeddings.0.weight": torch.randn(1, 4),
            "mask_decoder.iou_token.weight": torch.randn(1, 4),
            "pixel_mean": torch.randn(3, 1, 1),
        },
    ),
    "HQ-SAM": (
        "sam_hq_vit_b.pth",
        lambda e: {"image_encoder": e, "mask_decoder.hf_token.weight": torch.randn(1, 4)},
    ),
}


def write_named(title: str, folder: Path, **encoder) -> Original:
    """A checkpoint of a layout in `NAMED`."""
    file, around = NAMED[title]
    torch.manual_seed(3)
    nets = title not in ("SAM", "HQ-SAM", "DeepSeek-VL")
    model = Encoder(**{"nets": nets, **encoder}).eval()
    path = save(around(model), folder / file)
    path = path if path.suffix == ".pth" else folder
    return Original(path, model, model.tokens if nets else None)
