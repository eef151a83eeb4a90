"""The image that belongs to an annotation file by its name, whatever its format."""

from __future__ import annotations

from pathlib import Path

from .items import find_image

SUFFIXES = (".jpg", ".png", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif")


def image_of(root: Path, stem: str, *folders: str) -> Path:
    """Return the first `root/FOLDER/STEM.jpg` (or .png …) that is there; folders are relative to the root.

    Raises ValueError if there is none.
    """
    names = [f"{folder}/{stem}{suffix}" for folder in folders or (".",) for suffix in SUFFIXES]
    return find_image(root, *names)
