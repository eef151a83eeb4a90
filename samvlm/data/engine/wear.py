"""What happens to a printed table before somebody parses it: scanner, fax, camera, JPEG, a bad download.

Works on the picture at its own resolution, as life does; small print is spared what would make it unreadable.
"""

import numpy as np
from PIL import Image, ImageFilter

from ..synth.damage import jpeg, move, relow, skew_matrix, speckle
from ..synth.dice import Dice

KINDS = {"gain": 2.0, "jpeg": 1.5, "scan": 2.0, "photo": 1.2, "fax": 0.8, "low": 1.0}
"""Ways of wear and how often each is drawn."""


def worn(
    dice: Dice, image: Image.Image, centres: np.ndarray, em: float, damage: float
) -> tuple[Image.Image, np.ndarray, str]:
    """`image` (RGB) and its centres after one way of wear with probability `damage`, and its name ("" for none).

    Args:
        em: font size in pixels; 0 where unknown.
    """
    if not dice.chance(damage):
        return image, centres, ""
    kind = dice.weighted(KINDS)
    small = 0 < em < 13
    if kind == "gain":
        return gain(dice, image), centres, kind
    if kind == "jpeg":
        return jpeg(dice, image), centres, kind
    if kind == "low":
        return (jpeg(dice, image) if small else relow(dice, image)), centres, kind
    if kind == "scan":
        image, centres = skew(dice, image, centres, 0.4 * em)
        return scan(dice, image, small), centres, kind
    if kind == "fax" and not small:
        image, centres = skew(dice, image, centres, 0.4 * em)
        return fax(dice, image), centres, kind
    image, centres = perspective(dice, image, centres, 0.4 * em)
    return camera(dice, image, small), centres, "photo"


def gain(dice: Dice, image: Image.Image) -> Image.Image:
    """Bolder or lighter strokes, and text that is not quite black."""
    gamma = 2.0 ** dice.between(-0.8, 0.9)
    low = dice.integer(0, 70)
    return image.point([round(low + (255 - low) * (value / 255) ** gamma) for value in range(256)] * 3)


def skew(dice: Dice, image: Image.Image, centres: np.ndarray, edge: float) -> tuple[Image.Image, np.ndarray]:
    """Laid on the glass a little askew; left as it is where text would fall off the edge."""
    matrix = skew_matrix(dice, *image.size)
    moved = move(centres, matrix)
    if not inside(moved, image.size, edge):
        return image, centres
    return image.transform(
        image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC, fillcolor="white"
    ), moved


def scan(dice: Dice, image: Image.Image, small: bool) -> Image.Image:
    """A flatbed scanner: soft, a little noisy, paper not white; the shadow of the spine now and then."""
    image = image.filter(ImageFilter.GaussianBlur(dice.between(0.2, 0.45 if small else 0.9)))
    ink, paper = dice.integer(0, 80), dice.integer(215, 255)
    pixels = np.asarray(image.convert("L") if dice.chance(0.7) else image).astype(np.float32)
    pixels = ink + (paper - ink) * pixels / 255
    if dice.chance(0.25):
        fall = np.linspace(0, 1, image.width, dtype=np.float32) ** dice.between(3, 8) * dice.between(15, 60)
        fall = fall if dice.chance(0.5) else fall[::-1]
        pixels = pixels - (fall[None, :, None] if pixels.ndim == 3 else fall[None])
    pixels = speckle(dice, pixels.clip(0, 255).astype(np.uint8))
    image = Image.fromarray(pixels).convert("RGB")
    return jpeg(dice, image) if dice.chance(0.4) else image


def fax(dice: Dice, image: Image.Image) -> Image.Image:
    """Black and white at a low resolution, with specks and broken lines."""
    pixels = speckle(dice, np.asarray(image.convert("L")))
    threshold = dice.integer(120, 205)
    black = pixels < threshold
    random = np.random.default_rng(dice.integer(0, 2**31))  # one draw of the dice for all specks
    specks = random.random(black.shape)
    black = (black & (specks > dice.between(0, 0.02))) | (specks > 1 - dice.between(0, 0.002))
    for _ in range(dice.integer(0, 2)):
        row = dice.integer(0, image.height - 1)
        black[row] = np.roll(black[row], dice.integer(-3, 3))  # a line that slipped
    return Image.fromarray(np.where(black, 0, 255).astype(np.uint8)).convert("RGB")


def perspective(
    dice: Dice, image: Image.Image, centres: np.ndarray, edge: float
) -> tuple[Image.Image, np.ndarray]:
    """Seen by a camera that is not quite above the page."""
    width, height = image.size
    reach = min(0.03 * min(width, height), 14.0)
    corners = np.array(((0, 0), (width, 0), (width, height), (0, height)), float)
    seen = corners + [(dice.between(-reach, reach), dice.between(-reach, reach)) for _ in range(4)]
    matrix = homography(corners, seen)  # pixel of the result -> pixel of the page
    points = np.c_[centres.astype(float), np.ones(len(centres))] @ np.linalg.inv(matrix).T
    moved = (points[:, :2] / points[:, 2:]).astype(np.float32)
    if not inside(moved, image.size, edge):
        return image, centres
    table = dice.integer(60, 235)
    coefficients = tuple((matrix / matrix[2, 2]).flatten()[:8])
    image = image.transform(
        image.size,
        Image.Transform.PERSPECTIVE,
        coefficients,
        Image.Resampling.BICUBIC,
        fillcolor=(table,) * 3,
    )
    return image, moved


def homography(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The 3 x 3 matrix that takes four points, (4, 2), to four others."""
    rows, right = [], []
    for (x, y), (u, v) in zip(source, target, strict=True):
        rows += [(x, y, 1, 0, 0, 0, -u * x, -u * y), (0, 0, 0, x, y, 1, -v * x, -v * y)]
        right += [u, v]
    return np.append(np.linalg.solve(np.array(rows), np.array(right)), 1.0).reshape(3, 3)


def camera(dice: Dice, image: Image.Image, small: bool) -> Image.Image:
    """Uneven light of some colour, a little blur, noise and JPEG."""
    width, height = image.size
    across = np.linspace(-1, 1, width, dtype=np.float32)[None, :, None] * dice.between(-0.22, 0.22)
    down = np.linspace(-1, 1, height, dtype=np.float32)[:, None, None] * dice.between(-0.22, 0.22)
    tint = np.array([dice.between(0.93, 1.0) for _ in range(3)], np.float32)
    image = image.filter(ImageFilter.GaussianBlur(dice.between(0.1, 0.35 if small else 0.9)))
    ink = dice.integer(10, 70)
    pixels = ink + np.asarray(image, dtype=np.float32) * (255 - ink) / 255
    pixels = pixels * (dice.between(0.75, 1.0) * tint) * (1 + across + down)
    return jpeg(dice, Image.fromarray(speckle(dice, pixels.clip(0, 255).astype(np.uint8))))


def inside(points: np.ndarray, size: tuple[int, int], edge: float) -> bool:
    """Whether all points lie on the picture, at least `edge` pixels from its rim."""
    return bool((points > edge).all() and (points < np.array(size) - edge).all())
