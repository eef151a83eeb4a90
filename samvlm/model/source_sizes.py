"""The sizes of an image encoder from the shapes of its tensors, and whether the tensors are those of SAM's."""

from collections.abc import Iterable, Mapping

import torch

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
Shape = tuple[int, ...]


def read_sizes(shapes: Mapping[str, Shape], settings: dict, path: str) -> dict:
    """The settings of a [`SamVisionTowerConfig`] from an encoder's shapes, and from its config where shapes are mute.

    Args:
        shapes: of the encoder's tensors, under our tower's names.
        settings: what the source's own configuration says of its encoder, in transformers' names; {} if nothing.
        path: of the source, for messages.
    """
    try:
        patch = shapes["patch_embed.projection.weight"]  # (embed_dim, channels, patch, patch)
        _, grid, _, width = shapes["pos_embed"]
        depth = 1 + max(int(name.split(".")[1]) for name in shapes if name.startswith("layers."))
        tables = [shapes[f"layers.{i}.attn.rel_pos_h"] for i in range(depth)]
        mlp_dim = shapes["layers.0.mlp.lin1.weight"][0]
        channels = shapes["neck.conv1.weight"][0]
        # A global block's tables span the whole grid, a window block's only the window.
        lengths = [table[0] for table in tables]
        windows = sorted({length for length in lengths if length != 2 * grid - 1})
        sizes = {
            "embed_dim": width,
            "num_hidden_layers": depth,
            "num_attention_heads": width // tables[0][1],
            "mlp_dim": mlp_dim,
            "image_size": grid * patch[3],
            "patch_size": patch[3],
            "num_channels": patch[1],
            "output_channels": channels,
            "window_size": (windows[0] + 1) // 2 if windows else settings.get("window_size", 14),
            "global_attn_indexes": [i for i, length in enumerate(lengths) if length == 2 * grid - 1],
            "qkv_bias": "layers.0.attn.qkv.bias" in shapes,
        }
    except KeyError as error:
        raise ValueError(f"{path}: the image encoder lacks {error}.") from error
    except (ValueError, IndexError, ZeroDivisionError) as error:
        raise ValueError(f"{path}: the image encoder's tensors are not of SAM's shapes ({error}).") from error
    if not tables[0][1] or width % tables[0][1]:
        raise ValueError(
            f"{path}: the image encoder's tensors are not of SAM's shapes (heads of {tables[0][1]} in {width})."
        )
    if len(windows) > 1:
        raise ValueError(
            f"{path}: relative position tables of {windows} rows: blocks of one window size only."
        )
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
    shapes: Mapping[str, Shape],
    dtypes: Mapping[str, torch.dtype | None],
    wanted: Mapping[str, torch.Tensor],
    path: str,
    what: str = "the image encoder",
    whose: str = "SAM's",
) -> None:
    """Raise ValueError unless the tensors are exactly those of `wanted`, by name and shape, and of plain floats."""
    missing, unknown = wanted.keys() - shapes.keys(), shapes.keys() - wanted.keys()
    if missing:
        raise ValueError(f"{path}: {what} lacks {some(missing)}.")
    if unknown:
        raise ValueError(f"{path}: {what} has tensors that {whose} has not: {some(unknown)}.")
    wrong = [
        f"{name} {tuple(shapes[name])}, expected {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if tuple(shapes[name]) != tuple(tensor.shape)
    ]
    if wrong:
        raise ValueError(f"{path}: shapes do not fit: {some(wrong)}.")
    strange = [name for name, dtype in dtypes.items() if dtype not in DTYPES]
    if strange:
        raise ValueError(f"{path}: quantised or integer weights cannot be read: {some(strange)}.")


def check_finite(tensors: Mapping[str, torch.Tensor], path: str) -> None:
    """Raise ValueError where a weight is no number."""
    broken = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise ValueError(f"{path}: weights that are not finite (NaN or infinite): {some(broken)}.")


def some(names: Iterable[str], show: int = 8) -> str:
    """The first few of many, in words."""
    names = sorted(names)
    return ", ".join(names[:show]) + (f" and {len(names) - show} more" if len(names) > show else "")
