"""A part of a PDF page as the image of an Item: drawn when it is wanted, its boxes known before."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor

from PIL import Image

from ..pdf import Box, PageView


@dataclass(frozen=True)
class Cut:
    """A part of a PDF page, drawn when it is called. Raises DocumentError.

    page: the page
    box:  left, top, right, bottom in its pixels
    """

    page: PageView
    box: tuple[int, int, int, int]

    def __call__(self) -> Image.Image:
        """Draw it."""
        return self.page.draw(self.box)

    def to_pixels(self, box: Box) -> list[float]:
        """Return a box of the page (PDF units, y up) in pixels of the part (y down), rounded to 0.01."""
        left, top = self.box[:2]
        x0, y0, x1, y1 = self.page.to_pixels(box)
        return [round(x0 - left, 2), round(y0 - top, 2), round(x1 - left, 2), round(y1 - top, 2)]


def cut_out(page: PageView, box: Box, margin: float) -> Cut:
    """Return the part with a box and a margin (PDF units) around it. Raises ValueError if it is off the page."""
    x0, x1 = sorted((box[0], box[2]))
    y0, y1 = sorted((box[1], box[3]))
    left, top, right, bottom = page.to_pixels((x0 - margin, y0 - margin, x1 + margin, y1 + margin))
    edges = (
        max(floor(left), 0),
        max(floor(top), 0),
        min(ceil(right), page.size[0]),
        min(ceil(bottom), page.size[1]),
    )
    if edges[0] >= edges[2] or edges[1] >= edges[3]:
        raise ValueError(f"the table's box {list(box)} lies outside the page")
    return Cut(page, edges)
