"""JSON files: a small one as a whole, a list item by item (LLaVA's files have up to a gigabyte)."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .items import Rejected

_CHUNK = 1 << 20  # characters
_LONGEST = 64 << 20  # of one item
_BLANK = re.compile(r"[ \t\r\n]*")
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+("|\\?\Z)|[{}\[\]]', re.DOTALL)  # a string may be cut off
_DECODER = json.JSONDecoder()


def read_json(path: Path) -> Any:
    """Return the value of a small JSON file. Raises ValueError if it cannot be read or is no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON ({error}); get a complete copy") from None


def json_list(path: Path, key: str | None = None) -> Iterator[tuple[str, dict[str, Any] | Rejected]]:
    """Yield ("FILE: item 1", object) for each item of the list in a file: the whole, or the one at `key`.

    An item that is no object, or no JSON, gives a Rejected and the next one follows; where the file breaks off, or
    is no such list, is the last Rejected. With a key, the other values of the file are passed over.
    """
    text = _Text(path)
    try:
        if key is not None:
            text.enter(key)
        text.expect("[")
        number = 0
        while text.next() != "]":
            if number:
                text.expect(",")
            number += 1
            where = f"{path}: item {number}"
            yield where, text.item(where)
    except (_BrokenOff, OSError) as error:
        yield str(path), Rejected(str(path), str(error))
    finally:
        text.file.close()


def starts_with(path: Path, *marks: str) -> bool:
    """Whether the first character of a text file that is not blank is one of `marks`."""
    with path.open("rb") as file:
        head = file.read(4096).removeprefix(codecs.BOM_UTF8).lstrip()
    return head[:1].decode("latin-1") in marks


class _BrokenOff(ValueError):
    """Nothing more can be read from the file."""


class _Text:
    """The text of a file, of which a part is held, and a place in it."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("rb")
        self.decoder = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
        self.held, self.at, self.ended = "", 0, False

    def grow(self) -> bool:
        """Read on, as much as is held and at least a chunk; False at the end of the file."""
        if self.ended:
            return False
        data = self.file.read(max(_CHUNK, len(self.held) - self.at))
        self.ended = not data
        self.held, self.at = self.held[self.at :] + self.decoder.decode(data, self.ended), 0
        return True

    def next(self) -> str:
        """Return the next character that is not blank, without passing it."""
        while True:
            self.at = _BLANK.match(self.held, self.at).end()
            if self.at < len(self.held):
                return self.held[self.at]
            if not self.grow():
                raise _BrokenOff("the JSON ends too early; get a complete copy")

    def expect(self, mark: str) -> None:
        """Pass one character, which must be `mark`."""
        if (found := self.next()) != mark:
            raise _BrokenOff(f"expected {mark!r}, found {found!r}; the file is no JSON of this kind")
        self.at += 1

    def value(self) -> Any:
        """Pass and return a value. Raises ValueError if it is none, which is passed too."""
        self.next()
        while True:
            try:
                found, end = _DECODER.raw_decode(self.held, self.at)
                if end < len(self.held) or not self.grow():  # a number may go on
                    self.at = end
                    return found
                continue
            except (ValueError, RecursionError) as error:
                if (end := self._end()) is not None:
                    self.at = end
                    reason = str(error) if isinstance(error, json.JSONDecodeError) else "nested too deeply"
                    raise ValueError(f"no JSON ({reason}); correct this item") from None
            if len(self.held) - self.at > _LONGEST:
                raise _BrokenOff("an item does not end; is the file JSON of this kind?")
            if not self.grow():
                raise _BrokenOff("the JSON ends within an item; get a complete copy")

    def _end(self) -> int | None:
        """Where the value at this place ends by its brackets; None if that is not held."""
        if self.held[self.at] not in "{[":
            after = re.compile(r"[,\]}]").search(self.held, self.at)
            return after.start() if after else None
        open_marks: list[str] = []
        for match in _TOKEN.finditer(self.held, self.at):
            mark = match.group()[0]
            if mark == '"':
                if not match.group(1).endswith('"'):
                    return None
            elif mark in "{[":
                open_marks.append(mark)
            else:  # a bracket that was forgotten ends with the one around it
                while open_marks and open_marks.pop() != ("{" if mark == "}" else "["):
                    pass
                if not open_marks:
                    return match.end()
        return None

    def item(self, where: str) -> dict[str, Any] | Rejected:
        """Pass an item of the list."""
        try:
            value = self.value()
        except _BrokenOff:
            raise
        except ValueError as error:
            return Rejected(where, str(error))
        if not isinstance(value, dict):
            return Rejected(where, f"an item is a JSON object, got {type(value).__name__}")
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            return Rejected(where, "it holds bytes that are no UTF-8; save the file as UTF-8")
        return value

    def enter(self, key: str) -> None:
        """Go into the object of the file, to the value of `key`."""
        self.expect("{")
        while self.next() != "}":
            try:
                name = self.value()
                self.expect(":")
                if name == key:
                    return
                self.value()
            except ValueError as error:
                raise _BrokenOff(str(error)) from None
            if self.next() == ",":
                self.at += 1
        raise _BrokenOff(f"the JSON has no {key!r}; is it a file of this data set?")
