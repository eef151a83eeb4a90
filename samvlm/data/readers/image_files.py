"""The image files that annotations name: found below given folders, never outside them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

SUFFIXES = (".jpg", ".png", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif")


def find_image(name: object, folders: Iterable[Path]) -> Path:
    """Return the first file of this relative path in one of the folders.

    Raises ValueError if it is no relative path, leads out of the folder, or is in none of them.
    """
    folders = list(folders)
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        raise ValueError(f"the image is {name!r}; a path is needed")
    if "://" in name[:10] or name.startswith("data:"):
        raise ValueError(f"the image {name[:60]!r} is no file; download it and name the file")
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or parts[0] == "/" or ".." in parts or ":" in parts[0]:
        raise ValueError(f"the image path {name!r} leads out of the data set; a relative path is needed")
    for folder in folders:
        if (found := folder.joinpath(*parts)).is_file():
            return found
    places = " or ".join(str(folder) for folder in folders)
    raise ValueError(f"no image {name!r} in {places}; unpack the images there")


def image_of(stem: str, folders: Iterable[Path]) -> Path:
    """Return the image of this name without its suffix. Raises ValueError as `find_image`."""
    folders = list(folders)
    for suffix in SUFFIXES:
        for folder in folders:
            if (found := folder / (stem + suffix)).is_file():
                return found
    return find_image(stem + SUFFIXES[0], folders)
