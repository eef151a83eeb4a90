"""A folder of your own: images with their truth beside them.

    invoices/0001.png  invoices/0001.html              beside each other, in folders as deep as you like
    images/train/7.jpg  labels/train/7.csv             or in folders of their own, with the same names
    report.pdf  report.html  report.p3.html            a PDF: its first page, its third page
    gt.jsonl  images/0001.png                          or lines {"image": "images/0001.png", "html": "<table>…"}

How the files of truth are read: `labels.py`. The split is the name of a folder (train, val, test …) or stands in the
line. Every image and PDF page without truth and every truth without image is reported; files of other kinds are passed
over, and so are those whose names begin with a dot.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image

from ..images import DocumentError, open_pages
from ..pdf import page_count, page_view
from .image_files import SUFFIXES, find_image
from .items import Item, Picture, Rejected, Stream, count_lines, json_lines, split_named
from .labels import LABELS, is_label, label_of, read_label
from .pairing import Pair, pair_up

_IMAGES = (*SUFFIXES, ".pdf")
# Keys of a line that the Item has a place for; the others are kept as they are.
_PLACED = frozenset(
    {"id", "image", "file_name", "split", "source", "licence", "license", "task", "target", "answer"}
)


@dataclass(frozen=True)
class PageOf:
    """One page of a document (`index` from 0), drawn when it is called. Raises DocumentError."""

    path: Path
    index: int
    dpi: float

    def __call__(self) -> Image.Image:
        """Draw it."""
        if self.path.suffix.lower() == ".pdf":
            view = page_view(self.path, self.index, dpi=self.dpi)
            return view.draw((0, 0, *view.size))
        for page in open_pages(self.path):
            if page.index == self.index:
                if page.image is None:
                    raise DocumentError(page.error or f"{self.path}: page {self.index + 1} cannot be read")
                return page.image
        raise DocumentError(f"{self.path}: has no page {self.index + 1}")


def read_folder(
    path: Path,
    split: str | None = None,
    source: str | None = None,
    licence: str | None = None,
    header_rows: int = 1,
    dpi: float = 144,
    leave_out: Iterable[Path] = (),
) -> Iterator[Item | Rejected]:
    """Read a folder, or one .jsonl file with the images that it names.

    source:      name of the data set; None: the folder's
    licence:     of all images whose line names no other
    header_rows: rows of CSV and TSV files that are column headers
    dpi:         at which PDF pages are drawn
    leave_out:   files and folders that are not looked at
    Raises ValueError if there is no folder, or neither images nor truths in it.
    """
    if path.is_file() and path.name.endswith((".jsonl", ".jsonl.gz")):
        folder, files, lists = path.parent, [], [PurePosixPath(path.name)]
    elif path.is_dir():
        folder, files = path, _walk(path, {os.path.realpath(place) for place in leave_out})
        lists = [file for file in files if file.name.lower().endswith((".jsonl", ".jsonl.gz"))]
    else:
        raise ValueError(
            f"{path}: no folder; give the folder of your images and their .html, .csv, .md or .json"
        )
    images = [file for file in files if file.suffix.lower() in _IMAGES]
    labels = [file for file in files if file.suffix.lower() in LABELS]
    if not (images or labels or lists):
        expected = "give a folder with PNG, JPEG, TIFF or PDF files and an .html, .csv, .md or .json for each"
        raise ValueError(f"{path}: no images and no truths in it; {expected}")
    name = source or folder.resolve().name

    def entries() -> Iterator[tuple[str, _Line | Pair | Rejected]]:
        named: set[PurePosixPath] = set()
        for file in lists:
            for where, entry in _lines(folder, file):
                if isinstance(entry, _Line):
                    named.add(PurePosixPath(os.path.relpath(entry.image, folder)))
                yield where, entry
        pairs, rejected = pair_up(images, labels, LABELS, named)
        yield from ((str(folder / pair.label), pair) for pair in pairs)
        wanted = [pair for pair in pairs if split in (None, _split(pair))]
        yield from ((entry.where, entry) for entry in _pages_without(folder, wanted))
        yield from ((entry.where, Rejected(str(folder / entry.where), entry.reason)) for entry in rejected)

    def read(entry: _Line | Pair) -> Item | None:
        part = entry.split if isinstance(entry, _Line) else _split(entry)
        if split not in (None, part):
            return None
        if isinstance(entry, _Line):
            line, label = entry.value, label_of(entry.value)
            picture = _picture(entry.image, 0, dpi)
            given = str(line.get("id") or PurePosixPath(os.path.relpath(entry.image, folder)))
            extra = {key: line[key] for key in line if key not in _PLACED and key not in label.target}
        else:
            line, label, extra = {}, read_label(folder / entry.label, header_rows), {}
            picture = _picture(folder / entry.image, entry.page or 0, dpi)
            given = f"{entry.image}#page={entry.page + 1}" if entry.page else str(entry.image)
        return Item(
            id=given,
            image=picture,
            task=label.task,
            target=label.target,
            split=part,
            source=line.get("source") or name,
            licence=line.get("licence") or line.get("license") or licence,
            extra=extra | label.extra,
        )

    return Stream(entries(), read, lambda: len(labels) + (count_lines(folder / file for file in lists) or 0))


@dataclass(frozen=True)
class _Line:
    """A line of a .jsonl file and the image that it names."""

    image: Path
    value: dict[str, Any]

    @property
    def split(self) -> str | None:
        return self.value.get("split")


def _walk(folder: Path, leave_out: set[str]) -> list[PurePosixPath]:
    """All files below a folder, sorted, relative to it. Links to folders are followed, each folder once."""
    found = []
    seen = set(leave_out)
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith((".", "__MACOSX"))]
        found += [
            PurePosixPath(os.path.relpath(os.path.join(place, name), folder).replace(os.sep, "/"))
            for name in files
            if not name.startswith(".") and os.path.realpath(os.path.join(place, name)) not in leave_out
        ]
    return sorted(found)


def _lines(folder: Path, file: PurePosixPath) -> Iterator[tuple[str, _Line | Rejected]]:
    """The lines of a .jsonl file that name an image and its truth; a file of another kind is one Rejected."""
    path = folder / file
    understood = False
    for where, value in json_lines(path):
        if isinstance(value, Rejected):
            yield where, value
            continue
        image = value.get("image", value.get("file_name"))
        if not understood and (
            image is None or not is_label(value) or "messages" in value or "target" in value
        ):
            yield where, Rejected(where, _other_kind(value))
            return
        understood = True
        try:
            yield where, _Line(find_image(image, [path.parent, path.parent / "images"]), value)
        except ValueError as error:
            yield where, Rejected(where, str(error))


def _other_kind(value: dict[str, Any]) -> str:
    if "messages" in value or "conversations" in value or "target" in value:
        return "a file of records already, which needs no conversion; nothing of it is read"
    return "its lines are not {'image': …, 'html': …} (or otsl, text …); nothing of it is read"


def _pages_without(folder: Path, pairs: Iterable[Pair]) -> Iterator[Rejected]:
    """Tell of PDF files that have more pages than truths."""
    read: dict[PurePosixPath, set[int]] = {}
    for pair in pairs:
        if pair.image.suffix.lower() == ".pdf":
            read.setdefault(pair.image, set()).add(pair.page or 0)
    for image, pages in read.items():
        try:
            count = page_count(folder / image)
        except DocumentError:  # which its item says
            continue
        left = count - sum(page < count for page in pages)
        if left > 0:
            first = next(page for page in range(count) if page not in pages) + 1
            reason = f"{left} of its {count} pages have no truth, page {first} is the first"
            yield Rejected(str(folder / image), f"{reason}; expected one such as {image.stem}.p{first}.html")


def _split(pair: Pair) -> str | None:
    return split_named(*reversed(pair.image.parts[:-1]), *reversed(pair.label.parts[:-1]))


def _picture(path: Path, page: int, dpi: float) -> Picture:
    return PageOf(path, page, dpi) if page or path.suffix.lower() == ".pdf" else path
