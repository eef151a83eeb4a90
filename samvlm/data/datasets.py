"""What training reads: drawn samples and records, mixed by weight, in batches of images of one size."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from .samples import RecordSource, Sample, SynthSource


class MixtureDataset:
    """Sources mixed by weight: item `index` comes from a source drawn with (seed, index).

    Args:
        sources: at least one `SynthSource` or `RecordSource`.
        seed: of the whole mixture.
        length: number of items; drawn sources have no end, so this is only a bound.
        canvas: (width, height) of an image that is not drawn at scale -> those of its canvas after resizing.
    """

    def __init__(
        self,
        sources: list[SynthSource | RecordSource],
        seed: int = 0,
        length: int = 2**31,
        canvas: Callable[[int, int], tuple[int, int]] | None = None,
    ):
        if not sources or any(source.weight <= 0 for source in sources):
            raise ValueError("a mixture needs at least one source, each with a weight above 0.")
        self.sources, self.seed, self.length, self.canvas = sources, seed, length, canvas
        self.edges = np.cumsum([source.weight for source in sources]) / sum(s.weight for s in sources)

    def __len__(self) -> int:
        return self.length

    def source_of(self, index: int) -> SynthSource | RecordSource:
        """The source of item `index`."""
        draw = np.random.default_rng([self.seed, index, 1]).random()
        return self.sources[min(int(np.searchsorted(self.edges, draw, side="right")), len(self.sources) - 1)]

    def plan(self, index: int) -> tuple[int, int]:
        """Width and height in pixels of item `index` at the model's scale, without making it; (0, 0): no image."""
        source = self.source_of(index)
        width, height = source.plan(self.seed, index)
        if source.drawn or self.canvas is None or not width:
            return width, height
        return self.canvas(width, height)

    def is_dense_only(self, index: int) -> bool:
        """Whether the tower alone reads item `index`."""
        return getattr(self.source_of(index), "dense_only", False)

    def __getitem__(self, index: int) -> Sample:
        return self.source_of(index).load(self.seed, index)


class SizeBatchSampler:
    """Batches of images of one size, so that no pixel is padding: indices are taken a window at a time, sorted by
    size within it, cut by budget, and the batches shuffled. Chats without an image are batched among themselves.

    Args:
        dataset: has `plan(index) -> (width, height)` and a length.
        max_pixels: of one batch; an image larger than this makes a batch of its own.
        max_images: of one batch.
        window: number of indices sorted together.
        seed: of the shuffling.
        rank, world: which process of how many this is: it gets every `world`-th batch, and all get equally many.
    """

    def __init__(
        self,
        dataset: MixtureDataset,
        max_pixels: int,
        max_images: int = 64,
        window: int = 1024,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
    ):
        if max_pixels < 1 or max_images < 1 or window < 1:
            raise ValueError("max_pixels, max_images and window must be at least 1.")
        if not 0 <= rank < world:
            raise ValueError(f"rank={rank} is none of world={world} processes.")
        self.dataset, self.max_pixels, self.max_images = dataset, max_pixels, max_images
        self.window, self.seed, self.rank, self.world = window, seed, rank, world

    def __iter__(self) -> Iterator[list[int]]:
        group: list[list[int]] = []
        for batch in self.batches():
            group.append(batch)
            if len(group) == self.world:
                yield group[self.rank]
                group = []

    def batches(self) -> Iterator[list[int]]:
        """The batches of all processes, in order."""
        for start in range(0, len(self.dataset), self.window):
            alike: dict[tuple[int, int, bool], list[int]] = {}
            for index in range(start, min(start + self.window, len(self.dataset))):
                key = (*self.dataset.plan(index), self.dataset.is_dense_only(index))
                alike.setdefault(key, []).append(index)
            batches = []
            for (width, height, _), members in alike.items():
                room = max(1, min(self.max_images, self.max_pixels // max(1, width * height)))
                batches += [members[i : i + room] for i in range(0, len(members), room)]
            order = np.random.default_rng([self.seed, start]).permutation(len(batches))
            yield from (batches[i] for i in order)
