"""What a reader of a data set yields: an `Item` for each image or conversation, a `Rejected` for what is broken."""

from __future__ import annotations

import gzip
import json
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from PIL import Image

Picture = Path | bytes | Callable[[], Image.Image]  # a file; an encoded file's bytes; drawn when it is wanted
T = TypeVar("T")
U = TypeVar("U")


@dataclass
class Item:
    """One image (or conversation) of a data set with its truth, as the data set has it.

    id:       as the data set names it
    image:    see `Picture`; None for a conversation without one. A drawing raises DocumentError if it fails
    task:     one of `TASKS`, None for a conversation that is none of them
    target:   as in `records.py`; for tables {"html": …}: the truth with its inline tags, a complete
              "<html><body><table>…</table></body></html>" as the official TEDS wants it
    messages: chat turns as `conversations.py` reads them, where the data set has them
    split:    "train", "val", "test" or the data set's own word; None where it does not say
    source:   name of the data set, the same in all its items
    licence:  SPDX name, or a few words where there is none; None where it is unknown
    extra:    more fields of the record: JSON values. "boxes": for each cell in reading order [x0, y0, x1, y1] in
              pixels of the image, y down, or None; "structure_only": True where the data hold no text
    """

    id: str
    image: Picture | None
    task: str | None = None
    target: dict[str, Any] | None = None
    messages: list[dict[str, Any]] | None = None
    split: str | None = None
    source: str = field(kw_only=True)
    licence: str | None = field(kw_only=True)
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rejected:
    """An entry that could not be read: where it stands (file and line, or id) and what is wrong with it."""

    where: str
    reason: str


_SPLITS = {"train": "train", "val": "val", "test": "test"}
_SPLITS |= {"training": "train", "valid": "val", "validation": "val", "dev": "val", "testing": "test"}


def split_named(*words: str) -> str | None:
    """Return the first split ("train", "val", "test") that one of the words is a name of, as folders are called."""
    return next((_SPLITS[word.lower()] for word in words if word.lower() in _SPLITS), None)


class Reader(Protocol):
    """A reader: checks that `path` is of its kind (ValueError if not), then streams.

    split: only the items of this split; None: all.
    """

    def __call__(self, path: Path, split: str | None = None, **options: Any) -> Iterator[Item | Rejected]: ...


class Stream(Iterator[Item | Rejected], Generic[T]):
    """The items of a reader, and how far it has come: `done` entries of `total()`.

    entries: ("FILE:LINE", entry), or in place of the entry the Rejected that it gave
    read:    makes an Item of an entry, a Rejected, or None to leave it out (another split). A ValueError, and a
             KeyError, TypeError or IndexError from an entry of another form, becomes a Rejected
    count:   counts the entries, if that is quick; called once it is wanted
    workers: threads that call `read`; the order stays
    """

    def __init__(
        self,
        entries: Iterable[tuple[str, T | Rejected]],
        read: Callable[[T], Item | Rejected | None],
        count: Callable[[], int | None] | None = None,
        workers: int = 1,
    ) -> None:
        self.done = 0
        self._count = count
        self._items = map_in_order(lambda entry: _read_one(entry, read), entries, workers)

    def total(self) -> int | None:
        """Number of entries, those of other splits included; None where it takes long to say."""
        return self._count() if self._count else None

    def __next__(self) -> Item | Rejected:
        for item in self._items:
            self.done += 1
            if item is not None:
                return item
        raise StopIteration


def _read_one(
    entry: tuple[str, T | Rejected], read: Callable[[T], Item | Rejected | None]
) -> Item | Rejected | None:
    where, value = entry
    if isinstance(value, Rejected):
        return value
    try:
        return read(value)
    except KeyError as error:
        return Rejected(where, f"the key {error} is missing; is the entry of this data set's form?")
    except ValueError as error:
        return Rejected(where, str(error))
    except (TypeError, IndexError, AttributeError) as error:
        return Rejected(where, f"an entry of another form ({error})")


def map_in_order(function: Callable[[T], U], values: Iterable[T], workers: int = 1) -> Iterator[U]:
    """Yield function(value) in the order of the values, computed by threads, a few values ahead at most."""
    if workers <= 1:
        yield from map(function, values)
        return
    pending: deque[Future[U]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for value in values:
                pending.append(pool.submit(function, value))
                if len(pending) >= 2 * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any] | Rejected]]:
    """Yield ("FILE:LINE", object) for each line that is not blank; a line that is no JSON object gives a Rejected.

    Streams; the name of a gzip file ends in ".gz". Whatever breaks off (a cut gzip file) is one last Rejected.
    """
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        number = 0
        while True:
            number += 1
            where = f"{path}:{number}"
            try:
                line = file.readline()
            except (EOFError, OSError, zlib.error) as error:
                yield where, Rejected(where, f"the file breaks off ({error}); get a complete copy")
                return
            if not line:
                return
            if line.strip():
                yield where, _json_object(where, line)


def _json_object(where: str, line: bytes) -> dict[str, Any] | Rejected:
    try:
        value = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        return Rejected(where, f"no JSON ({error}); is the line complete?")
    if not isinstance(value, dict):
        return Rejected(where, f"a line holds a JSON object, got {type(value).__name__}")
    return value


def count_lines(paths: Iterable[Path]) -> int | None:
    """Count the lines of text files, a last one without an end included; None if one is compressed."""
    total = 0
    for path in paths:
        if path.suffix == ".gz":
            return None
        last = b"\n"
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                total += block.count(b"\n")
                last = block[-1:]
        total += last != b"\n"
    return total
