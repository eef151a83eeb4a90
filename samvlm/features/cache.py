"""The feature cache of one model: looks images up, makes and keeps what is missing, and stops where it does not pay.

A step of training with it::

    known = cache.lookup("0001.png")                       # KnownImage(key, maps or None): the file is hashed, not opened
    maps = cache.complete(maps, known, keys, pixels, sizes)  # the tower runs for what is missing
    model(input_ids=…, feature_maps=maps, image_sizes=sizes, labels=…)
"""

from __future__ import annotations

import logging
import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..model.modeling_samvlm import group_by_size
from .identity import image_key, space_of
from .store import FeatureStore

logger = logging.getLogger("samvlm.features")
TRIAL = 4  # calls of the tower that are timed, the first not counted, before reading is compared with it


@dataclass
class KnownImage:
    """An image file that the cache was asked for.

    key:  its name in the cache, 32 bytes
    maps: its features (C, H, W) in the cache's dtype; None: not there yet
    size: height and width in pixels of its canvas, where the features are there
    """

    key: bytes
    maps: torch.Tensor | None
    size: tuple[int, int] | None = None


class FeatureReader:
    """The part of a cache that data workers need.

    Args:
        store: of the features.
        active: (1,) bool in shared memory; False: the cache is off, nothing is read.
        cell: pixels a side of one place of the features.
    """

    def __init__(self, store: FeatureStore, active: torch.Tensor, cell: int):
        self.store, self.active, self.cell = store, active, cell

    def lookup(self, path: str | Path) -> KnownImage:
        """What the cache knows of an image file. Raises OSError where the file cannot be read."""
        key = image_key(path)
        maps = self.store.get(key) if self.active else None
        if maps is None:
            return KnownImage(key, None)
        return KnownImage(key, maps, (maps.shape[1] * self.cell, maps.shape[2] * self.cell))


