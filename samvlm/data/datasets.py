"""What training reads: drawn samples and records, mixed by weight, in batches of images of one size.

A data set is a function of (seed, index): the same sample at the same place in every process and after every resume.
One drawn sample becomes, for example::

    Sample(id="table-7-1042", image=<448x256>, task="table", messages=[user: <image> + "Parse this table.",
           assistant: "<ched>Year<ched>Sales<nl><fcel>2004<fcel>34.7<nl>"], answer="<ched>Year…", drawn=True,
           chars="YearSales200434.7", centres=(17, 2), positions=(17,))
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from . import synth
from .images import open_image
from .tasks import messages


@dataclass
class Sample:
    """One training example.

    image:     RGB
    messages:  the chat, the last turn the assistant's
    answer:    text of the last turn
    drawn:     the image has the model's scale already and must not be resized
    chars, centres, positions: see `SynthSample`; empty where unknown
    """

    id: str
    image: Image.Image
    task: str
    messages: list[dict[str, Any]]
    answer: str
    drawn: bool = False
    chars: str = ""
    centres: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    positions: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))


@dataclass
class SynthSource:
    """Drawn samples of one kind, without end. `size` (width, height) fixes the canvas; `options` go to the renderer."""

    synth: str
    weight: float = 1.0
    size: tuple[int, int] | None = None
    options: dict[str, Any] = field(default_factory=dict)

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
            drawn=True,
            chars=drawn.chars,
            centres=drawn.centres,
            positions=drawn.positions,
        )


@dataclass
class RecordSource:
    """Records of a JSON Lines file (see `records.py`), shuffled anew in every pass over the file."""

    records: str
    weight: float = 1.0

    @cached_property
    def rows(self) -> list:
        """The validated records. Raises ValueError naming the line of a bad one."""
        from .records import read_records

        rows = list(read_records(Path(self.records)))
        if not rows:
            raise ValueError(f"{self.records} has no records: name a file with at least one.")
        return rows

    def pick(self, seed: int, index: int) -> int:
        """The row that sample `index` shows."""
        passed, place = divmod(index, len(self.rows))
        return int(np.random.default_rng([seed, passed]).permutation(len(self.rows))[place])

    def plan(self, seed: int, index: int) -> tuple[int, int]:
        """Width and height of the image in the file, from its header."""
        with Image.open(self.rows[self.pick(seed, index)].image) as image:
            return image.size

    def load(self, seed: int, index: int) -> Sample:
        """Open sample `index`. Raises DocumentError where the image is broken."""
        record = self.rows[self.pick(seed, index)]
        return Sample(
            id=record.id,
            image=open_image(record.image),
            task=record.task,
            messages=record.messages,
            answer=record.messages[-1]["content"],
        )


class MixtureDataset:
    """Sources mixed by weight: item `index` comes from a source drawn with (seed, index).

    Args:
        sources: at least one `SynthSource` or `RecordSource`.
        seed: of the whole mixture.
        length: number of items; drawn sources have no end, so this is only a bound.
    """

    def __init__(self, sources: list[SynthSource | RecordSource], seed: int = 0, length: int = 2**31):
        if not sources or any(source.weight <= 0 for source in sources):
            raise ValueError("a mixture needs at least one source, each with a weight above 0.")
        self.sources, self.seed, self.length = sources, seed, length
        self.edges = np.cumsum([source.weight for source in sources]) / sum(s.weight for s in sources)

    def __len__(self) -> int:
        return self.length

    def source_of(self, index: int) -> SynthSource | RecordSource:
        """The source of item `index`."""
        draw = np.random.default_rng([self.seed, index, 1]).random()
        return self.sources[min(int(np.searchsorted(self.edges, draw, side="right")), len(self.sources) - 1)]

    def plan(self, index: int) -> tuple[int, int]:
        """Width and height in pixels of item `index`, without making it."""
        return self.source_of(index).plan(self.seed, index)

    def __getitem__(self, index: int) -> Sample:
        return self.source_of(index).load(self.seed, index)


class SizeBatchSampler:
    """Batches of images of one size, so that no pixel is padding: indices are taken a window at a time, sorted by
    size within it, cut by budget, and the batches shuffled.

    Args:
        dataset: has `plan(index) -> (width, height)` and a length.
        max_pixels: of one batch; an image larger than this makes a batch of its own.
        max_images: of one batch.
        window: number of indices sorted together.
        seed: of the shuffling.
    """

    def __init__(
        self,
        dataset: MixtureDataset,
        max_pixels: int,
        max_images: int = 64,
        window: int = 1024,
        seed: int = 0,
    ):
        if max_pixels < 1 or max_images < 1 or window < 1:
            raise ValueError("max_pixels, max_images and window must be at least 1.")
        self.dataset, self.max_pixels, self.max_images = dataset, max_pixels, max_images
        self.window, self.seed = window, seed

    def __iter__(self) -> Iterator[list[int]]:
        for start in range(0, len(self.dataset), self.window):
            by_size: dict[tuple[int, int], list[int]] = {}
            for index in range(start, min(start + self.window, len(self.dataset))):
                by_size.setdefault(self.dataset.plan(index), []).append(index)
            batches = []
            for (width, height), members in by_size.items():
                room = max(1, min(self.max_images, self.max_pixels // (width * height)))
                batches += [members[i : i + room] for i in range(0, len(members), room)]
            order = np.random.default_rng([self.seed, start]).permutation(len(batches))
            yield from (batches[i] for i in order)
