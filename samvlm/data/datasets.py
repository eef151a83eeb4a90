"""What training reads: drawn samples, records and streams, mixed by weight, in batches of alike samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from .printed_source import EngineSource
from .samples import RecordSource, Sample, SynthSource
from .streams import Streamed, StreamSource, opened

Source = SynthSource | EngineSource | RecordSource | StreamSource
KINDS = {
    "synth": SynthSource,
    "engine": EngineSource,
    "records": RecordSource,
}  # by the key that names the data
BLOCK = 256  # indices that are mixed together where sources have an order


class Held(NamedTuple):
    """An item of a stream: what was read travels with its index."""

    index: int
    row: Streamed


Item = int | Held  # what names an item of a mixture


def kind_of(settings: dict[str, Any]) -> type[Source]:
    """The class of the source that an entry of a recipe's data.sources describes."""
    return next((KINDS[key] for key in KINDS if key in settings), StreamSource)


def source_of(settings: dict[str, Any]) -> Source:
    """The source that an entry of a recipe's data.sources describes. Raises ValueError."""
    try:
        return kind_of(settings)(**settings)
    except (TypeError, ValueError) as error:
        raise ValueError(f"data.sources: {settings}: {error}") from None


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
        sources: list[Source],
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
        self.streams = any(isinstance(source, StreamSource) for source in sources)
        self.rank, self.world = 0, 1
        self._block: tuple[int, np.ndarray, np.ndarray] | None = None

    def __len__(self) -> int:
        return self.length

    def share(self, rank: int, world: int) -> None:
        """Be the share of one of `world` processes: of streams what falls to it, of the others every `world`-th sample."""
        self.rank, self.world = rank, world
        for source in self.sources:
            if isinstance(source, StreamSource):
                source.share(rank, world)

    def place(self, index: int) -> tuple[Source, int]:
        """The source of item `index`, and the number of the sample in it."""
        if not self.ordered:
            draw = np.random.default_rng([self.seed, index, 1]).random()
            number = min(int(np.searchsorted(self.edges, draw, side="right")), len(self.sources) - 1)
            return self.sources[number], self.world * index + self.rank
        block, inside = divmod(index, BLOCK)
        if self._block is None or self._block[0] != block:
            self._block = (block, *self._mix(block))
        source = self.sources[self._block[1][inside]]
        number = int(self._block[2][inside]) if source.ordered else index
        return source, number if isinstance(source, StreamSource) else self.world * number + self.rank

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

    def source_of(self, index: int) -> Source:
        """The source of item `index`."""
        return self.place(index)[0]

    def fetch(self, index: int) -> Item:
        """What names item `index` from now on; of a stream with the row, which is read now."""
        source, number = self.place(index)
        return Held(index, source.sample(self.seed, number)) if isinstance(source, StreamSource) else index

    def plan(self, item: Item) -> tuple[int, int]:
        """Width and height in pixels of an item at the model's scale, without making it; (0, 0): no image."""
        if isinstance(item, Held):
            drawn, (width, height) = False, item.row.size
        else:
            source, number = self.place(item)
            drawn, (width, height) = source.drawn, source.plan(self.seed, number)
        if drawn or self.canvas is None or not width:
            return width, height
        return self.canvas(width, height)

    def text_length(self, item: Item) -> float:
        """About how many characters the text of an item has, without making it."""
        if isinstance(item, Held):
            return item.row.length
        source, number = self.place(item)
        return source.length(self.seed, number)

    def is_dense_only(self, item: Item) -> bool:
        """Whether the tower alone reads an item."""
        return not isinstance(item, Held) and getattr(self.source_of(item), "dense_only", False)

    def __getitem__(self, item: Item) -> Sample:
        if isinstance(item, Held):
            return opened(item.row)
        source, number = self.place(item)
        return source.load(self.seed, number)


class SizeBatchSampler:
    """Batches of images of one size, so that no pixel is padding, and of texts of about one length: indices are taken
    a window at a time, sorted within it, cut by budget, and the batches shuffled. Chats without an image are batched
    among themselves.

    Args:
        dataset: has a length and `fetch(index) -> item`, `plan(item) -> (width, height)`, `text_length(item)` and
            `is_dense_only(item)`.
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

    def __iter__(self) -> Iterator[list[Item]]:
        group: list[list[Item]] = []
        for batch in self.batches():
            group.append(batch)
            if len(group) == self.world:
                yield group[self.rank]
                group = []

    def batches(self) -> Iterator[list[Item]]:
        """The batches of all processes, in order."""
        for start in range(0, len(self.dataset), self.window):
            alike: dict[tuple, list[tuple[Item, tuple[int, int]]]] = {}
            for index in range(start, min(start + self.window, len(self.dataset))):
                item = self.dataset.fetch(index)
                size = self.dataset.plan(item)
                key = (self.dataset.is_dense_only(item), *(() if self.mixed else size))
                alike.setdefault(key, []).append((item, size))
            batches: list[list[Item]] = []
            for members in alike.values():
                if self.by_length:
                    members.sort(key=lambda member: length_class(self.dataset.text_length(member[0])))
                if self.mixed:  # the tower runs once for each size in a batch
                    members.sort(key=lambda member: member[1])
                batches += self.cut(members)
            alike.clear()
            for number in np.random.default_rng([self.seed, start]).permutation(len(batches)):
                batch, batches[number] = batches[number], []  # not held any longer than it is wanted
                yield batch

    def cut(self, members: list[tuple[Item, tuple[int, int]]]) -> list[list[Item]]:
        """Cut items with their sizes, in their order, into batches within the budget."""
        batches: list[list[Item]] = []
        room = 0
        for item, (width, height) in members:
            pixels = max(1, width * height)
            if not batches or pixels > room or len(batches[-1]) == self.max_images:
                batches.append([])
                room = self.max_pixels
            batches[-1].append(item)
            room -= pixels
        return batches


def length_class(length: float) -> int:
    """Texts whose lengths differ by less than a fifth are taken for equally long: within a class, chance orders them."""
    return math.floor(4 * math.log2(1 + length))
