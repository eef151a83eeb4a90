"""Where samples come from: drawn ones without end, and the records of a file.

Each is a function of (seed, index): the same sample at the same place in every process and after every resume.
One drawn sample becomes, for example::

    Sample(id="table-7-1042", image=<448x256>, task="table", messages=[user: <image> + "Parse this table.",
           assistant: "<ched>Year<ched>Sales<nl><fcel>2004<fcel>34.7<nl>"], answer="<ched>Year…", drawn=True,
           chars="YearSales200434.7", centres=(17, 2), positions=(17,))
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from PIL import Image

from . import synth
from .images import open_image
from .pixels import upright_size
from .record_index import RecordIndex
from .records import Record
from .tasks import messages

logger = logging.getLogger("samvlm.data")
T = TypeVar("T")

# Characters of an answer a pixel: means of 60 draws, which say which kinds are longer than which.
DENSITY = {"strip": 0.010, "table": 0.005, "text": 0.006, "form": 0.0025, "question": 0.00005}
MOST_BROKEN = 100  # images in a row that cannot be read before it is an error


class Refusal(NamedTuple):
    """A sample that could not be used: the record's id, where it stands (a file, or file and line), and why."""

    id: str
    where: str
    reason: str


@dataclass
class Sample:
    """One training example.

    image:     RGB, or None for a chat without one
    messages:  the chat, the last turn the assistant's
    answer:    text of the last turn
    drawn:     the image has the model's scale already and must not be resized
    chars, centres, positions: see `SynthSample`; empty where unknown
    dense_only: the tower alone reads it, for the dense loss
    refused:   the sample whose place this one takes
    known:     what `RecordSource.lookup` found; with its `maps` the image is not opened, and None
    usable:    False: nothing can be learnt from it, for the last reason in `refused`
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
    refused: tuple[Refusal, ...] = ()
    known: Any = None
    usable: bool = True


@dataclass
class SynthSource:
    """Drawn samples of one kind, without end.

    synth:   the kind, one of `synth.KINDS`
    size:    (width, height) of every canvas; None: as the renderer draws them
    options: of the renderer, for example {damage: 0} or {style: journal}
    resize:  False: the image is drawn at the model's scale. True: it is resized as files are
    dense_only: the tower alone reads these, for the dense loss: many more characters a second
    """

    synth: str
    weight: float = 1.0
    size: tuple[int, int] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    resize: bool = False
    dense_only: bool = False
    ordered = False

    def __post_init__(self):
        if self.size is not None and (len(self.size) != 2 or min(self.size) < 1):
            raise ValueError(f"size={self.size}: give [width, height] in pixels.")
        synth.check_options(self.options)
        synth.plan_size(self.synth, 0, 0, **self.options)

    @property
    def drawn(self) -> bool:
        """Whether the images have the model's scale already."""
        return not self.resize

    def plan(self, seed: int, index: int) -> tuple[int, int]:
        """Width and height of sample `index`, without drawing it."""
        return tuple(self.size) if self.size else synth.plan_size(self.synth, seed, index, **self.options)

    def length(self, seed: int, index: int) -> float:
        """About how many characters the answer of sample `index` has, without drawing it."""
        width, height = self.plan(seed, index)
        return DENSITY[self.synth] * width * height

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

    A line that is no record, and a record without an answer, are left out (`refused`). For one whose image cannot
    be read the next record of the file that can be read takes its place: always the same one, so that a resumed run
    sees what the unbroken one saw. The sample says what it took the place of.
    """

    records: str
    weight: float = 1.0
    drawn = False
    ordered = True

    def __post_init__(self):
        self._order: tuple[tuple[int, int], np.ndarray] | None = None
        self._told: set[str] = set()
        self.refused: list[Refusal] = []
        self.lookup: Callable[[Path], Any] | None = (
            None  # of a cache of features; its answer has `maps`, or None
        )

    @cached_property
    def rows(self) -> RecordIndex:
        """The records that have an answer. Raises ValueError if there is none, naming the first that is wrong."""
        rows = RecordIndex(self.records)
        self.refused += [Refusal(*refused) for refused in rows.refused]
        if not rows:
            first = f"; the first: {self.refused[0].where}: {self.refused[0].reason}" if self.refused else ""
            raise ValueError(f"{self.records} has no record with an answer: give at least one{first}.")
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
        return self._readable(
            seed, index, lambda record: (0, 0) if record.image is None else upright_size(record.image)
        )[1]

    def length(self, seed: int, index: int) -> float:
        """Characters of the chat of sample `index`."""
        return self.rows.lengths[self.pick(seed, index)]

    def load(self, seed: int, index: int) -> Sample:
        """Open sample `index`. Raises ValueError where too many images in a row cannot be read."""
        record, (image, known), refused = self._readable(seed, index, self._open)
        return Sample(
            id=record.id,
            image=image,
            task=record.task,
            messages=record.messages,
            answer=record.answer or "",
            refused=refused,
            known=known,
        )

    def _open(self, record: Record) -> tuple[Image.Image | None, Any]:
        """The image of a record, and what is known of it."""
        if record.image is None:
            return None, None
        known = self.lookup(record.image) if self.lookup is not None else None
        return (open_image(record.image) if known is None or known.maps is None else None), known

    def _readable(
        self, seed: int, index: int, read: Callable[[Record], T]
    ) -> tuple[Record, T, tuple[Refusal, ...]]:
        """The record of sample `index` or the next one whose image can be read, what `read` makes of it, and that of
        sample `index` if it was passed over."""
        first = self.pick(seed, index)
        limit = min(MOST_BROKEN, len(self.rows))
        refused: list[Refusal] = []
        for step in range(limit):
            record = self.rows[(first + step) % len(self.rows)]
            try:
                return record, read(record), tuple(refused[:1])
            except (OSError, ValueError, Image.DecompressionBombError) as error:
                reason = str(error).removeprefix(f"{record.image}: ")
                refused.append(Refusal(record.id, str(record.image), reason))
                if record.id not in self._told:
                    self._told.add(record.id)
                    logger.warning("skipped record %s, image %s: %s", record.id, record.image, reason)
        raise ValueError(
            f"{self.records}: {limit} images in a row cannot be read, the first is {self.rows[first].image}: "
            "image paths are relative to the file."
        )
