"""The cache of a frozen tower's features in training: whether it can be right, its rows in a batch, and its end."""

import copy
import dataclasses
import logging
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import nn
from transformers import BatchFeature, TrainerCallback, TrainingArguments
from transformers.image_utils import ImageInput, make_flat_list_of_images

from samvlm.data.datasets import MixtureDataset
from samvlm.data.samples import RecordSource, Sample
from samvlm.features import FeatureCache
from samvlm.model.image_processing_samvlm import SamVlmImageProcessor
from samvlm.model.processing_samvlm import SamVlmProcessor
from training.recipe import Recipe

logger = logging.getLogger("samvlm.training")


def open_cache(
    recipe: Recipe,
    objective: nn.Module,
    processor: SamVlmProcessor,
    dataset: MixtureDataset,
    args: TrainingArguments,
) -> FeatureCache | None:
    """The cache that a recipe asks for, connected to the data set's records; None where it asks for none, or where
    it cannot be right or of use, which is said."""
    data = recipe.data
    if data.feature_cache is None:
        return None
    records = [source for source in dataset.sources if isinstance(source, RecordSource)]
    tower = objective.core.model.vision_tower
    sharded = getattr(args, "hf_deepspeed_config", None)
    reason = None
    if any(parameter.requires_grad for parameter in tower.parameters()):
        reason = "the tower trains, so that its features change at every step"
    elif recipe.stage.dense_weight:
        reason = f"stage.dense_weight={recipe.stage.dense_weight:g} needs the tower's own map"
    elif not records:
        reason = "data.sources are drawn without end or streamed: there are no image files of records"
    elif recipe.trainer.fsdp or (sharded is not None and sharded.is_zero3()):
        reason = "with FSDP and ZeRO-3 every process must run the tower at every step"
    if reason is not None:
        logger.warning("data.feature_cache is off: %s", reason)
        return None
    cache = FeatureCache(
        data.feature_cache, objective.core, processor.image_processor, int(data.feature_cache_gb * 1e9)
    )
    for source in records:
        source.lookup = cache.reader.lookup
    logger.info(
        "feature cache %s: %d images of this tower, stored as %s",
        cache.store.folder,
        len(cache.store),
        str(cache.store.space.dtype).removeprefix("torch."),
    )
    return cache


class FlushFeatures(TrainerCallback):
    """Writes what the cache has not written yet, with every checkpoint and at the end."""

    def __init__(self, cache: FeatureCache):
        self.cache = cache

    def on_save(self, args, state, control, **kwargs):
        """A checkpoint has been written."""
        self.cache.flush()

    def on_train_end(self, args, state, control, **kwargs):
        """The last step is done."""
        self.cache.flush()


class SizesOnly(SamVlmImageProcessor):
    """Stands in for an image processor where images are known by their size alone: it makes no pixels."""

    def __call__(self, images: ImageInput, *args, **kwargs) -> BatchFeature:
        """`image_sizes` (B, 2): of blank images of the canvases' sizes."""
        sizes = [(image.height, image.width) for image in make_flat_list_of_images(images)]
        data = {"image_sizes": np.array(sizes, np.int64)}
        return BatchFeature(data=data, tensor_type=kwargs.get("return_tensors"))


def encode_known(
    processor: SamVlmProcessor,
    samples: list[Sample],
    encode: Callable[[SamVlmProcessor, list[Sample]], dict[str, torch.Tensor]],
) -> dict[str, torch.Tensor]:
    """The encoding of samples of which the cache was asked for some.

    Args:
        encode: encodes samples with their images by a processor.

    Returns:
        What `encode` gives, and for the images in turn, which are B or, with chats that have none, fewer,
        feature_known (B,) bool
        feature_keys  (B, 32) uint8, zeros for images that no cache knows
        feature_maps  (B, C, H, W), zeros where they are not known; not there if none is
        pixel_values  (B, 3, height, width), zeros where features are known; not there if all are
        as `FeatureCache.complete` takes them.
    """
    seen = [sample for sample in samples if sample.image is not None or sample.known is not None]
    maps = [sample.known.maps if sample.known is not None else None for sample in seen]
    keys = [sample.known.key if sample.known is not None else bytes(32) for sample in seen]
    missing = [row for row, features in enumerate(maps) if features is None]
    sizes = torch.tensor([(0, 0) if s.known is None or s.known.size is None else s.known.size for s in seen])
    pixels = None
    if missing:
        images = [seen[row].image for row in missing]
        made = processor.image_processor(images, do_resize=False, return_tensors="pt")
        sizes[missing] = made["image_sizes"]
        height, width = sizes.amax(0).tolist()
        pixels = torch.zeros(len(seen), 3, height, width)
        part = made["pixel_values"]
        pixels[missing, :, : part.shape[2], : part.shape[3]] = part
    blanks = iter(Image.new("1", (width, height)) for height, width in sizes.tolist())
    has_image = {id(sample) for sample in seen}
    by_size = copy.copy(processor)
    by_size.image_processor = SizesOnly()
    batch = encode(
        by_size,
        [dataclasses.replace(s, image=next(blanks) if id(s) in has_image else None) for s in samples],
    )
    batch["feature_known"] = torch.tensor([features is not None for features in maps])
    batch["feature_keys"] = torch.tensor([list(key) for key in keys], dtype=torch.uint8)
    if pixels is not None:
        batch["pixel_values"] = pixels
    known = [row for row in range(len(seen)) if maps[row] is not None]
    if known:
        first = known[0]
        cell = int(sizes[first, 0]) // maps[first].shape[1]
        height, width = (sizes.amax(0) // cell).tolist()
        batch["feature_maps"] = maps[first].new_zeros(len(seen), len(maps[first]), height, width)
        for row in known:
            batch["feature_maps"][row, :, : maps[row].shape[1], : maps[row].shape[2]] = maps[row]
    return batch


def complete_features(cache: FeatureCache, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A batch of `encode_known` as the model takes it: the tower has run for what was not known."""
    batch = dict(batch)
    batch["feature_maps"] = cache.complete(
        batch.pop("feature_maps", None),
        batch.pop("feature_known"),
        batch.pop("feature_keys"),
        batch.pop("pixel_values", None),
        batch["image_sizes"],
    )
    return batch