class FeatureCache:
    """What a frozen tower makes of images, condensed as far as the connector has no weights.

    Features are rounded to the cache's dtype whether they are read or just made, so that a step does not depend on
    what the cache holds.

    Args:
        folder: of the cache; other models' features may be in it too.
        model: a `SamVlmForConditionalGeneration`, in its dtype and on its device.
        image_processor: its image processor.
        max_bytes: that the folder may take.
        dtype: see `space_of`.

    Raises:
        ValueError: the tower is not frozen, or the dtype is unknown.
        OSError: the folder cannot be made.
    """

    def __init__(
        self,
        folder: str | Path,
        model: nn.Module,
        image_processor: Any,
        max_bytes: int = 50 * 10**9,
        dtype: str | None = None,
    ):
        self.model = model
        self.tower, self.connector = model.model.vision_tower, model.model.multi_modal_projector
        if any(parameter.requires_grad for parameter in self.tower.parameters()):
            raise ValueError("the features of a tower that trains change at every step: freeze it first.")
        self.store = FeatureStore(folder, space_of(model, image_processor, dtype), max_bytes)
        self.active = torch.ones(1, dtype=torch.bool).share_memory_()  # data workers see it too
        self.reader = FeatureReader(self.store, self.active, self.cell)
        self.tower_seconds: list[float] = []  # an image, of each timed call
        self.decided = False

    @property
    def cell(self) -> int:
        """Pixels a side of one place of the features."""
        return self.model.config.vision_config.patch_size * self.connector.condensing

    def lookup(self, path: str | Path) -> KnownImage:
        """See [`FeatureReader`]."""
        return self.reader.lookup(path)

    @torch.no_grad()
    def make(self, pixel_values: torch.Tensor, image_sizes: torch.Tensor) -> torch.Tensor:
        """Features (B, C, H, W) of images in the cache's dtype, on the model's device; see `get_image_features`."""
        weight = next(self.tower.parameters())
        pixels = pixel_values.to(weight.device, weight.dtype)
        height, width = (side // self.cell for side in pixels.shape[-2:])
        maps = None
        for (h, w), members in group_by_size(pixels, image_sizes).items():
            part = self.connector.condense(
                self.tower(pixels[members, :, :h, :w], return_dict=True).last_hidden_state
            ).to(self.store.space.dtype)
            if maps is None:
                maps = part.new_zeros(len(pixels), part.shape[1], height, width)
            maps[members, :, : part.shape[2], : part.shape[3]] = part
        return maps

    def complete(
        self,
        maps: torch.Tensor | None,
        known: torch.Tensor,
        keys: torch.Tensor,
        pixel_values: torch.Tensor | None,
        image_sizes: torch.Tensor,
    ) -> torch.Tensor:
        """Features of all rows of a batch in the model's dtype; those that were missing are kept.

        Args:
            maps: (B, C, H, W), features of the rows that are known; None: none is.
            known: (B,) bool.
            keys: (B, 32) uint8; a row of zeros: an image that is not to be kept.
            pixel_values: (B, 3, height, width) with the images of the other rows; None: there is none.
            image_sizes: (B, 2), of all rows.
        """
        weight = next(self.tower.parameters())
        missing = (~known).nonzero().flatten()
        if maps is not None:
            maps = maps.to(weight.device)
        if len(missing):
            started = time.perf_counter()
            made = self.make(pixel_values[missing], image_sizes[missing])
            if made.device.type == "cuda" and not self.decided:
                torch.cuda.synchronize(made.device)
            if not bool(made.isfinite().all()):
                raise ValueError(
                    f"the tower's features are too large for {self.store.space.dtype}, or no numbers: set "
                    "data.feature_cache to null."
                )
            seconds = (time.perf_counter() - started) / len(missing)
            if maps is None:
                maps = made.new_zeros(len(known), *made.shape[1:])
            maps[missing.to(maps.device), :, : made.shape[2], : made.shape[3]] = made
            self.keep(keys[missing], made, image_sizes[missing])
            self.judge(seconds)
        return maps.to(weight.dtype)

    def keep(self, keys: torch.Tensor, made: torch.Tensor, image_sizes: torch.Tensor) -> bool:
        """Put features into the store, each without what its canvas is larger by. Returns whether all are kept."""
        if not self.active:
            return False
        kept = True
        for key, maps, (height, width) in zip(keys, made, image_sizes.tolist(), strict=True):
            if key.any():
                part = maps[:, : height // self.cell, : width // self.cell]
                kept &= self.store.add(bytes(key.tolist()), part)
        return kept

    def judge(self, tower_seconds: float) -> None:
        """Once the tower's pace is known, stop keeping and reading where reading takes as long."""
        if self.decided:
            return
        self.tower_seconds.append(tower_seconds)
        if len(self.tower_seconds) <= TRIAL:
            return
        self.store.flush()
        read = self.reading_seconds()
        if read is None:
            return
        self.decided = True
        tower = statistics.median(self.tower_seconds[1:])
        if read >= tower:
            self.active.fill_(False)
            logger.warning(
                "feature cache: it is off: to read an image's features takes %.2g ms, to make them %.2g ms",
                1e3 * read,
                1e3 * tower,
            )
        else:
            logger.info(
                "feature cache: to read an image's features takes %.2g ms, to make them %.3g ms (%.0f times)",
                1e3 * read,
                1e3 * tower,
                tower / read,
            )

    def reading_seconds(self) -> float | None:
        """Seconds to read the features of an image, from the disk itself where the system can be asked to forget what
        it has in memory; None: there are none."""
        keys = list(self.store.places)[-16:]
        if not keys:
            return None
        for number in {self.store.places[key][0] for key in keys}:
            _drop_from_memory(self.store.shards[number].path)
        times = []
        for key in keys:
            started = time.perf_counter()
            self.store.get(key)
            times.append(time.perf_counter() - started)
        return statistics.mean(times)

    def flush(self) -> None:
        """Write what has not been written yet."""
        self.store.flush()


def _drop_from_memory(path: Path) -> None:
    """Ask the system to forget a file's pages (Linux); elsewhere nothing."""
    if not hasattr(os, "posix_fadvise"):
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
