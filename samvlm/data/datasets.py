"""What training reads: drawn samples and records, mixed by weight, in batches of images of one size.

A data set is a function of (seed, index): the same sample at the same place in every process and after every resume.
One drawn sample becomes, for example::

    Sample(id="table-7-1042", image=<448x256>, task="table", messages=[user: <image> + "Parse this table.",
           assistant: "<ched>Year<ched>Sales<nl><fcel>2004<fcel>34.7<nl>"], answer="<ched>Year…", drawn=True,
           chars="YearSales200434.7", centres=(17, 2), positions=(17,))
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from . import synth
from .images import open_image
from .records import Record, read_records
from .tasks import messages

logger = logging.getLogger("samvlm.data")
T = TypeVar("T")

MOST_BROKEN = 100  # images in a row that cannot be read before it is an error
_ORIENTATION_TAG = 274


@dataclass
class Sample:
    """One training example.

    image:     RGB, or None for a chat without one
    messages:  the chat, the last turn the assistant's
    answer:    text of the last turn
    drawn:     the image has the model's scale already and must not be resized
    chars, centres, positions: see `SynthSample`; empty where unknown
    dense_only: the tower alone reads it, for the dense loss
    """

    id: str
    image: Image.Image | None
    task: str | None
    messages: list[dict[str, Any]]
    answer: str
    drawn: bool = False
    chars: str = ""
    centres: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    positions: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    dense_only: bool = False


@dataclass
class SynthSource:
    """Drawn samples of one kind, without end.

    synth:   the kind, one of `synth.KINDS`
    size:    (width, height) of every canvas; None: as the renderer draws them
    options: of the renderer, for example {damage: 0}
    resize:  False: the image is drawn at the model's scale. True: it is resized as files are
    dense_only: the tower alone reads these, for the dense loss: many more characters a second
    """

    synth: str
    weight: float = 1.0
    size: tuple[int, int] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    resize: bool = False
    dense_only: bool = False

    def __post_init__(self):
        if self.size is not None and (len(self.size) != 2 or min(self.size) < 1):
            raise ValueError(f"size={self.size}: give [width, height] in pixels.")
        try:
            synth.plan_size(self.synth, 0, 0, **self.options)
        except TypeError as error:
            raise ValueError(f"options={self.options}: {error}") from None

    @property
    def drawn(self) -> bool:
        """Whether the images have the model's scale already."""
        return not self.resize

    def plan(self, seed: int, index: int) -> tuple[int, int]:
        """Width and height of sample `index`, without drawing it."""
        return tuple(self.size) if self.size else synth.plan_size(self.synth, seed, index, **self.options)

    def load(self, seed: int, index: int) -> Sample:
        """Draw sample `index`."""
        size = tuple(self.size) if self.size else None
        drawn = synth.sample(self.synth, seed, index, size=size, **self.options)
        return Sample(
            id=f"{self.synth}-{seed}-{index}",
            image=drawn.image,
            task=drawn.task,
            messages=messages(drawn.task, answer=drawn.answer, question=drawn.question),
            answer=drawn.answer,
            drawn=self.drawn,
            chars=drawn.chars,
            centres=drawn.centres,
            positions=drawn.positions,
            dense_only=self.dense_only,
        )


@dataclass
class RecordSource:
    """Records of a file (see `records.py`), shuffled anew in every pass over it.

    An image that cannot be read is logged with its path and the reason, and the next record of the file that can be
    read takes its place: always the same one, so that a resumed run sees what the unbroken one saw.
    """

    records: str
    weight: float = 1.0
    drawn = False

    def __post_init__(self):
        self._order: tuple[tuple[int, int], np.ndarray] | None = None
        self._told: set[str] = set()

    @cached_property
    def rows(self) -> list[Record]:
        """The validated records. Raises ValueError naming the line of a bad one, or the id of one without answer."""
        rows = list(read_records(Path(self.records)))
        if not rows:
            raise ValueError(f"{self.records} has no records: name a file with at least one.")
        for row in rows:
            if not row.answer:
                raise ValueError(
                    f"{self.records}: record {row.id!r} ends without an answer: there is none to learn."
                )
        return rows

    def pick(self, seed: int, index: int) -> int:
        """The row that sample `index` shows."""
        passed, place = divmod(index, len(self.rows))
        if self._order is None or self._order[0] != (seed, passed):
            order = np.random.default_rng([seed, passed]).permutation(len(self.rows))
            self._order = ((seed, passed), order)
        return int(self._order[1][place])

    def plan(self, seed: int, index: int) -> tuple[int, int]:
        """Width and height of the image in the file, from its header; (0, 0) for a chat without an image."""
        return self._readable(seed, index, lambda record: _size(record.image))[1]

    def load(self, seed: int, index: int) -> Sample:
        """Open sample `index`. Raises ValueError where too many images in a row cannot be read."""
        record, image = self._readable(
            seed, index, lambda record: None if record.image is None else open_image(record.image)
        )
        return Sample(
            id=record.id, image=image, task=record.task, messages=record.messages, answer=record.answer or ""
        )

    def _readable(self, seed: int, index: int, read: Callable[[Record], T]) -> tuple[Record, T]:
        """The record of sample `index`, or the next one whose image can be read, and what `read` makes of it."""
        first = self.pick(seed, index)
        limit = min(MOST_BROKEN, len(self.rows))
        for step in range(limit):
            record = self.rows[(first + step) % len(self.rows)]
            try:
                return record, read(record)
            except (OSError, ValueError, Image.DecompressionBombError) as error:
                if record.id not in self._told:
                    self._told.add(record.id)
                    reason = str(error).removeprefix(f"{record.image}: ")
                    logger.warning("skipped record %s, image %s: %s", record.id, record.image, reason)
        raise ValueError(
            f"{self.records}: {limit} images in a row cannot be read, the first is {self.rows[first].image}: "
            "image paths are relative to the file."
        )


def _size(path: Path | None) -> tuple[int, int]:
    """Width and height of the upright image, from the header alone."""
    if path is None:
        return 0, 0
    with Image.open(path) as image:
        width, height = image.size
        turned = image.getexif().get(_ORIENTATION_TAG, 1) >= 5
    return (height, width) if turned else (width, height)


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
