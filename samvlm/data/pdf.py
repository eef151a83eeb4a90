"""PDF pages as images, through pypdfium2 in a child process that can be killed (`pdf_worker.py`).

PDFium is native code on hostile input and not thread-safe: one process a document bounds its time and
memory, and a page that hangs or crashes fails alone.
"""

from __future__ import annotations

import contextlib
import functools
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from .child_process import ChildProcess
from .images import DocumentError, Page, check_size, display_name, warn_cut

MAX_PAGE_PIXELS = 16_000_000  # a page is drawn at less than `dpi` if it would have more
MAX_FAILURES = 20  # pages in a row that cannot be drawn, after which the rest is given up

_WORKER = Path(__file__).with_name("pdf_worker.py")
_OPEN_ERRORS = {
    "security": "a PDF with a protection that is not supported; save it without protection",
    "damaged": "a damaged, truncated or empty PDF; get a complete copy",
    "missing": "reading PDF needs pypdfium2; run `pip install pypdfium2`",
    "timeout": "the PDF took longer than {timeout:g} s to open; convert its pages to images",
    "died": "the PDF could not be opened (out of memory, or the reader crashed); convert its pages to images",
}
_PAGE_ERRORS = {
    "damaged": "is damaged",
    "size": "has an impossible size",
    "absent": "is not there, the document ends before it",
    "timeout": "took longer than {timeout:g} s to draw",
    "died": "could not be drawn (out of memory, or the reader crashed)",
}


def pdf_pages(
    document: Path | bytes,
    name: str,
    password: str | None = None,
    max_pages: int | None = None,
    *,
    dpi: float = 144,
    timeout: float = 30,
    max_pixels: int = MAX_PAGE_PIXELS,
) -> Iterator[Page]:
    """Yield every page of a PDF as RGB; a page that cannot be drawn as `Page(None, index, error)`.

    Raises:
        DocumentError: the document cannot be opened at all, or too many pages in a row failed.
    """
    worker = _Worker(document, name, password, timeout)
    failures = 0
    try:
        count = worker.open()
        for index in range(count):
            if max_pages is not None and index >= max_pages:
                warn_cut(name, max_pages)
                return
            image, error = worker.draw(index, dpi, max_pixels)
            where = f"{name}: page {index + 1} of {count}"
            if image is not None:
                try:
                    check_size(image.size, where, max_pixels + image.width + image.height)
                except DocumentError as problem:
                    image, error = None, str(problem)
            else:
                error = f"{where} {error}; the other pages are read"
            failures = 0 if error is None else failures + 1
            yield Page(image, index, error, count)
            if failures >= MAX_FAILURES and index + 1 < count:
                raise DocumentError(
                    f"{name}: {failures} pages in a row failed; gave up after page {index + 1}"
                )
    finally:
        worker.stop()


Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class PageView:
    """How a page of a PDF file becomes pixels; made by `page_view`.

    size:    of its picture, (width, height) in pixels
    corners: points of the page, in PDF units, at the pixels (0, 0), (width, 0) and (0, height)
    origin:  the lower left corner of its media box, in PDF units: (0, 0) in most files
    """

    path: Path
    index: int
    dpi: float
    size: tuple[int, int]
    corners: tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
    origin: tuple[float, float]

    def to_pixels(self, box: Box) -> Box:
        """Return where a box (x0, y0, x1, y1 in PDF units, y up) lies in the picture: in pixels, y down."""
        (ox, oy), (rx, ry), (dx, dy) = self.corners
        rx, ry, dx, dy = rx - ox, ry - oy, dx - ox, dy - oy
        area = rx * dy - ry * dx
        xs, ys = [], []
        for x, y in ((box[0], box[1]), (box[2], box[3])):
            xs.append(((x - ox) * dy - (y - oy) * dx) / area * self.size[0])
            ys.append(((y - oy) * rx - (x - ox) * ry) / area * self.size[1])
        return min(xs), min(ys), max(xs), max(ys)

    def draw(self, box: tuple[int, int, int, int]) -> Image.Image:
        """Return a part of the page (left, top, right, bottom in whole pixels). Raises DocumentError."""
        return _drawn(self.path, _changed(self.path), self.index, self.dpi).crop(box)


def page_view(path: Path, index: int, *, dpi: float = 144, timeout: float = 30) -> PageView:
    """Measure page `index` (from 0) of a PDF file without drawing it. Raises DocumentError."""
    _changed(path)
    worker = _Worker(path, display_name(path), None, timeout)
    try:
        worker.open()
        answer, error = worker.measure(index, dpi, MAX_PAGE_PIXELS)
    finally:
        worker.stop()
    if error:
        raise DocumentError(f"{worker.name}: page {index + 1} {error}; leave it out")
    check_size(answer["size"], f"{worker.name}: page {index + 1}", 2 * MAX_PAGE_PIXELS)
    corners = tuple(map(tuple, answer["corners"]))
    return PageView(path, index, dpi, tuple(answer["size"]), corners, tuple(answer["origin"]))


