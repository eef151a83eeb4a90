"""Reading the towers of others: Meta's segment-anything `.pth` files and Hugging Face SAM folders or hub names."""

import json
import logging
import pickle
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from transformers.utils import cached_file

from .configuration_samvlm import SamVisionTowerConfig

if TYPE_CHECKING:
    from .modeling_sam_vision import SamVisionTower

logger = logging.getLogger(__name__)

PARTS = ("patch_embed", "pos_embed", "blocks", "layers", "neck")  # of Meta's encoder and Hugging Face's
SINGLE_FILES = ("model.safetensors", "pytorch_model.bin")
INDEX_FILES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
# Meta's names to Hugging Face's (transformers, convert_sam_to_hf.py); what stands in neither line is the same.
META_NAMES = (
    (r"^patch_embed\.proj\.", "patch_embed.projection."),
    (r"^blocks\.", "layers."),
    (r"^(layers\.\d+)\.norm([12])\.", r"\1.layer_norm\2."),
    (r"^neck\.0\.", "neck.conv1."),
    (r"^neck\.1\.", "neck.layer_norm1."),
    (r"^neck\.2\.", "neck.conv2."),
    (r"^neck\.3\.", "neck.layer_norm2."),
)
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
SIZES = {(768, 12): "ViT-B", (1024, 24): "ViT-L", (1280, 32): "ViT-H"}


def load_sam_tower(cls: type["SamVisionTower"], path: str | Path, **config_kwargs) -> "SamVisionTower":
    """A [`SamVisionTower`] with the weights of a SAM checkpoint, in the checkpoint's own precision.

    Args:
        cls: the tower's class.
        path: Meta's `sam_vit_{b,l,h}*.pth`, a `.safetensors` file, or the folder or hub name of a `SamModel`,
            `SamVisionModel`. The sizes are read from the shapes, so any ViTDet of SAM's kind will do.
        config_kwargs: settings of [`SamVisionTowerConfig`] that the weights do not decide, such as `token_pool`.

    Raises:
        ValueError: there is no such file, it is not a SAM checkpoint, is damaged or holds code; tensors are missing,
            unknown, of a wrong shape, or not finite.
    """
    tensors, settings = read_source(str(path))
    prefix, tensors, ignored = pick_encoder(tensors, str(path))
    sizes = read_sizes(tensors, settings, str(path))
    fixed = sorted(key for key in config_kwargs if key in sizes and config_kwargs[key] != sizes[key])
    if fixed:
        raise ValueError(f"{path} decides {', '.join(fixed)} by its weights: leave these settings out.")
    config = SamVisionTowerConfig(**{**sizes, **config_kwargs})
    with torch.device("meta"):
        tower = cls(config)
    check_tensors(tensors, tower.state_dict(), str(path))
    dtype = next(iter(tensors.values())).dtype
    for tensor in tensors.values():
        dtype = torch.promote_types(dtype, tensor.dtype)
    tower.load_state_dict(
        {name: tensor.to(dtype).contiguous() for name, tensor in tensors.items()}, assign=True
    )
    tower.config.dtype = dtype
    logger.info(
        "%s: %s, %d tensors (%d parameters, %s) under %r; left out %s.",
        path,
        SIZES.get((config.embed_dim, config.num_hidden_layers), "a ViT of its own size"),
        len(tensors),
        sum(tensor.numel() for tensor in tensors.values()),
        str(dtype).removeprefix("torch."),
        prefix or "no prefix",
        ", ".join(f"{count} x {reason}" for reason, count in Counter(ignored.values()).items()) or "nothing",
    )
    return tower.eval()


