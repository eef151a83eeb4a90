"""What a reader of a data set yields: an `Item` for each image or conversation, a `Rejected` for what is broken."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

Picture = Path | bytes | Callable[[], Image.Image]  # a file; an encoded file's bytes; drawn when it is wanted


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


@dataclass(frozen=True)
class Rejected:
    """An entry that could not be read: where it stands (file and line, or id) and what is wrong with it."""

    where: str
    reason: str


class Reader(Protocol):
    """A reader: checks that `path` is of its kind (ValueError if not), then streams.

    split: only the items of this split; None: all.
    """

    def __call__(self, path: Path, split: str | None = None, **options: Any) -> Iterator[Item | Rejected]: ...


def json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any] | Rejected]]:
    """Yield ("FILE:LINE", object) for each line that is not blank; a line that is no JSON object gives a Rejected.

    Streams; the name of a gzip file ends in ".gz". Whatever breaks off (a cut gzip file) is one last Rejected.
    """
    number = 0
    opened = gzip.open(path) if path.suffix == ".gz" else path.open("rb")
    with opened as file:
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
