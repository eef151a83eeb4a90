"""Glyph pictures by face and size, drawn once and kept; text is laid out by adding up advances."""

from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from .characters import ASCII
from .fonts import Face

OVERSAMPLING = 4  # unhinted glyphs are drawn this many times larger and averaged, as PDF renderers do
PHASES = 2  # sub-pixel positions an unhinted glyph may start at
_KERN_PROBE = ("AV", "To", "Te", "Ya", "P.", "LT")


class Glyph(NamedTuple):
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
    cache: dict[tuple[str, int], Glyph] = field(default_factory=dict)
    kerning: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.scale = 1 if self.hinted else OVERSAMPLING
        self.phases = 1 if self.hinted else PHASES
        self.font = self.face.open(self.size * self.scale)
        for char in ASCII:
            self.advance[char] = self.font.getlength(char) / self.scale
        probe = (
            self.font.getlength(p) - self.font.getlength(p[0]) - self.font.getlength(p[1])
            for p in _KERN_PROBE
        )
        self.has_kerning = any(abs(kern) > 0.5 for kern in probe)

    def width(self, char: str) -> float:
        """Advance of `char` in pixels."""
        advance = self.advance.get(char)
        if advance is None:
            advance = self.advance[char] = self.font.getlength(char) / self.scale
        return advance

    def kern(self, pair: str) -> float:
        """Extra advance between the two characters of `pair` in pixels (0 for faces without a kern table)."""
        kern = self.kerning.get(pair)
        if kern is None:
            length = self.font.getlength
            kern = self.kerning[pair] = (length(pair) - length(pair[0]) - length(pair[1])) / self.scale
        return kern

    def measure(self, text: str, tracking: float = 0.0, kerning: bool = False) -> float:
        """Width of `text` in pixels; `tracking` is added after each character."""
        try:
            total = sum(map(self.advance.__getitem__, text))
        except KeyError:
            total = sum(map(self.width, text))
        if kerning and self.has_kerning:
            pairs = [first + second for first, second in pairwise(text)]
            try:
                total += sum(map(self.kerning.__getitem__, pairs))
            except KeyError:
                total += sum(map(self.kern, pairs))
        return total + tracking * len(text)

    def glyph(self, char: str, phase: int = 0) -> Glyph:
        """The picture of `char` with the pen at `phase`/PHASES pixel."""
        if (char, phase) not in self.cache:
            self._draw(char)
        return self.cache[char, phase]

    def _draw(self, char: str) -> None:
        """Draw `char` and cut out every phase of it."""
        scale = self.scale
        x0, y0, x1, y1 = (int(edge) for edge in self.font.getbbox(char, anchor="ls"))
        extra = max(1, scale // 2) if self.face.embolden else 0
        # The picture starts a whole number of pixels of the page left of the pen and above the baseline.
        pen, base = scale * (2 - x0 // scale), scale * (1 - y0 // scale)
        picture = Image.new("L", (pen + x1 + extra + 2 * scale, base + y1 + 2 * scale))
        ImageDraw.Draw(picture).text((pen, base), char, fill=255, font=self.font, anchor="ls")
        for _ in range(extra):
            picture = ImageChops.lighter(picture, ImageChops.offset(picture, 1, 0))
        box = picture.getbbox()
        if box is None:
            for phase in range(self.phases):
                self.cache[char, phase] = Glyph(np.zeros((0, 0), np.uint8), 0, 0, 0, 0, self.width(char) / 2)
            return
        middle = ((box[0] + box[2]) / 2 - pen) / scale
        top, bottom = (box[1] - base) // scale, -((base - box[3]) // scale)
        for phase in range(self.phases):
            start = pen - phase * scale // self.phases  # the page's pixels begin this much further left
            left, right = (box[0] - start) // scale, -((start - box[2]) // scale)
            cut = (start + left * scale, base + top * scale, start + right * scale, base + bottom * scale)
            coverage = np.asarray(picture.reduce(scale, cut) if scale > 1 else picture.crop(cut))
            self.cache[char, phase] = Glyph(coverage, left, top, *coverage.shape, middle)


@lru_cache(maxsize=4096)
def glyphs(face: Face, size: float, hinted: bool = False) -> Glyphs:
    """The glyph store of (face, size, hinted), kept for the process."""
    return Glyphs(face, size, hinted)