def read_source(path: str) -> tuple[dict[str, torch.Tensor], dict]:
    """All tensors of a checkpoint, and the vision settings of the `config.json` beside them ({} without one)."""
    place = Path(path).expanduser()
    if place.is_file():
        return read_file(place), {}
    looks_local = path.startswith(("/", ".", "~")) or place.suffix in (".pth", ".pt", ".bin", ".safetensors")
    if not place.is_dir() and looks_local:
        raise ValueError(
            f"{path} does not exist: give a SAM .pth file, or a Hugging Face folder or hub name."
        )
    config_file = find(path, "config.json")
    settings = json.loads(Path(config_file).read_text()) if config_file else {}
    settings = settings.get("vision_config", settings)
    for name in SINGLE_FILES:
        file = find(path, name)
        if file:
            return read_file(Path(file)), settings
    for name in INDEX_FILES:
        index = find(path, name)
        if index:
            tensors: dict[str, torch.Tensor] = {}
            for shard in sorted(set(json.loads(Path(index).read_text())["weight_map"].values())):
                file = find(path, shard)
                if not file:
                    raise ValueError(f"{path}: {name} names {shard}, which is not there: fetch it again.")
                tensors.update(read_file(Path(file)))
            return tensors, settings
    if not place.is_dir():
        raise ValueError(f"{path} is neither a file or folder here nor a hub repository within reach.")
    raise ValueError(f"{path} has none of {', '.join(SINGLE_FILES + INDEX_FILES)}: it is no SAM folder.")


def find(path: str, name: str) -> str | None:
    """Where file `name` of a folder or hub repository lies on this machine, None if it has no such file."""
    try:
        return cached_file(path, name)
    except OSError:
        return None


def read_file(file: Path) -> dict[str, torch.Tensor]:
    """The tensors of one weight file; never runs code that it may hold."""
    with open(file, "rb") as stream:
        head = stream.read(64)
    if not head:
        raise ValueError(f"{file} is empty: download it again.")
    if head.startswith(b"version https://git-lfs"):
        raise ValueError(f"{file} is a Git LFS pointer, not the weights: run `git lfs pull` beside it.")
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise ValueError(f"{file} is a web page, not weights: download the file behind the link.")
    if file.suffix == ".safetensors":
        try:
            with safe_open(file, framework="pt") as stream:
                return {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise ValueError(
                f"{file} is truncated or no safetensors file ({error}): download it again."
            ) from error
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{file} is not a plain file of tensors (it holds Python objects or is no checkpoint) and was not opened "
            "for safety: save its state dict alone with torch.save, or as safetensors."
        ) from error
    except Exception as error:  # of any kind: the file's bytes decide how far the reader gets
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(f"{file} is truncated or no checkpoint ({reason}): download it again.") from error
    for wrapper in ("state_dict", "model"):  # as training frameworks wrap it
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    tensors = {k: v for k, v in content.items() if torch.is_tensor(v)} if isinstance(content, dict) else {}
    if not tensors:
        raise ValueError(f"{file} holds no tensors: it is no SAM checkpoint.")
    return tensors


def pick_encoder(
    tensors: dict[str, torch.Tensor], path: str
) -> tuple[str, dict[str, torch.Tensor], dict[str, str]]:
    """The image encoder among a checkpoint's tensors.

    Returns:
        The prefix of its names, its tensors under the tower's own names, and the reason why each other was ignored.
    """
    stems = [re.fullmatch(r"(|.*\.)patch_embed\.proj(?:ection)?\.weight", name) for name in tensors]
    prefixes = [stem[1] for stem in stems if stem]
    if len(prefixes) != 1:
        found = f"has {len(prefixes)} of them ({', '.join(prefixes)})" if prefixes else "has none"
        raise ValueError(
            f"{path} is no SAM checkpoint: it should hold one patch embedding, and {found}. "
            f"Its tensors begin with {', '.join(sorted(tensors)[:3])}."
        )
    prefix = prefixes[0]
    encoder, ignored = {}, {}
    for name, tensor in tensors.items():
        if name.startswith(prefix) and (prefix or name.split(".")[0] in PARTS):
            inner = name.removeprefix(prefix)
            for pattern, replacement in META_NAMES:
                inner = re.sub(pattern, replacement, inner)
            encoder[inner] = tensor
        else:
            ignored[name] = f"{name.split('.')[0]} (not the image encoder)"
    return prefix, encoder, ignored


