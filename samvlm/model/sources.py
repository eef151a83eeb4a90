"""Reading the towers of others: SAM, HQ-SAM, GOT-OCR2, DeepSeek-OCR and -OCR-2, Vary and what is laid out like them."""

import logging
import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from .checkpoint_files import Checkpoint, WeightFile, common_dtype, open_checkpoint
from .configuration_samvlm import SamVisionTowerConfig
from .sam_names import to_hf
from .source_images import image_settings, in_words
from .source_layouts import OWN_TOWER, PREPROCESSING, Layout, reason_to_ignore, recognise
from .source_sizes import DTYPES, check_finite, check_tensors, read_sizes

if TYPE_CHECKING:
    from .modeling_sam_vision import SamVisionTower

logger = logging.getLogger(__name__)

PARTS = ("patch_embed", "pos_embed", "blocks", "layers", "neck")  # of Meta's encoder and Hugging Face's
# What others keep beside the parts and runs only behind the encoder.
BEHIND = ("net_2", "net_3", "proj", "downsamples", "neck_hd", "hd_alpha_downsamples")
COMPRESSOR = "compressor.safetensors"  # in our own tower folders: the source's convolutions behind the map
SIZES = {(768, 12): "ViT-B", (1024, 24): "ViT-L", (1280, 32): "ViT-H"}
KEPT = ("token_pool", "token_pool_factor", "attention_path", "initializer_range")
WRAPPERS = ("module", "_orig_mod", "model", "transformer")  # parts of names that tell nothing


@dataclass(frozen=True)
class TowerSource:
    """A checkpoint in which a tower was found; nothing of it has been read but names and shapes.

    checkpoint: the file or files
    layout:     whose they are
    prefix:     what stands before the encoder's names
    names:      of the tower's tensors: ours to those in the checkpoint
    convs:      names in the checkpoint of the compressor's convolutions, the first first; () if it has none
    ignored:    all other names, with the reason
    sizes:      settings of the `SamVisionTowerConfig`
    images:     settings of the `SamVlmImageProcessor`
    more:       other settings of the `SamVisionTowerConfig`, of our own folders
    """

    checkpoint: Checkpoint
    layout: Layout
    prefix: str
    names: dict[str, str]
    convs: tuple[str, ...]
    ignored: dict[str, str]
    sizes: dict
    images: dict
    more: dict

    @cached_property
    def dtype(self) -> torch.dtype:
        """The narrowest that holds every tensor of the tower as it is."""
        return common_dtype(map(self.checkpoint.dtype, self.names.values()))

    def load(self, cls: type["SamVisionTower"], **config_kwargs) -> "SamVisionTower":
        """The tower, in the checkpoint's own precision.

        Args:
            cls: the tower's class.
            config_kwargs: settings of [`SamVisionTowerConfig`] that the weights do not decide, such as `token_pool`.

        Raises:
            ValueError: settings that the weights decide; weights that are not finite.
        """
        path = self.checkpoint.path
        fixed = sorted(k for k, v in config_kwargs.items() if k in self.sizes and v != self.sizes[k])
        if fixed:
            raise ValueError(f"{path} decides {', '.join(fixed)} by its weights: leave these settings out.")
        config = SamVisionTowerConfig(**{**self.sizes, **self.more, "images": self.images, **config_kwargs})
        with torch.device("meta"):
            tower = cls(config)
        tensors = {ours: self.checkpoint.read(theirs).to(self.dtype) for ours, theirs in self.names.items()}
        check_finite(tensors, path)
        tower.load_state_dict(tensors, assign=True)
        tower.config.dtype = self.dtype
        return tower.eval()

    def load_compressor(self) -> dict[str, torch.Tensor]:
        """The weights of the convolutions behind the map, named as in a `ConvCompressor` ("convs.0.weight" first); {} if
        it has none."""
        beside = self.checkpoint.find(COMPRESSOR) if not self.convs else None
        if beside is not None:
            file = WeightFile(beside)
            weights = {name: file.read(name) for name in sorted(file.names)}
        else:
            weights = {f"convs.{i}.weight": self.checkpoint.read(name) for i, name in enumerate(self.convs)}
        check_finite(weights, self.checkpoint.path)
        return weights

    def report(self) -> list[str]:
        """What was found, line by line."""
        count = sum(torch.Size(self.checkpoint.shape(name)).numel() for name in self.names.values())
        width, depth = self.sizes["embed_dim"], self.sizes["num_hidden_layers"]
        size = SIZES.get((width, depth), f"a ViT of {depth} blocks, {width} wide")
        lines = [
            f"{self.checkpoint.path}: {self.layout.title}; licence: {self.layout.licence}",
            f"tower: {size}, {len(self.names)} tensors, {count:,} parameters, "
            f"{str(self.dtype).removeprefix('torch.')}, under {self.prefix!r}",
        ]
        shapes = [self.checkpoint.shape(name) for name in self.convs]
        if shapes:
            steps = " -> ".join(str(width) for width in (shapes[0][1], *(shape[0] for shape in shapes)))
            lines.append(
                f"compressor: {len(shapes)} convolutions, {steps} channels ({', '.join(self.convs)})"
            )
        elif self.checkpoint.find(COMPRESSOR):
            lines.append(f"compressor: {COMPRESSOR}")
        groups = Counter((reason, group(name)) for name, reason in self.ignored.items())
        for reason in dict.fromkeys(reason for reason, _ in groups):
            parts = ", ".join(f"{count} x {part}" for (why, part), count in groups.items() if why == reason)
            lines.append(f"not read: {reason} ({parts})")
        lines.append(f"images: {in_words(self.images, self.sizes['image_size'])}")
        return lines


