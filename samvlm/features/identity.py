"""What features depend on: the tower, what brings images to its scale, what condenses its map, how they are stored."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

FORMAT = "samvlm-features-1"  # changes when the same image and tower give, or mean, something else
DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}
# Settings of the image processor that no pixel depends on.
IRRELEVANT = (
    "image_processor_type",
    "processor_class",
    "data_format",
    "device",
    "return_tensors",
    "auto_map",
)


@dataclass(frozen=True)
class Space:
    """Features that may stand for one another: those of one space are comparable, those of two never.

    digest: SHA-256 of everything below, hex
    about:  what it is a digest of, for people: dtypes, the condensing, settings, the digest of the weights
    dtype:  in which the features are stored
    """

    digest: str
    about: dict[str, Any]
    dtype: torch.dtype


def space_of(model: nn.Module, image_processor: Any, dtype: str | None = None) -> Space:
    """The space of the features that a model's tower and the weightless part of its connector make.

    Args:
        model: a `SamVlmForConditionalGeneration`, in the dtype in which it runs.
        image_processor: its image processor.
        dtype: in which features are stored, "float16" or "bfloat16"; None: bfloat16 for a model of bfloat16, which
            loses nothing, else float16.

    Raises:
        ValueError: the dtype is another one.
    """
    tower, connector = model.model.vision_tower, model.model.multi_modal_projector
    runs = next(tower.parameters()).dtype
    dtype = dtype or ("bfloat16" if runs == torch.bfloat16 else "float16")
    if dtype not in DTYPES:
        raise ValueError(f"features are not stored as {dtype}: choose {' or '.join(DTYPES)}.")
    settings = {key: value for key, value in image_processor.to_dict().items() if key not in IRRELEVANT}
    config = {
        key: value
        for key, value in tower.config.to_dict().items()
        if not key.startswith(("_", "transformers"))
    }
    for key in ("dtype", "torch_dtype", "architectures", "name_or_path", "auto_map", "images"):
        config.pop(key, None)
    about = {
        "format": FORMAT,
        "stored": dtype,
        "computed": str(runs).removeprefix("torch."),
        "condensed": "no" if connector.kind == "conv" else f"{connector.kind} {connector.factor}",
        "image_processor": settings,
        "tower": config,
        "weights": weights_digest(tower),
    }
    about = json.loads(json.dumps(about, sort_keys=True, default=str))
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    return Space(digest, about, DTYPES[dtype])


@torch.no_grad()
def weights_digest(module: nn.Module) -> str:
    """SHA-256 of names, shapes and bytes of a module's weights and buffers, hex."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(memoryview(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy()))
    return digest.hexdigest()


def image_key(path: str | Path) -> bytes:
    """What names an image file within a space: SHA-256 of its bytes, 32 bytes. Raises OSError."""
    return hashlib.sha256(Path(path).read_bytes()).digest()