def read_sizes(tensors: dict[str, torch.Tensor], settings: dict, path: str) -> dict:
    """The settings of a [`SamVisionTowerConfig`] from an encoder's shapes, and from its config where shapes are mute."""
    try:
        patch = tensors["patch_embed.projection.weight"].shape  # (embed_dim, channels, patch, patch)
        _, grid, _, width = tensors["pos_embed"].shape
        depth = 1 + max(int(name.split(".")[1]) for name in tensors if name.startswith("layers."))
        tables = [tensors[f"layers.{i}.attn.rel_pos_h"].shape for i in range(depth)]
        mlp_dim = tensors["layers.0.mlp.lin1.weight"].shape[0]
        channels = tensors["neck.conv1.weight"].shape[0]
    except KeyError as error:
        raise ValueError(f"{path}: the image encoder lacks {error}.") from error
    except (ValueError, IndexError) as error:
        raise ValueError(f"{path}: the image encoder's tensors are not of SAM's shapes ({error}).") from error
    # A global block's tables span the whole grid, a window block's only the window.
    lengths = [table[0] for table in tables]
    windows = sorted({length for length in lengths if length != 2 * grid - 1})
    if len(windows) > 1:
        raise ValueError(
            f"{path}: relative position tables of {windows} rows: blocks of one window size only."
        )
    sizes = {
        "embed_dim": width,
        "num_hidden_layers": depth,
        "num_attention_heads": width // tables[0][1],
        "mlp_dim": mlp_dim,
        "image_size": grid * patch[-1],
        "patch_size": patch[-1],
        "num_channels": patch[1],
        "output_channels": channels,
        "window_size": (windows[0] + 1) // 2 if windows else settings.get("window_size", 14),
        "global_attn_indexes": [i for i, length in enumerate(lengths) if length == 2 * grid - 1],
        "qkv_bias": "layers.0.attn.qkv.bias" in tensors,
    }
    told = {"global_attn_indexes": list(settings.get("global_attn_indexes", sizes["global_attn_indexes"]))}
    told |= {key: settings.get(key, sizes[key]) for key in ("window_size", "num_attention_heads")}
    if told["window_size"] == grid and not windows:
        # Windows as large as the grid look global by their tables.
        sizes["global_attn_indexes"] = told["global_attn_indexes"]
    for key, value in told.items():
        if value != sizes[key]:
            raise ValueError(f"{path}: config.json says {key}={value}, the weights say {sizes[key]}.")
    for key in ("hidden_act", "layer_norm_eps"):
        if key in settings:
            sizes[key] = settings[key]
    return sizes


def check_tensors(
    tensors: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor], path: str, show: int = 8
) -> None:
    """Raise ValueError unless `tensors` are exactly those of `wanted`: names, shapes, and finite numbers."""

    def some(names) -> str:
        names = sorted(names)
        return ", ".join(names[:show]) + (f" and {len(names) - show} more" if len(names) > show else "")

    missing, unknown = wanted.keys() - tensors.keys(), tensors.keys() - wanted.keys()
    if missing:
        raise ValueError(f"{path}: the image encoder lacks {some(missing)}.")
    if unknown:
        raise ValueError(f"{path}: the image encoder has tensors that SAM's has not: {some(unknown)}.")
    wrong = [
        f"{name} {tuple(tensors[name].shape)}, expected {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if tensors[name].shape != tensor.shape
    ]
    if wrong:
        raise ValueError(f"{path}: shapes do not fit: {some(wrong)}.")
    strange = [name for name, tensor in tensors.items() if tensor.dtype not in DTYPES]
    if strange:
        raise ValueError(f"{path}: quantised or integer weights cannot be read: {some(strange)}.")
    broken = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise ValueError(f"{path}: weights that are not finite (NaN or infinite): {some(broken)}.")
