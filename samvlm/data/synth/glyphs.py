"""Glyph pictures by face and size, drawn once and kept; text is laid out by adding up advances."""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from .characters import ASCII
from .fonts import Face, drawable

OVERSAMPLING = 4  # unhinted glyphs are drawn this many times larger and averaged, as PDF renderers do
PHASES = 2  # sub-pixel positions an unhinted glyph may start at
_KERN_PROBE = ("AV", "To", "Te", "Ya", "P.", "LT")


@dataclass(slots=True)
class Glyph:
    """Coverage of one glyph, uint8 (height, width), placed relative to the pen on the baseline (pixels, y down)."""

    coverage: np.ndarray
    left: int
    top: int
    height: int
    width: int
    middle: float  # x of the middle of the ink, from the pen


@dataclass
class Glyphs:
    """All glyphs of `face` at `size` pixels an em.

    `hinted`: whole-pixel advances and sharp stems, as on screens; otherwise positions to 1/PHASES pixel.
    """

    face: Face
    size: float
    hinted: bool = False
    advance: dict[str, float] = field(default_factory=dict)
    _cache: dict[tuple[str, int], Glyph] = field(default_factory=dict)
    _kerning: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.scale = 1 if self.hinted else OVERSAMPLING
        self.phases = 1 if self.hinted else PHASES
        self.font = self.face.open(self.size * self.scale)
        self.drawable = drawable(self.face)
        for char in ASCII:
            self.advance[char] = self.font.getlength(char) / self.scale
        probe = (self.font.getlength(p) - self.font.getlength(p[0]) - self.font.getlength(p[1]) for p in _KERN_PROBE)
        self.has_kerning = any(abs(kern) > 0.5 for kern in probe)

    def width(self, char: str) -> float:
        """Advance of `char` in pixels."""
        advance = self.advance.get(char)
        if advance is None:
            advance = self.advance[char] = self.font.getlength(char) / self.scale
        return advance

    def kern(self, pair: str) -> float:
        """Extra advance between the two characters of `pair` in pixels (0 for faces without a kern table)."""
        kern = self._kerning.get(pair)
        if kern is None:
            length = self.font.getlength
            kern = self._kerning[pair] = (length(pair) - length(pair[0]) - length(pair[1])) / self.scale
        return kern

    def measure(self, text: str, tracking: float = 0.0, kerning: bool = False) -> float:
        """Width of `text` in pixels; `tracking` is added after each character."""
        advance = self.advance
        try:
            total = sum([advance[char] for char in text])
        except KeyError:
            total = sum([self.width(char) for char in text])
        if kerning and self.has_kerning:
            total += sum([self.kern(text[i : i + 2]) for i in range(len(text) - 1)])
        return total + tracking * len(text)

    def glyph(self, char: str, phase: int = 0) -> Glyph:
        """The picture of `char` with the pen at `phase`/PHASES pixel."""
        found = self._cache.get((char, phase))
        if found is None:
            found = self._cache[char, phase] = self._draw(char, phase)
        return found

    def _draw(self, char: str, phase: int) -> Glyph:
        scale = self.scale
        left, top, right, bottom = map(int, self.font.getbbox(char, anchor="ls"))
        width, height = right - left, bottom - top
        if width <= 0 or height <= 0:
            return Glyph(np.zeros((0, 0), np.uint8), 0, 0, 0, 0, self.width(char) / 2)
        picture = Image.new("L", (width, height))
        ImageDraw.Draw(picture).text((-left, -top), char, fill=255, font=self.font, anchor="ls")
        ink = np.asarray(picture)
        if self.face.embolden:
            ink = _embolden(ink, scale)
            height, width = ink.shape
        middle = (left + width / 2) / scale
        if scale > 1:
            left += phase * scale // self.phases
            x0, y0 = left // scale, top // scale
            dx, dy = left - x0 * scale, top - y0 * scale
            columns, rows = -(-(dx + width) // scale), -(-(dy + height) // scale)
            padded = np.zeros((rows * scale, columns * scale), np.uint16)
            padded[dy : dy + height, dx : dx + width] = ink
            ink = padded.reshape(rows, scale, columns, scale).sum(axis=(1, 3)) // (scale * scale)
            left, top = x0, y0
        coverage = np.ascontiguousarray(ink, dtype=np.uint8)
        return Glyph(coverage, left, top, *coverage.shape, middle)


def _embolden(ink: np.ndarray, scale: int) -> np.ndarray:
    """Coverage thickened to the right by about a thirtieth of an em (one pixel if not oversampled)."""
    extra = max(1, scale // 2)
    wide = np.zeros((ink.shape[0], ink.shape[1] + extra), ink.dtype)
    for shift in range(extra + 1):
        part = wide[:, shift : shift + ink.shape[1]]
        np.maximum(part, ink, out=part)
    return wide


@lru_cache(maxsize=1024)
def glyphs(face: Face, size: float, hinted: bool = False) -> Glyphs:
    """The glyph store of (face, size, hinted), kept for the process."""
    return Glyphs(face, size, hinted)