def find_tower(path: str | Path, preprocessing: str | None = None) -> TowerSource:
    """Find the tower in a checkpoint, and check that it is there, whole and of SAM's shapes, before any of it is read.

    Args:
        path: a weight file, or the folder or hub name of a model.
        preprocessing: a name in `source_layouts.PREPROCESSING`, for files whose names do not tell whose they are
            (encoders cut out of their model, fine-tunes); None: what belongs to the layout.

    Raises:
        ValueError: there is no such place, it holds no such tower, or one that is damaged, incomplete or of another
            shape.
    """
    if preprocessing is not None and preprocessing not in PREPROCESSING:
        raise ValueError(f"preprocessing {preprocessing!r}: choose one of {', '.join(PREPROCESSING)}.")
    checkpoint = open_checkpoint(path)
    prefix = encoder_prefix(checkpoint)
    layout = recognise(prefix, checkpoint.names)
    if checkpoint.config.get("model_type") == SamVisionTowerConfig.model_type:
        layout = OWN_TOWER
    convs = find_convs(checkpoint, layout)
    names, ignored = {}, {}
    for name in checkpoint.names:
        inner = name.removeprefix(prefix)
        part = inner.split(".")[0]
        if name in convs:
            continue
        if name.startswith(prefix) and (part in PARTS or (prefix and part not in BEHIND)):
            names[to_hf(inner)] = name
        else:
            ignored[name] = reason_to_ignore(name)
    shapes = {ours: checkpoint.shape(theirs) for ours, theirs in names.items()}
    settings = encoder_settings(checkpoint.config, layout)
    sizes = read_sizes(shapes, settings, checkpoint.path)
    check_tensors(
        shapes,
        {ours: checkpoint.dtype(theirs) for ours, theirs in names.items()},
        expected_tensors(sizes),
        checkpoint.path,
    )
    ours = settings.get("model_type") == SamVisionTowerConfig.model_type
    told = (settings.get("images") or {}) if ours else PREPROCESSING[layout.preprocessing]
    images = PREPROCESSING[preprocessing] if preprocessing else image_settings(checkpoint, told, ours)
    images = {key: list(value) if isinstance(value, tuple) else value for key, value in images.items()}
    more = {key: settings[key] for key in KEPT if key in settings} if ours else {}
    return TowerSource(checkpoint, layout, prefix, names, convs, ignored, sizes, images, more)


