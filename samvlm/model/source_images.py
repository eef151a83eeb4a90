"""How the images of a source's tower are made: what its layout, its folder and its weights say of it, and in words."""

import torch

from .checkpoint_files import Checkpoint, read_json

IMAGE_SETTINGS = (
    "image_mean",
    "image_std",
    "resample",
    "keep_aspect",
    "background",
    "placement",
    "pad_to_square",
)
FILTERS = {0: "nearest", 1: "Lanczos", 2: "bilinear", 3: "bicubic"}


def image_settings(checkpoint: Checkpoint, told: dict, ours: bool) -> dict:
    """The settings of the image processor.

    Args:
        told: what the layout says.
        ours: it is a checkpoint of ours.
    """
    return {**told, **own_colours(checkpoint, told), **own_images(checkpoint, ours)}


def own_colours(checkpoint: Checkpoint, images: dict) -> dict:
    """Mean and standard deviation that stand among the weights, as Meta's `pixel_mean` and `pixel_std` (in [0, 255]), if
    they are others than the layout's."""
    found = {}
    for key, end in (("image_mean", "pixel_mean"), ("image_std", "pixel_std")):
        names = [name for name in checkpoint.names if name.split(".")[-1] == end]
        if len(names) != 1 or torch.Size(checkpoint.shape(names[0])).numel() != 3:
            return {}
        values = [round(value / 255, 6) for value in checkpoint.read(names[0]).flatten().tolist()]
        if not all(0 <= value <= 1 for value in values) or (key == "image_std" and 0 in values):
            return {}
        found[key] = values
    same = all(
        abs(a - b) < 1e-4 for key in found for a, b in zip(found[key], images.get(key, ()), strict=False)
    )
    return {} if same else found


def own_images(checkpoint: Checkpoint, ours: bool) -> dict:
    """What a folder's own image processor says of colours, and, where it is `ours`, also of size and place."""
    for name in ("preprocessor_config.json", "processor_config.json"):
        file = checkpoint.find(name)
        if file is None:
            continue
        settings = read_json(file)
        settings = settings.get("image_processor", settings)
        known = IMAGE_SETTINGS if ours else IMAGE_SETTINGS[:2]
        said = {key: settings[key] for key in known if settings.get(key) is not None}
        if all(isinstance(said.get(key, []), list) for key in IMAGE_SETTINGS[:2]):
            return said
    return {}


def in_words(images: dict, side: int) -> str:
    """Settings of the image processor, for people."""
    how = FILTERS.get(images.get("resample", 2), "resized")
    if not images.get("keep_aspect", True):
        way = f"resized to {side}x{side} whatever their aspect ({how})"
    else:
        way = f"longest side to {side} ({how})"
        if images.get("pad_to_square"):
            around = f"colour {images['background']}" if images.get("background") else "zeros"
            place = (
                "in the middle" if images.get("placement", "top_left") != "top_left" else "in the top left"
            )
            way += f", {place} of a square of {around}"
    colours = "; ".join(
        f"{name} " + ", ".join(f"{value:.3f}" for value in images[key])
        for name, key in (("mean", "image_mean"), ("std", "image_std"))
        if images.get(key)
    )
    return f"{way}; {colours}" if colours else way
