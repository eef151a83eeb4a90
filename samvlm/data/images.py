"""Open any image file or document page safely and correctly: upright RGB, on white, within limits.

`open_image` gives one picture, `open_pages` every page of a TIFF or PDF. Whatever is wrong with a file is
told by `DocumentError` in one line: what, where, remedy. Limits are read from the header, before decoding.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageFile, UnidentifiedImageError

from .pixels import to_rgb, upright

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF")  # what Pillow may try; PDF goes another way
MAX_PIXELS = 50_000_000  # A4 at 600 dpi has 35 million
MIN_SIDE = 8
MAX_ASPECT = 200

Source = str | os.PathLike | bytes | Image.Image

_ORIENTATION_TAG, _SUBFILE_TAG = 274, 254

# First bytes of what people mistake for an image or PDF, and what to tell them.
_OTHER_KINDS = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself; run `git lfs pull`"),
    (b"<!doctype html", "an HTML page, not an image; download the image itself"),
    (b"<html", "an HTML page, not an image; download the image itself"),
    (b"<svg", "an SVG drawing; export it as PNG or PDF"),
    (b"<?xml", "an XML file, not an image; export it as PNG or PDF"),
    (b"PK\x03\x04", "a ZIP or Office file, not an image; export the document as PDF"),
    (b"\xd0\xcf\x11\xe0", "an old Office file, not an image; export the document as PDF"),
    (b"%!PS", "a PostScript file; convert it to PDF"),
    (b"8BPS", "a Photoshop file; export it as PNG"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 file; convert it to PNG"),
)
_HINT = "give a PNG, JPEG, TIFF, WEBP, BMP, GIF or PDF file"


class DocumentError(ValueError):
    """A document that cannot be read. The message is one line: where, what, remedy."""


class DocumentWarning(UserWarning):
    """A document that was read, but not all of it or not as it stands."""


@dataclass
class Page:
    """One page of a document: its upright RGB `image`, or None and the `error` that says why not."""

    image: Image.Image | None
    index: int  # from 0
    error: str | None = None
    count: int | None = None  # pages in the document, where the format says it


def open_image(source: Source, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Open one image as upright RGB, 8 bits a channel, transparency on white.

    Args:
        source: a path, the bytes of a file, or a PIL image (which is not changed).
        max_pixels: refuse larger images; read from the header, before any pixel is decoded.

    Raises:
        DocumentError: missing, empty, truncated, of another format, too large, too small, too elongated.
            For a PDF use `open_pages`. Of a file with several frames or pages the first is read, with a
            `DocumentWarning`.
    """
    if isinstance(source, Image.Image):
        return _finish(source, "image", max_pixels)
    with _open(source) as (stream, name):
        if _is_pdf(stream):
            raise DocumentError(f"{name}: a PDF, which has pages, not one image; use open_pages")
        image = _read_header(stream, name, max_pixels)
        page = _finish(image, name, max_pixels)
        if image.format != "MPO" and _has_more(image):  # MPO: a photo and its previews
            warnings.warn(
                f"{name}: only the first of several frames or pages is read", DocumentWarning, stacklevel=2
            )
        return page


