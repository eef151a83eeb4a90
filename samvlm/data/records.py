"""The one record format: JSON Lines, a line for each image with what is asked and answered.

    {"id": "7", "image": "tables/0001.png", "task": "table",
     "messages": [{"role": "user", "content": "<image>\\nParse this table."},
                  {"role": "assistant", "content": "<fcel>…"}],
     "target": {"html": "<table>…</table>"}, "source": "pubtabnet", "licence": "CDLA-Permissive-1.0"}

`image` is relative to the file. `messages` may be left out where `task` and `target` say it all; LLaVA's
`conversations` are read as they are. A `target` holds, by task: table "html" or "otsl"; text "text"; form "fields"
(name to value) or "text"; question "question" and "answer".
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .conversations import IMAGE, read_conversation, text_of
from .safe_text import dump_json
from .tables import Table
from .tasks import TASKS, messages
from .whole_files import whole_file

_FIELDS = ("id", "image", "task", "messages", "conversations", "target", "source", "licence")


@dataclass
class Record:
    """One line of a record file, checked.

    `image` is an absolute path, None for a text alone. `messages` are chat turns whose content is a list of parts,
    `{"type": "image"}` and `{"type": "text", "text": …}`, as processors take them. `extra` keeps other fields.
    """

    id: str
    image: Path | None
    messages: list[dict[str, Any]]
    task: str | None = None
    target: dict[str, Any] = field(default_factory=dict)
    source: str | None = None
    licence: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def answer(self) -> str | None:
        """The text of the last turn if it is the assistant's, else None."""
        last = self.messages[-1]
        return text_of(last) if last["role"] == "assistant" else None


def read_records(path: str | Path) -> Iterator[Record]:
    """Read a file record by record; blank lines are skipped.

    Raises ValueError at the first bad record, "FILE:LINE: what is wrong; what to do"; `samvlm.data.check` finds all.
    Images are not opened.
    """
    for record in each_record(path):
        if isinstance(record, ValueError):
            raise record
        yield record


def each_record(path: str | Path) -> Iterator[Record | ValueError]:
    """As `read_records`, but a bad record does not end it: its error, worded as there, comes in its place.

    Raises ValueError if there is no such file.
    """
    return (record for _, record in placed_records(path))


def placed_records(path: str | Path) -> Iterator[tuple[int | None, Record | ValueError]]:
    """As `each_record`, each with the byte of the file at which its line starts; None for the items of a JSON list."""
    for where, start, item in _placed_lines(path):
        try:
            if isinstance(item, ValueError):
                raise item
            yield start, _located(where, item, Path(path).absolute().parent)
        except ValueError as error:
            yield start, error


def record_at(path: str | Path, start: int) -> Record:
    """The record whose line starts at a byte of a file. Raises ValueError if there is none (any more)."""
    where = f"{path}, byte {start}"
    with Path(path).open("rb") as file:
        file.seek(start)
        item = _json_line(where, file.readline())
    if isinstance(item, ValueError):
        raise item
    return _located(where, item, Path(path).absolute().parent)


def write_records(path: str | Path, records: Iterable[Record | dict[str, Any]]) -> int:
    """Write records (or dicts in the form of a line) as JSON Lines; return how many.

    Image paths become relative to the file where they lie below its folder. Each is checked before it is written;
    the file is replaced only when all are there. Raises ValueError with the number of the bad one.
    """
    path = Path(path)
    folder = path.absolute().parent
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    with whole_file(path) as file:
        for count, record in enumerate(records, 1):
            item = record if isinstance(record, dict) else _as_dict(record, folder)
            _located(f"record {count}", item, folder)
            file.write(dump_json(item).encode() + b"\n")
    return count


def parse_record(item: Any, folder: Path) -> Record:
    """Check one record and bring it to one form. Raises ValueError with what is wrong and what to do.

    item: the JSON value of a line; folder: what image paths are relative to.
    """
    if not isinstance(item, dict):
        raise ValueError(f"a record is a JSON object, got {type(item).__name__}; write {{'image': …, …}}")
    strings = {}
    for name in ("id", "image", "task", "source", "licence"):
        value = item.get(name)
        if name == "id" and isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if value is not None and not (isinstance(value, str) and value.strip()):
            raise ValueError(f"{name!r} is {value!r}; give a text, or leave it out")
        strings[name] = value
    if strings["id"] is None:
        raise ValueError("'id' is missing; give each record a name of its own")
    if strings["task"] is not None and strings["task"] not in TASKS:
        raise ValueError(f"unknown task {strings['task']!r}; use one of {', '.join(TASKS)}")
    target = item.get("target") or {}
    if not isinstance(target, dict):
        raise ValueError(f"'target' is {target!r}; give an object such as {{'html': …}}")
    image = _image(strings["image"], folder)
    return Record(
        id=strings["id"],
        image=image,
        messages=_chat(item, strings["task"], target, image is not None),
        task=strings["task"],
        target=target,
        source=strings["source"],
        licence=strings["licence"],
        extra={name: value for name, value in item.items() if name not in _FIELDS},
    )


