"""Records from a data set: `samvlm data convert NAME PATH -o records.jsonl`. Nothing is lost silently.

records.jsonl                   the records, there whole or not at all
records_images/                 images that are no files in the data: from parquet, cut from PDF pages
records.jsonl.rejected.jsonl    {"where": …, "reason": …} for each entry that could not be read, if there is one
"""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from PIL import Image
from tqdm import tqdm

from ..lock import alone_in
from ..records import parse_record, path_in_record
from ..safe_text import dump_json
from ..whole_files import whole_file
from . import READERS
from .image_files import SUFFIXES
from .items import Item, Picture, Rejected, Stream, map_in_order

_MAGIC = (
    (re.compile(rb"\x89PNG\r\n"), ".png"),
    (re.compile(rb"\xff\xd8\xff"), ".jpg"),
    (re.compile(rb"GIF8"), ".gif"),
    (re.compile(rb"BM"), ".bmp"),
    (re.compile(rb"II\*\0|MM\0\*"), ".tif"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), ".webp"),
)
_RECORD_FIELDS = ("id", "image", "task", "messages", "conversations", "target", "source", "licence", "split")


@dataclass
class ConvertReport:
    """What `convert` did.

    output:        the file of records
    written:       number of records
    rejected:      entries that are not among them, in order
    by_split:      number of records of each split; "" where the data name none
    renamed:       records whose id the data had used before; they got "#2", "#3" …, their own is in "id_in_data"
    rejected_file: where `rejected` is written down; None if there is nothing
    """

    output: Path
    written: int = 0
    rejected: list[Rejected] = field(default_factory=list)
    by_split: dict[str, int] = field(default_factory=dict)
    renamed: int = 0
    rejected_file: Path | None = None


def convert(
    name: str,
    path: str | Path,
    output: str | Path,
    split: str | None = None,
    limit: int | None = None,
    workers: int = 1,
    progress: bool | None = None,
    **options: Any,
) -> ConvertReport:
    """Write the records of a data set.

    Args:
        name: of the reader, a key of `READERS`.
        path: of the data, as the reader expects it.
        output: the file of records. It and the images beside it are replaced when all is there; a run that is broken
            off changes neither.
        split: only this split; None: all.
        limit: at most so many records.
        workers: threads that draw pages and check records.
        progress: show a bar on standard error; None: on a terminal.
        options: of the reader.

    Raises:
        ValueError: an unknown reader or option, a path that is not of its kind, nothing to write, or another process
            is writing this output.
        OSError: the output cannot be written.
    """
    if name not in READERS:
        raise ValueError(f"unknown data set {name!r}; use one of {', '.join(READERS)}")
    if limit is not None and limit < 1:
        raise ValueError(f"limit={limit}; give at least 1, or leave it out")
    output = Path(output)
    if output.is_dir():
        raise ValueError(f"{output}: a folder; name the file of records, such as {output / 'records.jsonl'}")
    report = ConvertReport(output)
    store = _Store(output)
    READERS[name].check_options(options)
    known = inspect.signature(READERS[name].function).parameters
    if "workers" in known:
        options.setdefault("workers", workers)
    if "leave_out" in known:  # the output may lie in the folder that is read
        options.setdefault("leave_out", (output, store.images, store.aside, _rejected_file(output)))
    items = READERS[name](Path(path), split, **options)
    output.parent.mkdir(parents=True, exist_ok=True)
    with store.held(), contextlib.suppress(_NothingWritten), whole_file(output) as file:
        for result in _records(items, store, limit, workers, progress):
            if isinstance(result, Rejected):
                report.rejected.append(result)
                continue
            file.write(dump_json(result).encode() + b"\n")
            store.note(result)
            report.written += 1
            part = result.get("split") or ""
            report.by_split[part] = report.by_split.get(part, 0) + 1
            report.renamed += "id_in_data" in result
        if not report.written:
            raise _NothingWritten
        store.publish()
    _write_rejected(report)
    if not report.written:
        raise ValueError(_why_nothing(report, path, split))
    return report


class _NothingWritten(Exception):
    """Leaves the output as it was."""


def _records(
    items: Iterator[Item | Rejected], store: _Store, limit: int | None, workers: int, progress: bool | None
) -> Iterator[dict[str, Any] | Rejected]:
    """Yield the records and what is rejected in the order of the items, images stored."""
    total = limit or (items.total() if isinstance(items, Stream) else None)
    disable = None if progress is None else not progress
    written = 0
    with tqdm(total=total, unit=" records", file=sys.stderr, disable=disable, leave=False) as bar:
        results = map_in_order(store.finish, map(store.name, items), workers)
        with contextlib.closing(results):
            for result in results:
                yield result
                written += not isinstance(result, Rejected)
                done = written if limit or not isinstance(items, Stream) else items.done
                bar.update(done - bar.n)
                if written == limit:
                    break


@dataclass
class _Named:
    """An item with its id among the records and the place of its image, without suffix."""

    item: Item
    id: str
    place: str