def load_tower(
    cls: type["SamVisionTower"], path: str | Path, preprocessing: str | None = None, **config_kwargs
) -> "SamVisionTower":
    """Find and load a tower, and say in the log what was found. See `find_tower` and `TowerSource.load`."""
    source = find_tower(path, preprocessing)
    tower = source.load(cls, **config_kwargs)
    for line in source.report():
        logger.info("%s", line)
    return tower


def encoder_prefix(checkpoint: Checkpoint) -> str:
    """What stands before the names of the one image encoder of SAM's kind. Raises ValueError."""
    stems = [re.fullmatch(r"(|.*\.)patch_embed\.proj(?:ection)?\.weight", name) for name in checkpoint.names]
    found = [stem[1] for stem in stems if stem]
    # Other ViTs (timm's SigLIP, in DeepSeek-VL) have a patch embedding too, but no relative positions.
    relative = {name.split("attn.rel_pos_")[0] for name in checkpoint.names if "attn.rel_pos_" in name}
    prefixes = [
        p for p in found if any(re.fullmatch(re.escape(p) + r"\w+\.\d+\.", r) for r in relative)
    ] or found
    if len(prefixes) != 1:
        told = f"has {len(prefixes)} of them ({', '.join(prefixes)})" if prefixes else "has none"
        raise ValueError(
            f"{checkpoint.path} is no SAM checkpoint: it should hold one patch embedding, and {told}. "
            f"Its tensors begin with {', '.join(sorted(checkpoint.names)[:3])}. Give a file that holds one image "
            "encoder of SAM's kind."
        )
    return prefixes[0]


def find_convs(checkpoint: Checkpoint, layout: Layout) -> tuple[str, ...]:
    """The compressor's convolutions, where the layout has some and all of them are there once, one upon the other."""
    found = []
    for end in layout.convs:
        matches = [name for name in checkpoint.names if name == end or name.endswith(f".{end}")]
        if len(matches) != 1:
            return ()
        found.append(matches[0])
    shapes = [checkpoint.shape(name) for name in found]
    for number, shape in enumerate(shapes):
        fits = number == 0 or shape[1:2] == shapes[number - 1][:1]
        plain = checkpoint.dtype(found[number]) in DTYPES
        if len(shape) != 4 or shape[2:] != (3, 3) or not fits or not plain:
            raise ValueError(
                f"{checkpoint.path}: the convolutions behind the encoder, {', '.join(found)}, are of shapes {shapes}: "
                "3x3 ones of floats that fit on one another were expected."
            )
    return tuple(found)


def encoder_settings(config: dict, layout: Layout) -> dict:
    """What a `config.json` says of the encoder; {} where it says nothing in transformers' names."""
    if config.get("model_type") == SamVisionTowerConfig.model_type:
        return config
    if layout.settings is None:
        return {}
    if layout.settings[0] not in config and str(config.get("model_type")).endswith("vision_model"):
        return config  # an encoder saved alone
    settings = config
    for key in layout.settings:
        settings = settings.get(key)
        if not isinstance(settings, dict):
            return {}
    return settings  # only what differs from the defaults of its class, which are SAM's


def expected_tensors(sizes: dict) -> dict[str, torch.Tensor]:
    """The tensors of a tower of these sizes, without memory."""
    from .modeling_sam_vision import SamVisionTower

    with torch.device("meta"):
        return SamVisionTower(SamVisionTowerConfig(**sizes)).state_dict()


def group(name: str) -> str:
    """The part of a model that a tensor belongs to."""
    parts = [part for part in name.split(".")[:-1] if part not in WRAPPERS]
    return parts[0] if parts else name.split(".")[-1]
