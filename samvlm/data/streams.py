"""Rows of parquet files and hub data sets as an endless source of samples: in memory is what is shuffled together.

The order is a function of the seed. What is read travels with the item to the process that opens its image, so that
each row is read once however many workers there are; several training processes read a share each.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from .conversations import text_of
from .images import open_image
from .pixels import upright_size
from .readers.items import Item, Picture, Rejected
from .readers.row_files import HubRows, ParquetRows
from .readers.rows import row_reader
from .records import parse_record
from .samples import MOST_BROKEN, Refusal, Sample

_BROKEN = (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, Image.DecompressionBombError)


class Streamed(NamedTuple):
    """A row that was read, its image still encoded.

    where:    file and row
    size:     width and height of the image, upright; (0, 0) where there is none
    length:   characters of its turns
    refused:  the rows before it that cannot be used
    """

    id: str
    where: str
    image: Picture | None
    size: tuple[int, int]
    task: str | None
    messages: list[dict[str, Any]]
    length: int
    refused: tuple[Refusal, ...]


@dataclass
class StreamSource:
    """Rows of parquet files or of a Hugging Face data set; the layouts are those of `readers/rows.py`.

    parquet:   a file, a folder, or a pattern such as data/train-*.parquet
    dataset:   or the name of a data set on the hub, or its folder
    config, split: of the data set
    streaming: fetch the data set as it is read; False: download it first
    columns:   our name of a column -> its name there, for example {image: page, messages: chat}
    images:    the folder that paths of images are relative to, where the rows do not hold them
    shuffle:   rows that are held and shuffled together; parquet's row groups come in any order besides. 0: as they are
    """

    parquet: str | None = None
    dataset: str | None = None
    config: str | None = None
    split: str = "train"
    streaming: bool = True
    columns: dict[str, str] = field(default_factory=dict)
    images: str | None = None
    shuffle: int = 1000
    weight: float = 1.0
    drawn = False
    ordered = True

    def __post_init__(self):
        if (self.parquet is None) == (self.dataset is None):
            raise ValueError("give either parquet: PATH or dataset: NAME.")
        if self.shuffle < 0:
            raise ValueError(f"shuffle={self.shuffle}: a number of rows, from 0 up.")
        self.rank, self.world = 0, 1
        self._samples: Iterator[Streamed] | None = None
        self._seed, self._next = 0, 0

    @cached_property
    def table(self) -> ParquetRows | HubRows:
        """Where rows come from. Raises ValueError where there are none."""
        if self.parquet is not None:
            return ParquetRows(self.parquet, self.columns)
        return HubRows(
            self.dataset, self.columns, self.config, self.split, self.streaming, max(1, self.shuffle)
        )

    @cached_property
    def read(self) -> Callable[[dict[str, Any], str], Item]:
        """What makes an item of a row. Raises ValueError for columns of no known layout."""
        folder, given = self.images, Path(self.parquet or self.dataset)
        if folder is None and (
            self.parquet is not None or given.is_dir()
        ):  # no rows of the hub name files here
            folder = given if given.is_dir() else given.parent
        return row_reader(self.table.names, folder and Path(folder))

    @property
    def refused(self) -> list[Refusal]:
        """Files that cannot be read."""
        return [Refusal("", rejected.where, rejected.reason) for rejected in self.table.rejected]

    def share(self, rank: int, world: int) -> None:
        """Read the share of one of `world` processes from now on, from its start."""
        self.rank, self.world, self._samples = rank, world, None

    def sample(self, seed: int, number: int) -> Streamed:
        """Sample `number` of the stream; asked for in turn, each row is read once. Asking back starts again.

        Raises ValueError where too many rows in a row cannot be used.
        """
        if self._samples is None or seed != self._seed or number < self._next:
            self._samples, self._seed, self._next = self._endless(seed), seed, 0
        while True:
            sample = next(self._samples)
            self._next += 1
            if self._next > number:
                return sample

    def load(self, seed: int, number: int) -> Sample:
        """Open sample `number`."""
        return opened(self.sample(seed, number))

    def _endless(self, seed: int) -> Iterator[Streamed]:
        refused: list[Refusal] = []
        used = 0
        for passed in count():
            for where, row in self._shuffled(seed, passed):
                found = self._checked(where, row)
                if isinstance(found, Refusal):
                    refused.append(found)
                    if len(refused) >= MOST_BROKEN:
                        raise self._all_broken(refused)
                else:
                    yield found._replace(refused=tuple(refused))
                    refused = []
                    used += 1
            if not used:
                raise self._all_broken(refused)

    def _shuffled(self, seed: int, passed: int) -> Iterator[tuple[str, Any]]:
        """The rows of a pass, shuffled as far as they are held."""
        order = int(np.random.default_rng([seed, passed]).integers(2**31)) if self.shuffle else None
        rows = self.table.rows(order, self.rank, self.world)
        if self.table.shuffles or self.shuffle < 2:
            yield from rows
            return
        for number in count():
            block: list[Any] = list(islice(rows, self.shuffle))
            if not block:
                return
            turn = np.random.default_rng([seed, passed, number]).permutation(len(block)).tolist()
            for place in turn:
                yield block[place]
                block[place] = None  # what has been given away is not held

    def _checked(self, where: str, row: dict[str, Any] | Rejected) -> Streamed | Refusal:
        """A row as a sample, its image not yet opened; or why it cannot be used."""
        if isinstance(row, Rejected):
            return Refusal("", row.where, row.reason)
        name = str(row.get("id") or "")
        try:
            item = self.read(row, where)
            name = item.id
            about = {"id": item.id, "image": None if item.image is None else "in the row", "task": item.task}
            record = parse_record(about | {"messages": item.messages, "target": item.target}, Path())
            if not record.answer:
                raise ValueError("it ends without an answer: there is none to learn")
            size = (0, 0) if item.image is None else upright_size(stream_of(item.image))
        except _BROKEN as error:
            reason = f"the column {error} is missing" if isinstance(error, KeyError) else str(error)
            return Refusal(name, where, reason.removeprefix(f"{where}: ") or type(error).__name__)
        length = sum(len(text_of(turn)) for turn in record.messages)
        return Streamed(item.id, where, item.image, size, record.task, record.messages, length, ())

    def _all_broken(self, refused: list[Refusal]) -> ValueError:
        first = f", the first is {refused[0].where}: {refused[0].reason}" if refused else ""
        return ValueError(
            f"{self.parquet or self.dataset}: {len(refused)} rows in a row cannot be used{first}"
        )


def opened(row: Streamed) -> Sample:
    """The sample of a row; not `usable` where its image cannot be read after all."""
    refused, image = row.refused, None
    if row.image is not None:
        try:
            image = open_image(row.image)
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            refused = (*refused, Refusal(row.id, row.where, str(error)))
    return Sample(
        id=row.id,
        image=image,
        task=row.task,
        messages=row.messages,
        answer=text_of(row.messages[-1]),
        refused=refused,
        usable=image is not None or row.image is None,
    )


def stream_of(image: Picture) -> Any:
    """What Pillow opens."""
    return io.BytesIO(image) if isinstance(image, bytes) else image
