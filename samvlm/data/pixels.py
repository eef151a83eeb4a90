"""From the pixels that a file stores to what a person would see: upright, RGB, 8 bits, on white."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

_UPRIGHT = {  # EXIF orientation -> what turns the stored pixels upright (EXIF 2.32, section 4.6.4)
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION_TAG, _PHOTOMETRIC_TAG = 274, 262


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """Turn and mirror the image as its EXIF orientation (1 to 8) says; other values leave it as it is."""
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def upright_size(path: str | Path) -> tuple[int, int]:
    """Return width and height of an upright image, from the file's header alone. Raises what Pillow raises."""
    with Image.open(path) as image:
        width, height = image.size
        late = image.format == "PNG" and "exif" not in image.info  # to look further would decode all pixels
        turned = not late and image.getexif().get(_ORIENTATION_TAG, 1) >= 5
    return (height, width) if turned else (width, height)


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert a decoded image of any mode to RGB, so that what a person would see stays visible.

    Returns a new image. Raises ValueError for float pixels that are not finite.
    """
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _to_8_bits(image).convert("RGB")
    if image.has_transparency_data:
        return _on_white(image.convert("RGBA"))
    if image.mode == "LAB":  # Pillow converts it only through a colour profile
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    return image.copy() if image.mode == "RGB" else image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    """Lay an RGBA image on white; on black if it would vanish there (white text on transparency)."""
    alpha = image.getchannel("A")
    low, high = alpha.getextrema()
    if high == 0:  # nothing would be seen at all: an unused channel, as some TIFF writers leave it
        return image.convert("RGB")
    page = Image.new("RGB", image.size, "white")
    page.paste(image, mask=alpha)
    if low < 255 and all(darkest == 255 for darkest, _ in page.getextrema()):
        page = Image.new("RGB", image.size, "black")
        page.paste(image, mask=alpha)
    return page


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Scale 16-bit, 32-bit and float grey to 8 bits (Pillow's own conversion clips at 255: a white page).

    Full scale is the smallest of 8, 10, 12, 14 or 16 bits that holds the brightest pixel, or 1.0 for
    floats up to 1; other ranges are stretched from the darkest to the brightest pixel.
    """
    grey = np.asarray(image)
    if grey.dtype.kind == "f" and not np.isfinite(grey).all():
        raise ValueError("has pixels that are not numbers (NaN or infinite); export it with 8 bits a channel")
    low, high = float(grey.min()), float(grey.max())
    if low < 0 or high > 65535:
        base, full = low, (high - low) or 1.0
    elif grey.dtype.kind == "f" and high <= 1:
        base, full = 0.0, 1.0
    else:
        base, full = 0.0, next(f for f in (255.0, 1023.0, 4095.0, 16383.0, 65535.0) if high <= f)
    scaled = np.rint((grey.astype(np.float32) - base) * (255 / full)).clip(0, 255).astype(np.uint8)
    tags = getattr(image, "tag_v2", {})
    if image.mode != "F" and tags.get(_PHOTOMETRIC_TAG) == 0:  # white is zero: Pillow inverts 8 bits only
        scaled = 255 - scaled
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        scaled[grey == transparent] = 255
    return Image.fromarray(scaled)
