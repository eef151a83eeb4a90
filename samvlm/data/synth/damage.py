"""What happens to a page on its way to a reader: low resolution, skew, blur, noise, JPEG, contrast."""

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageFilter

from .dice import Dice
from .page import Page

_TILE = 1024
Matrix = tuple[float, float, float, float, float, float]


@lru_cache(maxsize=1)
def _noise_tile() -> np.ndarray:
    """Gaussian noise with standard deviation 64, (_TILE, _TILE) int16; crops of it serve every sample."""
    noise = np.random.default_rng(20130825).standard_normal((_TILE, _TILE), np.float32)
    return (noise * 64).round().astype(np.int16)


def ink_gain(dice: Dice, ink: np.ndarray) -> None:
    """Make strokes fatter or thinner in place, by a gamma on the coverage."""
    gamma = 2.0 ** dice.between(-0.9, 0.7)
    ramp = (255 * (np.arange(256) / 255) ** gamma).round().astype(np.uint8)
    np.take(ramp, ink, out=ink)


def relow(dice: Dice, image: Image.Image) -> Image.Image:
    """The image as if it had been stored at a lower resolution and enlarged again."""
    factor = dice.between(1.2, 1.75)
    small = (max(1, round(image.width / factor)), max(1, round(image.height / factor)))
    down = dice.choice((Image.Resampling.BOX, Image.Resampling.HAMMING, Image.Resampling.BICUBIC))
    up = dice.choice(
        (
            Image.Resampling.BICUBIC,
            Image.Resampling.BICUBIC,
            Image.Resampling.BILINEAR,
            Image.Resampling.LANCZOS,
        )
    )
    return image.resize(small, down).resize(image.size, up)


def skew_matrix(dice: Dice, width: int, height: int) -> Matrix:
    """A slight rotation, shear and scale about the middle: output pixel -> input pixel, as Pillow wants it."""
    limit = min(0.02, 5.0 / max(width, height))  # the corners move by a few pixels at most
    angle, shear = dice.between(-limit, limit), dice.between(-limit, limit) / 2
    scale_x, scale_y = 1 + dice.between(-0.01, 0.02), 1 + dice.between(-0.01, 0.02)
    a, b = scale_x, angle + shear
    d, e = -angle, scale_y
    mid_x, mid_y = width / 2, height / 2
    return (a, b, mid_x - a * mid_x - b * mid_y, d, e, mid_y - d * mid_x - e * mid_y)


def move(centres: np.ndarray, matrix: Matrix) -> np.ndarray:
    """Centres (n, 2) after a transform with `matrix` (which maps the other way)."""
    a, b, c, d, e, f = matrix
    inverse = np.linalg.inv(np.array(((a, b), (d, e))))
    return ((centres - np.array((c, f))) @ inverse.T).astype(np.float32)


def speckle(dice: Dice, pixels: np.ndarray) -> np.ndarray:
    """Grey noise of a scanner on (H, W) or (H, W, 3) uint8."""
    height, width = pixels.shape[:2]
    tile = _noise_tile()
    reps = (-(-height // _TILE), -(-width // _TILE))
    if reps != (1, 1):
        tile = np.tile(tile, reps)
    y, x = dice.integer(0, tile.shape[0] - height), dice.integer(0, tile.shape[1] - width)
    noise = tile[y : y + height, x : x + width] * dice.integer(1, 14) // 64
    if pixels.ndim == 3:
        noise = noise[..., None]
    return (pixels + noise).clip(0, 255).astype(np.uint8)


def jpeg(dice: Dice, image: Image.Image) -> Image.Image:
    """The image after JPEG compression of some quality."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=dice.integer(35, 92))
    return Image.open(buffer).convert("RGB")


def finish(dice: Dice, page: Page, damage: float = 1.0) -> tuple[Image.Image, np.ndarray, list[str]]:
    """The finished RGB image of `page`, the characters' centres in it and the names of what was done.

    `damage` in [0, 1] scales how often each kind of damage is done; at 0 the page comes out clean.
    """
    done: list[str] = []

    def does(name: str, probability: float) -> bool:
        happens = dice.chance(probability * damage)
        if happens:
            done.append(name)
        return happens

    if does("gain", 0.5):
        ink_gain(dice, page.ink)
    image = page.composed()
    _, centres, _ = page.truth()
    if does("relow", 0.42):
        image = relow(dice, image)
    if does("skew", 0.2) and len(centres):
        matrix = skew_matrix(dice, *image.size)
        moved = move(centres, matrix)
        inside = (moved > 2).all() and (moved < np.array(image.size) - 2).all()
        if inside:  # never push text off the page
            centres = moved
            paper = page.paper if image.mode == "RGB" else page.paper[0]
            filtering = dice.choice((Image.Resampling.BICUBIC, Image.Resampling.BILINEAR))
            image = image.transform(image.size, Image.Transform.AFFINE, matrix, filtering, fillcolor=paper)
        else:
            done.remove("skew")
    if does("blur", 0.15):
        image = image.filter(ImageFilter.GaussianBlur(dice.between(0.3, 0.8)))
    if does("contrast", 0.2):
        low, high = dice.integer(0, 90), dice.integer(190, 255)
        ramp = [round(low + (high - low) * value / 255) for value in range(256)]
        image = image.point(ramp * len(image.getbands()))
    if does("noise", 0.2):
        image = Image.fromarray(speckle(dice, np.asarray(image)))
    if does("jpeg", 0.2):
        image = jpeg(dice, image)
    return image.convert("RGB"), centres, done