class _Store:
    """Gives ids and names of images, each once, and keeps images aside until all are there."""

    def __init__(self, output: Path) -> None:
        self.folder = output.absolute().parent
        self.images = output.with_name(f"{output.stem}_images")
        self.aside = output.with_name(f".{output.stem}_images.partial")
        self._stored: set[str] = set()  # images aside, as the records name them
        self._amid = False  # whether images of the data lie where ours go
        self._written: list[str] = []  # those of records that are written
        self._ids: set[str] = set()
        self._places: set[str] = set()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the place aside, free of what a killed run left; it goes at the end. Raises ValueError if another does."""
        with alone_in(self.aside, "another output"):
            for left in self.aside.glob("[!.]*"):
                shutil.rmtree(left) if left.is_dir() else left.unlink()
            try:
                yield
            finally:
                shutil.rmtree(self.aside, ignore_errors=True)

    def name(self, item: Item | Rejected) -> _Named | Rejected:
        """Give an item its id and a place for its image."""
        if isinstance(item, Rejected):
            return item
        identity = _free(str(item.id).strip() or "record", "#", self._ids)
        stem = PurePath(identity.replace("\\", "/"))
        stem = stem.with_suffix("") if stem.suffix.lower() in (*SUFFIXES, ".pdf") else stem
        plain = re.sub(r"[^A-Za-z0-9._-]+", "_", str(stem)).strip("._")[:100] or "image"
        part = f"{item.split}/" if item.split and re.fullmatch(r"\w{1,40}", item.split, re.ASCII) else ""
        return _Named(item, identity, _free(part + plain, "-", self._places, str.casefold))

    def finish(self, named: _Named | Rejected) -> dict[str, Any] | Rejected:
        """Return the checked record of an item, its image in place."""
        if isinstance(named, Rejected):
            return named
        item = named.item
        fields: dict[str, Any] = {"id": named.id, "image": None, "task": item.task, "messages": item.messages}
        fields |= {"target": item.target, "source": item.source, "licence": item.licence, "split": item.split}
        if named.id != str(item.id):
            fields["id_in_data"] = str(item.id)
        fields |= {key: value for key, value in item.extra.items() if key not in _RECORD_FIELDS}
        try:
            parse_record(
                {**_given(fields), **({"image": "x.png"} if item.image is not None else {})}, self.folder
            )
            dump_json(fields)
            if item.image is not None:
                fields["image"] = self._image(item.image, named.place)
        except (ValueError, TypeError, RecursionError) as error:
            return Rejected(str(item.id), str(error))
        return _given(fields)

    def _image(self, picture: Picture, place: str) -> str:
        """Store an image that is no file; return its path as it stands in the record."""
        if isinstance(picture, Path):
            if not picture.is_file():
                raise ValueError(f"no image at {picture}; unpack the images")
            name = path_in_record(picture, self.folder)
            self._amid |= name.startswith(f"{self.images.name}/")
            return name
        if isinstance(picture, bytes):
            suffix = next((suffix for magic, suffix in _MAGIC if magic.match(picture)), None)
            if suffix is None:
                raise ValueError("its image bytes are no PNG, JPEG, TIFF, WEBP, BMP or GIF")
        else:
            picture, suffix = _encode(picture()), ".png"
        target = self.aside / (place + suffix)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(picture)
        name = f"{self.images.name}/{place}{suffix}"
        self._stored.add(name)
        return name

    def note(self, record: dict[str, Any]) -> None:
        """Remember that a record is written; with threads, images of further ones may be there."""
        if record.get("image") in self._stored:
            self._written.append(record["image"])

    def publish(self) -> None:
        """Move the images of the written records to their place; others that lie there stay.

        Raises ValueError if images of the data lie there, which could be replaced.
        """
        if self._amid and self._written:
            raise ValueError(f"{self.images}: the data have images there; give the output another name")
        for name in self._written:
            target = self.folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(self.aside / name.partition("/")[2], target)


def _free(wanted: str, mark: str, taken: set[str], alike: Callable[[str], str] = str) -> str:
    """Return the name, with a number where one that is alike is taken already; and take it."""
    name, number = wanted, 1
    while alike(name) in taken:
        number += 1
        name = f"{wanted}{mark}{number}"
    taken.add(alike(name))
    return name


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}


def _encode(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _rejected_file(output: Path) -> Path:
    return output.with_name(output.name + ".rejected.jsonl")


def _write_rejected(report: ConvertReport) -> None:
    target = _rejected_file(report.output)
    if not report.rejected:
        target.unlink(missing_ok=True)  # of an earlier run
        return
    with whole_file(target) as file:
        for entry in report.rejected:
            file.write(dump_json({"where": entry.where, "reason": entry.reason}).encode() + b"\n")
    report.rejected_file = target


def _why_nothing(report: ConvertReport, path: str | Path, split: str | None) -> str:
    if report.rejected:
        first = report.rejected[0]
        return (
            f"{path}: none of {len(report.rejected)} entries can be read; the first, {first.where}: {first.reason} "
            f"(all in {report.rejected_file})"
        )
    return f"{path}: no entry" + (
        f" of the split {split!r}; see which the data have" if split else "; is it empty?"
    )
