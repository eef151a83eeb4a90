"""Fill a feature cache before training: every image of some record files, each once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..data.images import open_image
from ..data.records import each_record
from .cache import FeatureCache


@dataclass
class Built:
    """What a build has done: images whose features were made, were there before, did not fit or could not be made
    (with the reason), and records that could not be read."""

    made: int = 0
    present: int = 0
    left_out: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)


def images_of(files: Iterable[str | Path], built: Built, part: int = 1, parts: int = 1) -> list[Path]:
    """The image files of record files, each once, in order; records that cannot be read are put on `built.failed`.

    Args:
        part, parts: every `parts`-th of them alone, from the `part`-th on, counted from 1.

    Raises ValueError for a missing file.
    """
    images: dict[Path, None] = {}
    for file in files:
        for record in each_record(Path(file)):
            if isinstance(record, ValueError):
                where, _, reason = str(record).partition(": ")
                built.failed.append((where, reason))
            elif record.image is not None:
                images[Path(record.image)] = None
    return list(images)[part - 1 :: parts]


def build_features(
    cache: FeatureCache,
    image_processor: Any,
    images: Iterable[Path],
    built: Built,
    max_pixels: int = 1_000_000,
    progress: Callable[[], Any] = lambda: None,
) -> None:
    """Make the features of images that a cache does not have, and write them.

    Args:
        built: counts what happens; an image that cannot be read costs none of the others.
        max_pixels: of one call of the tower, which takes images of one size; a larger image has a call of its own.
        progress: called once for each image.
    """
    waiting: dict[tuple[int, int], list[tuple[Path, bytes, np.ndarray]]] = {}

    def run(size: tuple[int, int]) -> None:
        """The tower, on what waits of a size."""
        group = waiting.pop(size)
        sizes = torch.tensor([size] * len(group))
        pixels = torch.from_numpy(np.stack([image for _, _, image in group]))
        keys = torch.tensor([list(key) for _, key, _ in group], dtype=torch.uint8)
        made = cache.make(pixels, sizes)
        for row, (path, _, _) in enumerate(group):
            if not bool(made[row].isfinite().all()):
                told = f"its features do not fit into {cache.store.space.dtype}, or are no numbers"
                built.failed.append((str(path), told))
            elif cache.keep(keys[row : row + 1], made[row : row + 1], sizes[row : row + 1]):
                built.made += 1
            else:
                built.left_out += 1

    seen: set[bytes] = set()
    for path in images:
        progress()
        if cache.store.full:
            built.left_out += 1
            continue
        try:
            known = cache.lookup(path)
            if known.maps is not None or known.key in seen:
                built.present += 1
                continue
            seen.add(known.key)
            batch = image_processor(
                [to_scale(open_image(path), image_processor)], do_resize=False, return_tensors="np"
            )
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            built.failed.append((str(path), str(error).removeprefix(f"{path}: ")))
            continue
        height, width = (int(side) for side in batch["image_sizes"][0])
        group = waiting.setdefault((height, width), [])
        group.append((path, known.key, batch["pixel_values"][0]))
        if (len(group) + 1) * height * width > max_pixels:
            run((height, width))
    for size in list(waiting):
        run(size)
    cache.flush()


def to_scale(image: Image.Image, image_processor: Any) -> Image.Image:
    """An RGB image as large as the image processor makes it; training and builds share this."""
    pixels = np.asarray(image.convert("RGB")).transpose(2, 0, 1)  # (3, height, width)
    resized = np.asarray(image_processor.resize(pixels, image_processor.size, image_processor.resample))
    return Image.fromarray(resized.transpose(1, 2, 0))