def open_pages(
    source: Source,
    password: str | None = None,
    max_pages: int | None = None,
    *,
    max_pixels: int = MAX_PIXELS,
    dpi: float = 144,
    timeout: float = 30,
) -> Iterator[Page]:
    """Yield the pages of a document, one at a time: PDF and TIFF pages, one page for any other image.

    Args:
        source: as for `open_image`; a PDF may be a path or bytes.
        password: of an encrypted PDF.
        max_pages: stop after so many, with a `DocumentWarning` that says so. None: all pages.
        max_pixels: limit of an image or TIFF page, in pixels.
        dpi: resolution at which PDF pages are drawn (large pages at less, within a budget of pixels).
        timeout: seconds that opening a PDF, or drawing one of its pages, may take.

    Raises:
        DocumentError: the document as a whole cannot be read. A page that cannot be read does not raise:
            it is yielded with `image=None` and `error`, and the others follow.
    """
    if max_pages is not None and max_pages < 1:
        raise ValueError(f"max_pages must be at least 1, got {max_pages}")
    if isinstance(source, Image.Image):
        yield Page(open_image(source, max_pixels=max_pixels), 0, count=1)
        return
    with _open(source) as (stream, name):
        if _is_pdf(stream):
            from .pdf import pdf_pages  # which imports this module

            document = source if isinstance(source, bytes) else Path(source)
            yield from pdf_pages(document, name, password, max_pages, dpi=dpi, timeout=timeout)
            return
        image = _read_header(stream, name, max_pixels)
        if image.format == "TIFF" and _has_more(image):
            yield from _tiff_pages(image, name, max_pages, max_pixels)
            return
    yield Page(open_image(source, max_pixels=max_pixels), 0, count=1)


def _tiff_pages(image: Image.Image, name: str, max_pages: int | None, max_pixels: int) -> Iterator[Page]:
    """Yield the pages of a TIFF, leaving out the thumbnails and masks stored between them."""
    frame = index = 0
    while True:
        try:
            with _quiet():
                image.seek(frame)
        except EOFError:
            break
        except Exception:  # a damaged directory: whatever Pillow's parser trips over
            lost = "the directory is damaged, it and the pages behind it are lost; get a complete copy"
            yield Page(None, index, f"{name}: page {index + 1}: {lost}")
            return
        frame += 1
        subfile = image.tag_v2.get(_SUBFILE_TAG, 0)
        if isinstance(subfile, int) and subfile & 0b101:  # a reduced copy or a transparency mask
            continue
        if max_pages is not None and index >= max_pages:
            warn_cut(name, max_pages)
            return
        page, error = None, None
        try:
            page = _finish(image, f"{name}: page {index + 1}", max_pixels)
        except DocumentError as problem:
            error = str(problem)
        yield Page(page, index, error)
        index += 1
    if index == 0:
        raise DocumentError(f"{name}: a TIFF without a full-size page; {_HINT}")


def _has_more(image: Image.Image) -> bool:
    """Whether there is a second frame or page (or something unreadable in its place)."""
    try:
        with _quiet():
            return bool(getattr(image, "is_animated", False))
    except Exception:  # a damaged directory, met while Pillow counts
        return True


def warn_cut(name: str, max_pages: int) -> None:
    """Say that a document goes on after the pages that were asked for."""
    message = f"{name}: has more than {max_pages} pages; the rest was left out (see --max-pages)"
    warnings.warn(message, DocumentWarning, stacklevel=4)


