"""A page under construction: coverage of ink, colours, the characters drawn and their centres."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from .fonts import Family
from .glyphs import Glyphs, glyphs

if TYPE_CHECKING:
    from ..tables import Table

Colour = tuple[int, int, int]
MARGIN = 64  # spare pixels around the page, so that glyphs and rules need no clipping
SUPER, SUB, ITALIC, PLAIN = "\ue000", "\ue001", "\ue002", "\ue003"
"""Marks inside drawn strings: what follows is raised, lowered, italic; plain again. They are not characters."""
MARKS = SUPER + SUB + ITALIC + PLAIN
_ANY_MARK = re.compile(f"[{MARKS}]")
_NO_MARKS = str.maketrans("", "", MARKS)
CENTRE_HEIGHT = 0.3  # of an em above the baseline: where a character's centre lies, whatever its own shape


def plain(text: str) -> str:
    """`text` without marks: what a reader would type."""
    return text if text.isascii() else text.translate(_NO_MARKS)


@dataclass(frozen=True)
class Type:
    """How a string is set: family, size in pixels an em, style and spacing."""

    family: Family
    size: float
    bold: bool = False
    italic: bool = False
    hinted: bool = False
    kerning: bool = False
    tracking: float = 0.0

    @cached_property
    def full_size(self) -> Glyphs:
        """The glyphs of unmarked text."""
        return glyphs(self.family.face(self.bold, self.italic), self.size, self.hinted)

    def glyphs(self, italic: bool = False, small: bool = False) -> Glyphs:
        """The glyphs of marked text: `italic` turns the slope over, `small` is for raised and lowered parts."""
        if not italic and not small:
            return self.full_size
        face = self.family.face(self.bold, self.italic != italic if italic else self.italic)
        size = max(5.0, round(self.size * 0.7 * 2) / 2) if small else self.size
        return glyphs(face, size, self.hinted)

    def can_draw(self, text: str) -> bool:
        """True if every face of the family has all characters of `text` (marks aside)."""
        return self.family.drawable.issuperset(text if text.isascii() else plain(text))


def runs(text: str) -> list[tuple[str, bool, float]]:
    """`text` cut at its marks into (part, italic, shift): shift in em, up positive, 0 for full-size parts."""
    if text.isascii() or not _ANY_MARK.search(text):
        return [(text, False, 0.0)]
    found, part, italic, shift = [], "", False, 0.0
    for char in text:
        if char not in MARKS:
            part += char
            continue
        if part:
            found.append((part, italic, shift))
        part = ""
        italic = char == ITALIC
        shift = 0.33 if char == SUPER else -0.15 if char == SUB else 0.0
    return [*found, (part, italic, shift)] if part else found


def text_width(text: str, style: Type) -> float:
    """Width of `text` (with marks) in pixels."""
    if text.isascii():
        return style.full_size.measure(text, style.tracking, style.kerning)
    total = 0.0
    for part, italic, shift in runs(text):
        total += style.glyphs(italic, shift != 0).measure(part, style.tracking, style.kerning)
    return total


class Page:
    """An empty page of `width` x `height` pixels that text and rules are put on."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._ink = np.zeros((height + 2 * MARGIN, width + 2 * MARGIN), np.uint8)
        self.paper: Colour = (255, 255, 255)
        self.colour: Colour = (0, 0, 0)
        self.shades: list[tuple[int, int, int, int, Colour]] = []
        self.tints: list[tuple[int, int, int, int, Colour]] = []
        self.chars: list[str] = []
        self.centres: list[tuple[float, float]] = []
        self.positions: list[int] = []

    @property
    def ink(self) -> np.ndarray:
        """Coverage in [0, 255], (height, width) uint8, a view."""
        return self._ink[MARGIN:-MARGIN, MARGIN:-MARGIN]

    def text(self, x: float, baseline: float, text: str, style: Type, position: int = -1) -> float:
        """Draw `text` (with marks) from pen position `x`; answers with the pen position after it.

        `position` is the offset of its first character in the answer, -1 if it is no part of it. Text that would
        leave the spare margin raises ValueError: layout has to measure first.
        """
        baseline = round(baseline)
        if not (-MARGIN / 2 < baseline < self.height + MARGIN / 2 and x > -MARGIN / 2):
            raise ValueError(f"text at ({x}, {baseline}) leaves the page of {self.width}x{self.height}")
        end = self.width + MARGIN / 2
        ink, maximum = self._ink, np.maximum
        for part, italic, shift in runs(text):
            store = style.glyphs(italic, shift != 0)
            cache, advance, phases = store.cache, store.advance, store.phases
            kerning = style.kerning and store.has_kerning
            kerns, tracking = store.kerning, style.tracking
            line = baseline - round(shift * style.size) + MARGIN
            previous = ""
            middles: list[float] = []
            for char in part:
                if kerning and previous:
                    pair = previous + char
                    x += kerns[pair] if pair in kerns else store.kern(pair)
                previous = char
                if char != " ":
                    steps = int(x * phases + 0.5)
                    phase = steps % phases
                    coverage, left, top, height, width, middle = cache.get((char, phase)) or store.glyph(
                        char, phase
                    )
                    pen = steps // phases
                    middles.append(steps / phases + middle)
                    if pen > end:
                        raise ValueError(f"{text!r} leaves the page at {x:.0f} of {self.width} pixels")
                    left += pen + MARGIN
                    top += line
                    area = ink[top : top + height, left : left + width]
                    maximum(area, coverage, out=area)
                x += (advance[char] if char in advance else store.width(char)) + tracking
            centre = line - MARGIN + 0.5 - CENTRE_HEIGHT * store.size
            self.centres += [(middle, centre) for middle in middles]
            self.chars += part.replace(" ", "")
            if position < 0:
                self.positions += [-1] * len(middles)
            else:
                self.positions += [position + i for i, char in enumerate(part) if char != " "]
                position += len(part)
        return x

    def forget(self, first: int) -> None:
        """Take the characters from number `first` on out of the truth: they stay on the page as clutter."""
        del self.chars[first:], self.centres[first:], self.positions[first:]

    def box(self, x0: float, y0: float, x1: float, y1: float, coverage: int = 255) -> None:
        """Fill the rectangle [x0, x1) x [y0, y1), rounded to pixels, with at least `coverage`."""
        left, top = max(0, round(x0) + MARGIN), max(0, round(y0) + MARGIN)
        right, bottom = max(left, round(x1) + MARGIN), max(top, round(y1) + MARGIN)
        area = self._ink[top:bottom, left:right]
        np.maximum(area, coverage, out=area)

    def shade(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        """Give the background of a rectangle another colour; later shades lie on top."""
        self.shades.append((*self._pixels(x0, y0, x1, y1), colour))

    def tint(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        """Give all ink inside a rectangle another colour; later tints win."""
        self.tints.append((*self._pixels(x0, y0, x1, y1), colour))

    def _pixels(self, x0: float, y0: float, x1: float, y1: float) -> tuple[int, int, int, int]:
        left, right = (min(max(round(x), 0), self.width) for x in (x0, x1))
        top, bottom = (min(max(round(y), 0), self.height) for y in (y0, y1))
        return left, top, right, bottom

    def composed(self) -> Image.Image:
        """The page as a picture, mode L where all colours are grey, else RGB."""
        colours = [self.paper, self.colour, *(s[4] for s in self.shades), *(t[4] for t in self.tints)]
        channels = 1 if all(r == g == b for r, g, b in colours) else 3
        planes = [self._channel(channel) for channel in range(channels)]
        return Image.fromarray(planes[0] if channels == 1 else np.stack(planes, axis=-1))

    def _channel(self, channel: int) -> np.ndarray:
        paper, ink = self.paper[channel], self.colour[channel]
        if not self.shades and not self.tints:
            ramp = paper + (ink - paper) * np.arange(256) / 255
            return ramp.round().astype(np.uint8)[self.ink]
        back = np.full((self.height, self.width), paper, np.int32)
        for x0, y0, x1, y1, colour in self.shades:
            back[y0:y1, x0:x1] = colour[channel]
        front = np.full((self.height, self.width), ink, np.int32)
        for x0, y0, x1, y1, colour in self.tints:
            front[y0:y1, x0:x1] = colour[channel]
        return (back + (front - back) * self.ink // 255).astype(np.uint8)

    def truth(self) -> tuple[str, np.ndarray, np.ndarray]:
        """Characters, centres (n, 2) float32 and positions (n,) int32, in the order of drawing."""
        centres = np.asarray(self.centres, np.float32).reshape(-1, 2)
        return "".join(self.chars), centres, np.asarray(self.positions, np.int32)


@dataclass
class Drawn:
    """A finished layout: the page and everything that is known about it."""

    page: Page
    task: str
    answer: str
    meta: dict[str, Any]
    question: str | None = None
    table: "Table | None" = None
