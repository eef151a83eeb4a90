"""Samples that cannot be used: written down with path and reason, counted, and bounded. None is skipped silently."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from samvlm.data.datasets import Source
from samvlm.data.printed_source import EngineSource
from samvlm.data.samples import RecordSource, Refusal
from samvlm.data.streams import StreamSource
from training.faults import TrainingStopped

logger = logging.getLogger("samvlm.training")
LEAST = 100  # samples that must have been drawn before a share of them means anything


class Intake:
    """Counts the samples that were drawn and those of them that were refused.

    Args:
        path: a line of JSON is appended here for each refused sample, once.
        most: the share of refused samples at which the run ends.
    """

    def __init__(self, path: Path, most: float):
        self.path, self.most = path, most
        self.drawn = self.refused = 0
        self.known: set[str] = set()
        if path.is_file():  # of the run that this one goes on with; a torn last line is written again
            for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
                if line.endswith("\n"):
                    self.known.add(line.rstrip("\n"))

    def add(self, drawn: int, refused: Sequence[Refusal]) -> None:
        """Take note of a batch of `drawn` samples. Raises TrainingStopped where too many were refused."""
        self.drawn += drawn
        self.refused += len(refused)
        for refusal in refused:
            self.note(refusal)
        if self.drawn >= LEAST and self.refused > self.most * self.drawn:
            raise TrainingStopped(
                f"{self.refused} of {self.drawn} samples could not be used, more than data.max_refused={self.most:g} "
                f"allows; they stand with their reasons in {self.path}: mend them (samvlm data check finds all), or "
                "raise data.max_refused"
            )

    def note(self, refusal: Refusal) -> None:
        """Write a refused sample down, if it is new."""
        line = json.dumps(refusal._asdict(), ensure_ascii=False)
        if line not in self.known:
            self.known.add(line)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")


def check_source(source: Source, most: float) -> None:
    """Look at a source before the first step; say which lines of a record file, or files of rows, are left out.

    Raises ValueError where there is nothing to read, or more than the share `most` of the records are left out.
    """
    if isinstance(source, EngineSource):
        source.rows  # noqa: B018 (a folder without tables is told now)
        return
    if isinstance(source, StreamSource):
        source.read  # noqa: B018 (columns of no known layout are told now)
        where, what, allowed = source.parquet or source.dataset, "files", None
    elif isinstance(source, RecordSource):
        total = len(source.rows) + len(source.refused)
        where, what, allowed = source.records, f"of {total} records", most * total
    else:
        return
    count = len(source.refused)
    if not count:
        return
    first = source.refused[0]
    told = f"{where}: {count} {what} cannot be used, the first: {first.where}: {first.reason}"
    if allowed is not None and count > allowed:
        raise ValueError(
            f"{told}; more than data.max_refused={most:g}: mend the file (samvlm data check finds all)"
        )
    logger.warning("%s; they are left out", told)