def page_count(path: Path, *, timeout: float = 30) -> int:
    """Return the number of pages of a PDF file. Raises DocumentError."""
    _changed(path)
    worker = _Worker(path, display_name(path), None, timeout)
    try:
        return worker.open()
    finally:
        worker.stop()


def _changed(path: Path) -> int:
    """When a file was written last, in ns. Raises DocumentError if it is not there."""
    if not path.is_file():
        raise DocumentError(f"{display_name(path)}: no such file; check the path")
    return path.stat().st_mtime_ns


@functools.lru_cache(maxsize=1)  # several parts of one page follow each other
def _drawn(path: Path, changed: int, index: int, dpi: float) -> Image.Image:
    worker = _Worker(path, display_name(path), None, 30)
    try:
        worker.open()
        image, error = worker.draw(index, dpi, MAX_PAGE_PIXELS)
    finally:
        worker.stop()
    if image is None:
        raise DocumentError(f"{worker.name}: page {index + 1} {error}; leave it out")
    return image


class _Worker(ChildProcess):
    """The child process of one document; started again after it was killed."""

    def __init__(self, document: Path | bytes, name: str, password: str | None, timeout: float):
        super().__init__(_WORKER, quiet=True)
        self.document, self.name, self.password, self.timeout = document, name, password, timeout

    def open(self) -> int:
        """Start the process and open the document; return its number of pages."""
        self.start()
        data = self.document if isinstance(self.document, bytes) else None
        request = {"path": None if data is not None else str(self.document), "password": self.password}
        request["size"] = None if data is None else len(data)
        answer, _ = self._ask(request, data or b"")
        error = answer.get("error")
        if error == "password":
            wrong = "the password is wrong" if self.password else "encrypted"
            raise DocumentError(f"{self.name}: {wrong}; give the PDF's password (--password)")
        if error:
            raise DocumentError(f"{self.name}: {_OPEN_ERRORS[error].format(timeout=self.timeout)}")
        return answer["pages"]

    def draw(self, index: int, dpi: float, max_pixels: int) -> tuple[Image.Image | None, str | None]:
        """Draw a page; return (image, None) or (None, what is wrong with it)."""
        if self.process is None:
            try:
                self.open()
            except DocumentError:
                return None, _PAGE_ERRORS["died"]
        answer, pixels = self._ask({"page": index, "dpi": dpi, "max_pixels": max_pixels})
        if error := answer.get("error"):
            return None, _PAGE_ERRORS[error].format(timeout=self.timeout)
        raw = {"RGB": "RGB", "RGBX": "RGBX", "RGBA": "RGBX", "L": "L"}[answer["mode"]]
        mode = "L" if raw == "L" else "RGB"
        size, stride = tuple(answer["size"]), answer["stride"]
        return Image.frombytes(mode, size, pixels, "raw", raw, stride, 1).convert("RGB"), None

    def measure(self, index: int, dpi: float, max_pixels: int) -> tuple[dict, str | None]:
        """Say how a page would be drawn; return ({"size", "corners"}, None) or ({}, what is wrong with it)."""
        answer, _ = self._ask({"page": index, "dpi": dpi, "max_pixels": max_pixels, "measure": True})
        if error := answer.get("error"):
            return {}, _PAGE_ERRORS[error].format(timeout=self.timeout)
        return answer, None

    def _ask(self, request: dict, payload: bytes = b"") -> tuple[dict, bytes]:
        """Send a request and wait for the answer, at most `timeout` seconds; else the process is killed."""
        process = self.process
        late = threading.Event()

        def kill() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(self.timeout, kill)
        timer.daemon = True
        timer.start()
        try:
            with contextlib.suppress(OSError):  # it may have answered and gone
                line = json.dumps({**request, "timeout": self.timeout}).encode()
                process.stdin.write(line + b"\n" + payload)
                process.stdin.flush()
            line = process.stdout.readline()
            answer = json.loads(line) if line.endswith(b"\n") else None
            pixels = process.stdout.read(answer["bytes"]) if answer else b""
        finally:
            timer.cancel()
        complete = answer is not None and len(pixels) == answer["bytes"]
        if late.is_set() or not complete:
            self.stop()
        if complete:
            return answer, pixels
        return {"error": "timeout" if late.is_set() else "died"}, b""
