"""Rows of parquet files and of Hugging Face data sets, one after the other: in an order of its own in every pass.

What is larger than memory is never held, and what is larger than the disk need not be there: a streamed data set of
the hub is fetched as it is read.
"""

from __future__ import annotations

import glob
import inspect
from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from .items import Rejected
from .parquet import BATCH, parquet_files, pyarrow_parquet
from .rows import COLUMNS, PICTURES

Rows = Iterator[tuple[str, dict[str, Any] | Rejected]]


class ParquetRows:
    """The rows of parquet files, whose row groups come in another order in every pass.

    Args:
        path: a file, a folder, or a pattern such as data/train-*.parquet.
        columns: our name of a column -> its name in the files.

    Attributes:
        rejected: files that cannot be read.

    Raises ValueError where there is no file that can be read, or pyarrow is missing.
    """

    shuffles = False  # the rows of a group keep their order

    def __init__(self, path: str, columns: dict[str, str]):
        self.columns = columns
        files = (
            [Path(path)]
            if Path(path).exists()
            else [Path(name) for name in sorted(glob.glob(path, recursive=True))]
        )
        self.files = [file for given in files or [Path(path)] for file in parquet_files(given)]
        self.rejected: list[Rejected] = []
        self.groups: list[tuple[Path, int, int]] = []  # file, number in it, rows
        self.names: list[str] | None = None  # of the columns, as we call them
        parquet, broken = pyarrow_parquet()
        for file in self.files:
            try:
                with parquet.ParquetFile(file) as table:
                    names = renamed(table.schema_arrow.names, columns, str(file))
                    rows = [table.metadata.row_group(i).num_rows for i in range(table.num_row_groups)]
            except broken as error:
                reason = f"cannot be read ({str(error).splitlines()[0][:200]}); get a complete copy"
                self.rejected.append(Rejected(str(file), reason))
                continue
            if self.names is None:
                self.names = sorted(names)
            if sorted(names) != self.names:
                reason = (
                    f"has the columns {', '.join(sorted(names))}, and the first file {', '.join(self.names)}"
                )
                self.rejected.append(Rejected(str(file), reason))
                continue
            self.groups += [(file, number, count) for number, count in enumerate(rows) if count]
        if not self.groups:
            first = (
                f"; the first: {self.rejected[0].where}: {self.rejected[0].reason}" if self.rejected else ""
            )
            raise ValueError(f"{path}: no parquet file with rows that can be read{first}")

    @cached_property
    def about(self) -> list[list[Any]]:
        """What the files are: name, bytes and rows of each."""
        rows = dict.fromkeys(self.files, 0)
        for file, _, count in self.groups:
            rows[file] += count
        return [[file.name, file.stat().st_size, count] for file, count in rows.items()]

    def rows(self, seed: int | None, rank: int = 0, world: int = 1, skip: int = 0) -> Rows:
        """Yield ("FILE: group 1, row 1", row) of a pass; a row group that cannot be read gives a Rejected.

        Args:
            seed: of the order of the row groups; None: as they stand.
            rank, world: which share of how many, the same in every pass: every `world`-th group, or row where there are
                fewer groups.
            skip: leave out so many of them; row groups that are passed over are not read.
        """
        by_group = len(self.groups) >= world
        mine = np.arange(len(self.groups))[rank::world] if by_group else np.arange(len(self.groups))
        if seed is not None:
            mine = np.random.default_rng([seed, 3]).permutation(mine)
        starts = np.cumsum([0, *(count for _, _, count in self.groups)])
        for number in mine.tolist():
            file, group, count = self.groups[number]
            step = 1 if by_group else world
            first = 0 if by_group else int(rank - starts[number]) % world
            there = len(range(first, count, step))
            if skip < there:
                yield from islice(self._group(file, group), first + skip * step, None, step)
            skip = max(0, skip - there)

    def _group(self, file: Path, group: int) -> Rows:
        parquet, broken = pyarrow_parquet()
        number, total = 0, next(count for f, g, count in self.groups if (f, g) == (file, group))
        back = {theirs: ours for ours, theirs in self.columns.items()}
        try:
            with parquet.ParquetFile(file) as table:
                wanted = [name for name in table.schema_arrow.names if back.get(name, name) in COLUMNS]
                for batch in table.iter_batches(batch_size=BATCH, row_groups=[group], columns=wanted):
                    for row in batch.to_pylist():
                        number += 1
                        yield (
                            f"{file}: group {group + 1}, row {number}",
                            {back.get(k, k): v for k, v in row.items()},
                        )
        except broken as error:
            where = f"{file}: group {group + 1}, row {number + 1}"
            reason = f"cannot be read from here on ({str(error).splitlines()[0][:200]}); get a complete copy"
            for _ in range(
                total - number
            ):  # as many as there would have been: shares and places stay as they are
                yield where, Rejected(where, reason)


