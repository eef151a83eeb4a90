"""Glyph pictures by face and size, drawn once and kept; text is laid out by adding up advances."""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from .characters import ASCII
from .fonts import Face

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
    cache: dict[tuple[str, int], Glyph] = field(default_factory=dict)
    _kerning: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.scale = 1 if self.hinted else OVERSAMPLING
        self.phases = 1 if self.hinted else PHASES
        self.font = self.face.open(self.size * self.scale)
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
        if (char, phase) not in self.cache:
            self._draw(char)
        return self.cache[char, phase]

    def _draw(self, char: str) -> None:
        """Draw `char` on a scratch image with whole-pixel room around the pen, and cut out every phase of it."""
        scale = self.scale
        room = scale * (int(self.size) + 4)  # left of the pen and above the baseline
        picture = Image.new("L", (3 * room, 2 * room))
        ImageDraw.Draw(picture).text((room, room), char, fill=255, font=self.font, anchor="ls")
        if self.face.embolden:
            picture = _embolden(picture, max(1, scale // 2))
        box = picture.getbbox()
        if box is None:
            for phase in range(self.phases):
                self.cache[char, phase] = Glyph(np.zeros((0, 0), np.uint8), 0, 0, 0, 0, self.width(char) / 2)
            return
        middle = ((box[0] + box[2]) / 2 - room) / scale
        for phase in range(self.phases):
            shift = phase * scale // self.phases  # the cut starts this much further left
            left, top = (box[0] - room + shift) // scale, (box[1] - room) // scale
            right, bottom = -(-(box[2] - room + shift) // scale), -(-(box[3] - room) // scale)
            cut = (room - shift + left * scale, room + top * scale, room - shift + right * scale, room + bottom * scale)
            coverage = np.asarray(picture.reduce(scale, cut))
            self.cache[char, phase] = Glyph(coverage, left, top, *coverage.shape, middle)


def _embolden(picture: Image.Image, extra: int) -> Image.Image:
    """Strokes thickened to the right by `extra` pixels."""
    for _ in range(extra):
        picture = ImageChops.lighter(picture, ImageChops.offset(picture, 1, 0))
    return picture


@lru_cache(maxsize=1024)
def glyphs(face: Face, size: float, hinted: bool = False) -> Glyphs:
    """The glyph store of (face, size, hinted), kept for the process."""
    return Glyphs(face, size, hinted)
