"""What training reads: drawn samples, records and streams, mixed by weight, in batches of alike samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from .samples import RecordSource, Sample, SynthSource

BLOCK = 256  # indices that are mixed together where sources have an order


class MixtureDataset:
    """Sources mixed by weight: the source of item `index` is drawn with (seed, index).

    Of a source with an order, records or a stream, each item that falls to it is the next one, so that a pass over it
    takes each of its samples once.

    Args:
        sources: at least one.
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
        self.weights = np.array([source.weight for source in sources], float)
        self.edges = np.cumsum(self.weights) / self.weights.sum()
        self.ordered = any(source.ordered for source in sources)
        self._block: tuple[int, np.ndarray, np.ndarray] | None = None

    def __len__(self) -> int:
        return self.length

    def place(self, index: int) -> tuple[SynthSource | RecordSource, int]:
        """The source of item `index`, and the number of the sample in it."""
        if not self.ordered:
            draw = np.random.default_rng([self.seed, index, 1]).random()
            number = min(int(np.searchsorted(self.edges, draw, side="right")), len(self.sources) - 1)
            return self.sources[number], index
        block, inside = divmod(index, BLOCK)
        if self._block is None or self._block[0] != block:
            self._block = (block, *self._mix(block))
        source = self.sources[self._block[1][inside]]
        return source, int(self._block[2][inside]) if source.ordered else index

    def _mix(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        """For each index of a block the number of its source, and how many indices before it fell to that source."""
        before, behind = self._shares(block * BLOCK), self._shares((block + 1) * BLOCK)
        numbers = np.repeat(np.arange(len(self.sources)), behind - before)
        numbers = np.random.default_rng([self.seed, block, 1]).permutation(numbers)
        ranks = np.zeros(BLOCK, np.int64)
        for number, first in enumerate(before):
            mine = numbers == number
            ranks[mine] = first + np.arange(mine.sum())
        return numbers, ranks

    def _shares(self, count: int) -> np.ndarray:
        """How many of the first `count` indices fall to each source: its weight's share, never fewer for more."""
        shares, left, weight = [], count, float(self.weights.sum())
        for own in self.weights[:-1].tolist():
            shares.append(min(left, math.floor(left * own / weight + 0.5)))
            left, weight = left - shares[-1], weight - own
        return np.array([*shares, left], np.int64)

    def source_of(self, index: int) -> SynthSource | RecordSource:
        """The source of item `index`."""
        return self.place(index)[0]

    def plan(self, index: int) -> tuple[int, int]:
        """Width and height in pixels of item `index` at the model's scale, without making it; (0, 0): no image."""
        source, number = self.place(index)
        width, height = source.plan(self.seed, number)
        if source.drawn or self.canvas is None or not width:
            return width, height
        return self.canvas(width, height)

    def text_length(self, index: int) -> float:
        """About how many characters the text of item `index` has, without making it."""
        source, number = self.place(index)
        return source.length(self.seed, number)

    def is_dense_only(self, index: int) -> bool:
        """Whether the tower alone reads item `index`."""
        return getattr(self.source_of(index), "dense_only", False)

    def __getitem__(self, index: int) -> Sample:
        source, number = self.place(index)
        return source.load(self.seed, number)


class SizeBatchSampler:
    """Batches of images of one size, so that no pixel is padding, and of texts of about one length: indices are taken
    a window at a time, sorted within it, cut by budget, and the batches shuffled. Chats without an image are batched
    among themselves.

    Args:
        dataset: has `plan(index) -> (width, height)`, `text_length(index)`, `is_dense_only(index)` and a length.
        max_pixels: of one batch; an image larger than this makes a batch of its own.
        max_images: of one batch.
        window: number of indices sorted together.
        seed: of the shuffling.
        rank, world: which process of how many this is: it gets every `world`-th batch, and all get equally many.
        by_length: whether lengths of texts matter.
        mixed: whether a batch may hold images of several sizes, and chats without one: for rows that are packed.
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
        by_length: bool = True,
        mixed: bool = False,
    ):
        if max_pixels < 1 or max_images < 1 or window < 1:
            raise ValueError("max_pixels, max_images and window must be at least 1.")
        if not 0 <= rank < world:
            raise ValueError(f"rank={rank} is none of world={world} processes.")
        self.dataset, self.max_pixels, self.max_images = dataset, max_pixels, max_images
        self.window, self.seed, self.rank, self.world = window, seed, rank, world
        self.by_length, self.mixed = by_length, mixed

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
            alike: dict[tuple, list[int]] = {}
            sizes: dict[int, tuple[int, int]] = {}
            for index in range(start, min(start + self.window, len(self.dataset))):
                sizes[index] = self.dataset.plan(index)
                key = self.dataset.is_dense_only(index)
                alike.setdefault(key if self.mixed else (key, *sizes[index]), []).append(index)
            batches = []
            for members in alike.values():
                if self.by_length:
                    members.sort(key=lambda index: length_class(self.dataset.text_length(index)))
                if self.mixed:  # the tower runs once for each size in a batch
                    members.sort(key=sizes.__getitem__)
                batches += self.cut(members, sizes)
            order = np.random.default_rng([self.seed, start]).permutation(len(batches))
            yield from (batches[i] for i in order)

    def cut(self, members: list[int], sizes: dict[int, tuple[int, int]]) -> list[list[int]]:
        """Cut indices, in their order, into batches within the budget."""
        batches: list[list[int]] = []
        room = 0
        for index in members:
            width, height = sizes[index]
            pixels = max(1, width * height)
            if not batches or pixels > room or len(batches[-1]) == self.max_images:
                batches.append([])
                room = self.max_pixels
            batches[-1].append(index)
            room -= pixels
        return batches


def length_class(length: float) -> int:
    """Texts whose lengths differ by less than a fifth are taken for equally long: within a class, chance orders them."""
    return math.floor(4 * math.log2(1 + length))