class HubRows:
    """The rows of a data set of Hugging Face's hub, or in a folder of its form, by the library `datasets`.

    Args:
        name: on the hub, or a folder.
        columns: our name of a column -> its name there.
        config: the configuration of the data set, where it has several.
        split: which rows.
        streaming: fetch rows as they are read; else the data set is downloaded first, and rows come in any order.
        buffer: rows that are shuffled together where they stream.

    Raises ValueError where there is no such data set, or the library is missing.
    """

    shuffles = True
    rejected: tuple[Rejected, ...] = ()

    def __init__(
        self, name: str, columns: dict[str, str], config: str | None, split: str, streaming: bool, buffer: int
    ):
        try:
            import datasets
        except ImportError:
            raise ValueError(
                'reading data sets of the hub needs datasets; run `pip install "samvlm[train]"`'
            ) from None
        self.name, self.columns, self.split, self.streaming, self.buffer = (
            name,
            columns,
            split,
            streaming,
            buffer,
        )
        try:
            self.data = datasets.load_dataset(name, config, split=split, streaming=streaming)
        except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
            reason = " ".join(str(error).split())[:300]
            raise ValueError(f"dataset {name}, split {split}: {reason}") from None
        features = self.data.features
        if features is None:  # the hub does not say: its first row does
            features = dict.fromkeys(next(iter(self.data), {}))
        names = renamed(list(features), columns, name)
        back = {theirs: ours for ours, theirs in columns.items()}
        self.names = sorted(names)
        self.data = self.data.select_columns([c for c in features if back.get(c, c) in COLUMNS])
        image = datasets.Image(decode=False)  # decoded when wanted, by us, within our limits
        for column, feature in features.items():
            if back.get(column, column) not in PICTURES:
                continue
            if isinstance(feature, datasets.Image):
                self.data = self.data.cast_column(column, image)
            elif isinstance(getattr(feature, "feature", None), datasets.Image):
                self.data = self.data.cast_column(column, datasets.List(image))

    @cached_property
    def about(self) -> list[list[Any]]:
        """What the data set is."""
        info = self.data.info
        return [[self.name, self.split, str(info.version), info.download_size, info.dataset_size]]

    def rows(self, seed: int | None, rank: int = 0, world: int = 1, skip: int = 0) -> Rows:
        """As `ParquetRows.rows`; those to skip are fetched, unless the data set was downloaded."""
        back = {theirs: ours for ours, theirs in self.columns.items()}
        if self.streaming:
            from datasets.distributed import split_dataset_by_node

            data = split_dataset_by_node(self.data, rank, world) if world > 1 else self.data
            if seed is not None:  # files in turn: several at once are read by threads
                known = inspect.signature(data.shuffle).parameters
                one = {"max_buffer_input_shards": 1} if "max_buffer_input_shards" in known else {}
                data = data.shuffle(seed=seed, buffer_size=self.buffer, **one)
            rows = enumerate(islice(data, skip, None), skip)
        else:
            order = np.arange(len(self.data))
            order = order if seed is None else np.random.default_rng([seed, 3]).permutation(order)
            rows = ((number, self.data[number]) for number in order[rank::world][skip:].tolist())
        for number, row in rows:
            yield f"{self.name}[{self.split}]: row {number + 1}", {back.get(k, k): v for k, v in row.items()}


def renamed(names: list[str], columns: dict[str, str], where: str) -> list[str]:
    """Names of columns as we call them. Raises ValueError for a column that is not there."""
    missing = [theirs for theirs in columns.values() if theirs not in names]
    if missing:
        raise ValueError(f"{where} has no column {', '.join(missing)}: it has {', '.join(names)}")
    back = {theirs: ours for ours, theirs in columns.items()}
    return [back.get(name, name) for name in names]
