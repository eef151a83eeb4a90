"""How tall is the text of an image? From its ink alone, so that pages of any resolution come to one scale."""

import numpy as np

STRIP = 24  # pixels: width of the vertical strips in which bands of ink are measured
SMALLEST, LARGEST = 4, 80  # pixels: bands outside of this are rules, specks and pictures
BAND_TO_EM = 1.35  # measured on drawn tables of 60 families: the median of size / band
CONTACT = (
    0.05  # share of a strip's row: where lines stand tight, a tail that touches the line below has less ink
)


def text_height(image: np.ndarray) -> float | None:
    """Estimate the font size (em) of most of the text of an image.

    The image is cut into vertical strips; in each, every run of rows that hold more than a speck of ink is a band, and the median height
    of the bands is close to the height of capitals and digits. Rules are lines of one band of few pixels, or runs
    across the whole strip, and do not count.

    Args:
        image: (height, width) grey values or (3, height, width) colours in [0, 255].

    Returns:
        Pixels, or None where there is too little ink to tell.
    """
    grey = image.astype(np.float32)
    if grey.ndim == 3:
        grey = grey.mean(0) if grey.shape[0] in (1, 3) else grey.mean(-1)
    height, width = grey.shape
    if height < 8 or width < 8:
        return None
    ink = grey < local_mean(grey, 24) - max(12.0, 0.5 * float(grey.std()))
    heights = []
    for left in range(0, width, STRIP):
        strip = ink[:, left : left + STRIP]
        share = strip.mean(1)
        rows = (share > CONTACT) & (share < 0.9)  # a row of ink from edge to edge is a rule
        edges = np.flatnonzero(np.diff(np.concatenate([[0], rows.astype(np.int8), [0]])))
        bands = edges[1::2] - edges[::2]
        heights.append(bands[(bands >= SMALLEST) & (bands <= LARGEST)])
    bands = np.concatenate(heights)
    if len(bands) < 4:
        return None
    return float(np.median(bands)) * BAND_TO_EM


def local_mean(grey: np.ndarray, radius: int) -> np.ndarray:
    """Mean over squares of 2 * radius + 1 pixels, cut at the edges."""
    height, width = grey.shape
    total = np.zeros((height + 1, width + 1), np.float64)
    total[1:, 1:] = grey.cumsum(0, dtype=np.float64).cumsum(1)
    top, bottom = (
        np.clip(np.arange(height) - radius, 0, None),
        np.clip(np.arange(height) + radius + 1, None, height),
    )
    left, right = (
        np.clip(np.arange(width) - radius, 0, None),
        np.clip(np.arange(width) + radius + 1, None, width),
    )
    area = (bottom - top)[:, None] * (right - left)[None]
    corners = total[bottom][:, right] - total[top][:, right] - total[bottom][:, left] + total[top][:, left]
    return (corners / area).astype(np.float32)