def path_in_record(image: Path, folder: Path) -> str:
    """The path of an image as it stands in a record file of `folder`: relative, so that both may move together.

    Absolute where they have no folder in common but the root.
    """
    image = Path(os.path.realpath(image.parent)) / image.name
    folder = Path(os.path.realpath(folder))  # `..` leads up from where a link points to
    try:
        if len(Path(os.path.commonpath([image, folder])).parts) > 1:
            return Path(os.path.relpath(image, folder)).as_posix()
    except ValueError:  # other drives
        return image.as_posix()
    return image.as_posix()


def target_text(task: str, target: dict[str, Any]) -> str:
    """Return the answer that a target stands for: OTSL, lines of text or `key: value` lines. Raises ValueError."""
    if task == "table":
        if "otsl" in target:
            return Table.from_otsl(_string(target, "otsl")).to_otsl()
        return Table.from_html(_string(target, "html", "html or otsl")).to_otsl()
    if task == "form" and "fields" in target:
        fields = target["fields"]
        if not isinstance(fields, dict) or not fields:
            raise ValueError(f"the target's 'fields' is {fields!r}; give an object of names and values")
        return "\n".join(f"{key}: {value}" for key, value in fields.items())
    return _string(target, "answer" if task == "question" else "text")


def _string(target: dict[str, Any], name: str, wanted: str | None = None) -> str:
    value = target.get(name)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(
            f"the target has {name}={value!r}; give it {wanted or name} as a text that is not empty"
        )
    return value


def _image(name: str | None, folder: Path) -> Path | None:
    if name is None:
        return None
    if "://" in name or name.startswith("data:"):
        raise ValueError(f"the image {name[:60]!r} is no file; download it and give its path")
    if "\0" in name:
        raise ValueError(f"the image path {name!r} holds a null character; correct it")
    return folder / name


def _chat(
    item: dict[str, Any], task: str | None, target: dict[str, Any], has_image: bool
) -> list[dict[str, Any]]:
    given = item.get("messages", item.get("conversations"))
    if given is not None:
        return read_conversation(given, has_image)
    if task is None or not target:
        raise ValueError("there are no 'messages'; give them, or 'task' and 'target'")
    if not has_image:
        raise ValueError(f"the task {task!r} needs an 'image'; give its path")
    question = _string(target, "question") if task == "question" else None
    return messages(task, target_text(task, target), question)


def record_lines(path: str | Path) -> Iterator[tuple[str, Any]]:
    """Yield ("FILE:LINE", JSON value or the ValueError it gave); a LLaVA file (one JSON list) gives its items.

    Raises ValueError if there is no such file.
    """
    return ((where, item) for where, _, item in _placed_lines(path))


def _placed_lines(path: str | Path) -> Iterator[tuple[str, int | None, Any]]:
    """As `record_lines`, with the byte at which a line starts between the two; None for the items of a list."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"no record file at {path}; give a .jsonl file")
    with path.open("rb") as file:
        head = file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
        file.seek(0)
        if head == b"[":
            try:
                items = json.loads(file.read().decode("utf-8-sig"))
            except (ValueError, RecursionError) as error:
                yield str(path), None, ValueError(f"{path}: no JSON ({error}); is the file complete?")
                return
            yield from ((f"{path}: item {number}", None, item) for number, item in enumerate(items, 1))
            return
        start = 0
        for number, line in enumerate(file, 1):
            if line.strip(b"\xef\xbb\xbf \t\r\n"):
                where = f"{path}:{number}"
                yield where, start, _json_line(where, line)
            start += len(line)


def _json_line(where: str, line: bytes) -> Any:
    """The JSON value of a line, or the ValueError that it gave."""
    try:
        return json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return ValueError(f"{where}: no UTF-8 ({error.reason}); save the file as UTF-8")
    except (ValueError, RecursionError) as error:  # ValueError: also a number of 5,000 digits
        return ValueError(f"{where}: no JSON ({error}); is the line complete?")


def _located(where: str, item: Any, folder: Path) -> Record:
    try:
        return parse_record(item, folder)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _as_dict(record: Record, folder: Path) -> dict[str, Any]:
    image = record.image
    if image is not None and image.is_absolute() and image.is_relative_to(folder):
        image = image.relative_to(folder)
    item: dict[str, Any] = {"id": record.id, "image": image and image.as_posix(), "task": record.task}
    item["messages"] = [
        {
            "role": turn["role"],
            "content": "\n".join(
                IMAGE if part["type"] == "image" else part["text"] for part in turn["content"]
            ),
        }
        for turn in record.messages
    ]
    item |= {
        "target": record.target or None,
        "source": record.source,
        "licence": record.licence,
    } | record.extra
    return {name: value for name, value in item.items() if value is not None}