# ---- opening -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _open(source: str | os.PathLike | bytes) -> Iterator[tuple[io.BufferedIOBase, str]]:
    """Give a seekable stream of the source and the name to use in messages."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        if not len(source):
            raise DocumentError("image: no bytes at all; give the content of an image file")
        yield io.BytesIO(source), "image"
        return
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(f"expected a path, bytes or a PIL image, got {type(source).__name__}")
    path = os.fspath(source)
    name = display_name(path)
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise DocumentError(f"{name}: a directory, not a file; name the files in it")
        if not stat.S_ISREG(mode):
            raise DocumentError(f"{name}: not a regular file; save its content to a file first")
        stream = open(path, "rb")  # noqa: SIM115  (closed by the `with` below)
    except FileNotFoundError:
        remedy = "remote files are not fetched, download it first" if "://" in name else "check the path"
        raise DocumentError(f"{name}: no such file; {remedy}") from None
    except PermissionError:
        raise DocumentError(f"{name}: permission denied; check the rights of the file") from None
    except DocumentError:
        raise
    except (OSError, ValueError) as problem:  # ValueError: a zero byte in the name
        reason = getattr(problem, "strerror", None) or "not a valid file name"
        raise DocumentError(f"{name}: cannot be opened ({reason})") from None
    with stream:
        if os.fstat(stream.fileno()).st_size == 0:
            raise DocumentError(f"{name}: an empty file (0 bytes); get a complete copy")
        yield stream, name


def display_name(path: str | bytes | os.PathLike) -> str:
    """The path as one printable line, whatever bytes it has."""
    text = os.fsdecode(path)
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text) or "''"


def _is_pdf(stream: io.BufferedIOBase) -> bool:
    head = stream.read(1024)  # readers accept a little junk before the header
    stream.seek(0)
    return b"%PDF-" in head and not head.startswith((b"\x89PNG", b"\xff\xd8", b"II*\0", b"MM\0*", b"RIFF"))


def _read_header(stream: io.BufferedIOBase, name: str, max_pixels: int) -> Image.Image:
    """Open an image of an allowed format and check its size; no pixel is decoded yet."""
    head = stream.read(512)
    stream.seek(0)
    try:
        with _quiet():
            image = Image.open(stream, formats=FORMATS)
    except UnidentifiedImageError:
        raise DocumentError(f"{name}: {_what_else(head)}") from None
    except Image.DecompressionBombError:
        limit = f"{max_pixels / 1e6:g} million"
        raise DocumentError(f"{name}: more pixels than the limit of {limit}; scale it down") from None
    except Exception:  # third-party parsers on hostile bytes raise anything; their texts hold addresses
        raise DocumentError(f"{name}: a damaged image file; get a complete copy") from None
    check_size(image.size, name, max_pixels)
    return image


def _what_else(head: bytes) -> str:
    """Say what the file is instead of an image, from its first bytes."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:64]
    for magic, kind in _OTHER_KINDS:
        if start.lower().startswith(magic.lower()):
            return kind
    if head[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypavif"):
        return "a HEIC or AVIF photo; convert it to JPEG"
    if head.startswith((b"\x89PNG", b"\xff\xd8", b"II*\0", b"MM\0*", b"RIFF", b"GIF8", b"BM")):
        return "a damaged or truncated image file; get a complete copy"
    return f"not an image; {_HINT}"


def check_size(size: tuple[int, int], name: str, max_pixels: int) -> None:
    """Raise `DocumentError` for an image of too many pixels, too few, or too elongated."""
    width, height = size
    if width * height > max_pixels:
        raise DocumentError(
            f"{name}: {width} x {height} pixels are more than the limit of {max_pixels / 1e6:g} million; "
            "scale it down"
        )
    if min(width, height) < MIN_SIDE:
        raise DocumentError(
            f"{name}: {width} x {height} pixels are too few to read; both sides need at least {MIN_SIDE}"
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise DocumentError(
            f"{name}: {width} x {height} pixels are too elongated (more than {MAX_ASPECT}:1); cut it in parts"
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Decode strictly and without Pillow's own warnings (bad metadata, sizes: checked by us)."""
    tolerant = ImageFile.LOAD_TRUNCATED_IMAGES  # other packages switch it on: half a page would turn grey
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = tolerant


# ---- decoding ------------------------------------------------------------------------------------------


def _finish(image: Image.Image, name: str, max_pixels: int) -> Image.Image:
    """Decode, convert to RGB and turn upright."""
    check_size(image.size, name, max_pixels)
    try:
        with _quiet():
            image.load()
    except MemoryError:
        raise DocumentError(f"{name}: not enough memory to decode {image.width} x {image.height}") from None
    except Exception:  # OSError, SyntaxError, zlib.error, struct.error …: depends on the codec
        kind = f" {image.format}" if getattr(image, "format", None) else ""
        raise DocumentError(f"{name}: a damaged or truncated{kind} file; get a complete copy") from None
    try:
        with _quiet():
            orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # unreadable metadata must not cost the page
        warnings.warn(f"{name}: its EXIF data is damaged and was ignored", DocumentWarning, stacklevel=3)
        orientation = 1
    try:
        return upright(to_rgb(image), orientation)
    except ValueError as problem:
        raise DocumentError(f"{name}: {problem}") from None
