"""Printed tables as samples: the page's picture, and where the PDF says that each character stands.

The truth is what was sent to print. A page is taken only if the characters that PDFium finds on it are exactly those of
the truth, in their order: what a font cannot show, or what the engine moved elsewhere, never gets into training.
"""

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ..synth.page import CENTRE_HEIGHT, plain
from ..synth.subjects.plan import Draft
from ..synth.tables import write_answer

FIRST_LOOK = 0.25  # pixels a point when looking where on the page there is anything
LARGEST = 2600  # pixels a side
# What PDFium says for some glyphs -> what stands there; U+0002 is a hyphen at the end of a line.
LETTERS = {"\x02": "-", "\ufb00": "ff", "\ufb01": "fi", "\ufb02": "fl", "\ufb03": "ffi", "\ufb04": "ffl"}


@dataclass
class Printed:
    """A table as it was set.

    image:     RGB or L, cut out of its page, in the pixels of its own resolution
    answer:    OTSL
    chars, centres, positions: see samvlm.data.synth.SynthSample; centres in pixels of `image`
    """

    image: Image.Image
    answer: str
    chars: str
    centres: np.ndarray
    positions: np.ndarray


def truth_of(draft: Draft) -> tuple[str, str, np.ndarray]:
    """The OTSL of a draft, its characters but blanks in the order of the page, and their offsets in the OTSL,
    -1 for those beside the table."""
    answer, offsets = write_answer(draft)
    before, behind = draft.above.replace(" ", ""), draft.below.replace(" ", "")
    chars = [*before]
    positions = [-1] * len(before)
    for item in sorted(draft.items, key=lambda item: (item.row, item.col)):
        for place, char in enumerate(plain(item.text), offsets[id(item)]):
            if char != " ":
                chars.append(char)
                positions.append(place)
    chars += behind
    positions += [-1] * len(behind)
    return answer, "".join(chars), np.array(positions, np.int32)


@dataclass
class _Page:
    """The characters of a page with the middle of each and its baseline, in points from the lower left corner."""

    page: Any
    chars: str
    x: np.ndarray
    y: np.ndarray


def read_pages(pdf: bytes) -> Iterator[_Page]:
    """The pages of a PDF that have characters. Raises ValueError without pypdfium2."""
    try:
        import pypdfium2 as pdfium
        import pypdfium2.raw as raw
    except ImportError:
        raise ValueError("reading printed tables needs pypdfium2; run `pip install pypdfium2`") from None

    document = pdfium.PdfDocument(pdf)
    try:
        for number in range(len(document)):
            page = document[number]
            text = page.get_textpage()
            found = _characters(raw, text)
            text.close()
            if found:
                chars, xs, ys = zip(*found, strict=True)
                yield _Page(page, "".join(chars), np.array(xs), np.array(ys))
            page.close()
    finally:
        document.close()


def _characters(raw: Any, text: Any) -> list[tuple[str, float, float]]:
    """Every visible character with its middle and the height of its centre, in the order of the page's text.

    The letters of a ligature share its box evenly.
    """
    glyphs: list[tuple[str, tuple[float, float], float]] = []  # letters, left and right, height
    left, right, bottom, top, x, y = (ctypes.c_double() for _ in range(6))
    for at in range(raw.FPDFText_CountChars(text.raw)):
        char = chr(raw.FPDFText_GetUnicode(text.raw, at))
        if char.isspace() or char == "\0" or raw.FPDFText_IsGenerated(text.raw, at) == 1:
            continue
        raw.FPDFText_GetCharBox(text.raw, at, left, right, bottom, top)
        raw.FPDFText_GetCharOrigin(text.raw, at, x, y)
        matrix = raw.FS_MATRIX()
        raw.FPDFText_GetMatrix(text.raw, at, matrix)
        height = y.value + CENTRE_HEIGHT * raw.FPDFText_GetFontSize(text.raw, at) * abs(matrix.d)
        box = (left.value, right.value)
        letters = LETTERS.get(char, char)
        if glyphs and glyphs[-1][1:] == (box, height) and box[0] < box[1]:
            glyphs[-1] = (glyphs[-1][0] + letters, box, height)
        else:
            glyphs.append((letters, box, height))
    return [
        (letter, first + (last - first) * (place + 0.5) / len(letters), height)
        for letters, (first, last), height in glyphs
        for place, letter in enumerate(letters)
    ]


def cut_out(
    found: _Page, scale: float, margins: tuple[int, int, int, int], limit: float = LARGEST
) -> tuple[Image.Image, np.ndarray] | None:
    """The picture of what is on a page, with white margins (left, top, right, bottom in pixels), and the centres in it.

    None if there is nothing. Where a side would be longer than `limit` pixels, the scale is less.
    """
    width, height = found.page.get_size()
    look = np.asarray(found.page.render(scale=FIRST_LOOK, grayscale=True).to_pil())
    rows, columns = np.flatnonzero((look < 254).any(1)), np.flatnonzero((look < 254).any(0))
    if not len(rows):
        return None
    left, right = (columns[0] - 2) / FIRST_LOOK, (columns[-1] + 3) / FIRST_LOOK
    top, bottom = (rows[0] - 2) / FIRST_LOOK, (rows[-1] + 3) / FIRST_LOOK
    scale = min(scale, limit / max(right - left, bottom - top))
    left, top = max(0.0, left), max(0.0, top)
    crop = (
        left,
        max(0.0, height - bottom),
        max(0.0, width - right),
        top,
    )  # left, bottom, right, top: cut away
    image = found.page.render(scale=scale, crop=crop).to_pil().convert("RGB")
    # The rest is cut to the ink exactly.
    grey = np.asarray(image.convert("L"))
    rows, columns = np.flatnonzero((grey < 250).any(1)), np.flatnonzero((grey < 250).any(0))
    box = (
        columns[0] - margins[0],
        rows[0] - margins[1],
        columns[-1] + 1 + margins[2],
        rows[-1] + 1 + margins[3],
    )
    whole = Image.new("RGB", (int(box[2] - box[0]), int(box[3] - box[1])), (255, 255, 255))
    whole.paste(image, (-int(box[0]), -int(box[1])))
    xs = (found.x - left) * scale - box[0]
    ys = (height - found.y - top) * scale - box[1]
    return whole, np.stack([xs, ys], 1).astype(np.float32)
