"""A record file as a sequence that stays on disk: any number of records takes a dozen bytes of memory each."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from pathlib import Path

from .conversations import text_of
from .records import Record, placed_records, record_at


class RecordIndex(Sequence[Record]):
    """The records of a file that have an answer, in its order; each is read when it is asked for.

    The file is gone through once, to check every line. The items of a JSON list (LLaVA's files) are kept in memory.

    Args:
        path: of a record file, which must stay as it is.

    Attributes:
        refused: (id, "FILE:LINE", reason) of what is no record, or has no answer; the id is "" where it has none.
        lengths: characters of each record's turns.

    Raises ValueError if there is no such file.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.refused: list[tuple[str, str, str]] = []
        self.lengths = array("l")
        self._starts = array("q")
        self._kept: list[Record] = []
        for start, record in placed_records(self.path):
            if isinstance(record, ValueError):
                where, _, reason = str(record).partition(": ")
                self.refused.append(("", where, reason))
            elif not record.answer:
                reason = f"record {record.id!r} ends without an answer: there is none to learn"
                self.refused.append((record.id, str(path), reason))
            else:
                self.lengths.append(sum(len(text_of(turn)) for turn in record.messages))
                if start is None:
                    self._kept.append(record)
                else:
                    self._starts.append(start)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, number: int) -> Record:
        if not 0 <= number < len(self):
            raise IndexError(number)
        return self._kept[number] if self._kept else record_at(self.path, self._starts[number])
