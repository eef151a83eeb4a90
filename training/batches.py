"""The micro-batches of a run, as its recipe wants them: the same for training and for what looks ahead of it."""

from samvlm.data.datasets import MixtureDataset, SizeBatchSampler
from training.data_recipe import DataRecipe

WINDOW = 1024  # samples that are planned and sorted at once


def batch_sampler(
    mixture: MixtureDataset, data: DataRecipe, rank: int = 0, world: int = 1
) -> SizeBatchSampler:
    """The batches of process `rank` of `world`. Where something streams, each process reads a share of its own."""
    if mixture.streams:
        mixture.share(rank, world)
        rank, world = 0, 1
    return SizeBatchSampler(
        mixture,
        data.max_pixels,
        data.max_images,
        window=WINDOW,
        seed=data.seed,
        rank=rank,
        world=world,
        by_length=data.by_length,
        mixed=data.packing,
    )
