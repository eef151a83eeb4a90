"""WTW, "wired tables in the wild" (Long et al., ICCV 2021; github.com/wangwen-whu/WTW-Dataset): photos and scans.

    train/ test/          each with
      images/NAME.jpg     a photo, scan or screenshot with one table or several
      xml/NAME.xml        <object> with <bndbox> of xmin ymin xmax ymax, the corners x1 y1 … x4 y4, tableid,
                          startcol endcol startrow endrow (from 0, ends included)

An older form, which the project's own scripts read, has <tablecell> of x0 y0 x1 y1 and start_col, end_col, start_row,
end_row within each <table>. CC-BY-NC-4.0. There is no text: the target's cells are empty and extra has
"structure_only": true, and "corners", the four corners of each cell, where the tables are turned or curved. Each table
gives an item; of an image with several, its part of the image.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lxml import etree
from PIL import Image

from ..images import open_image
from .image_files import image_of
from .items import Item, Rejected, Stream
from .truth import Box, Range, table_of, truth
from .xml_files import number_of, read_xml

LICENCE = "CC-BY-NC-4.0"
MARGIN = 8  # pixels around the cells of a table that is cut out

Corners = list[float]  # x, y of the first corner, of the second …


class _Table(NamedTuple):
    """The cells of one table of an image."""

    file: Path
    number: str
    alone: bool
    cells: list[etree._Element]


def read_wtw(path: Path, split: str | None = None) -> Iterator[Item | Rejected]:
    """Read the folder of train/ and test/, or one with images/ and xml/. Raises ValueError if it is neither."""
    folders = [folder for folder in (path / "train", path / "test", path) if (folder / "xml").is_dir()]
    wanted = [folder for folder in folders if split is None or folder.name == split]
    if not any(next((folder / "xml").glob("*.xml"), None) for folder in folders):
        raise ValueError(
            f"{path}: no xml/*.xml there; give the folder with train/ and test/, or images/ and xml/"
        )
    files = [file for folder in wanted for file in sorted((folder / "xml").glob("*.xml"))]
    return Stream(((where, table) for file in files for where, table in _tables(file)), _item)


def _tables(file: Path) -> Iterator[tuple[str, _Table | Rejected]]:
    """The tables of an annotation, its cells parted by their table."""
    try:
        root = read_xml(file)
    except ValueError as error:
        yield str(file), Rejected(str(file), str(error))
        return
    tables: dict[str, list[etree._Element]] = {}
    for entry in root.iter("object"):
        if (box := entry.find("bndbox")) is not None:
            number = box.findtext("tableid", "").strip() or entry.findtext("tableid", "").strip() or "0"
            tables.setdefault(number, []).append(box)
    for number, table in enumerate(root.iter("table")):
        if cells := list(table.iter("tablecell")):
            tables[str(number)] = cells
    if not tables:
        yield str(file), Rejected(str(file), "no <object> with <bndbox> and no <tablecell>; is it WTW's?")
    for number, cells in tables.items():
        alone = len(tables) == 1
        yield str(file) if alone else f"{file}: table {number}", _Table(file, number, alone, cells)


def _item(table: _Table) -> Item:
    folder = table.file.parent.parent
    image = image_of(table.file.stem, [folder / "images"])
    corners = [_corners(cell) for cell in table.cells]
    boxes = [_box_of(points) for points in corners]
    whole = _box_of([edge for box in boxes for edge in box])
    left, top = (0, 0) if table.alone else (max(math.floor(edge) - MARGIN, 0) for edge in whole[:2])
    moved = {}
    ranges = []
    for cell, points, box in zip(table.cells, corners, boxes, strict=True):
        rows_and_cols = [
            _whole(cell, name, other)
            for name, other in (
                ("startrow", "start_row"),
                ("endrow", "end_row"),
                ("startcol", "start_col"),
                ("endcol", "end_col"),
            )
        ]
        placed: Box = (box[0] - left, box[1] - top, box[2] - left, box[3] - top)
        moved[id(placed)] = [
            round(value - (top if number % 2 else left), 2) for number, value in enumerate(points)
        ]
        ranges.append(Range("", *rows_and_cols, placed))
    grid = table_of(ranges)
    target, extra = truth(grid)
    extra["structure_only"] = True
    extra["corners"] = [moved.get(id(cell.box)) for cell in grid.cells]
    right, bottom = (math.ceil(edge) + MARGIN for edge in whole[2:])
    return Item(
        id=table.file.stem if table.alone else f"{table.file.stem}_t{table.number}",
        image=image if table.alone else functools.partial(_part, image, (left, top, right, bottom)),
        task="table",
        target=target,
        split=folder.name if folder.name in ("train", "test") else None,
        source="wtw",
        licence=LICENCE,
        extra=extra,
    )


def _part(image: Path, box: tuple[int, int, int, int]) -> Image.Image:
    """Open an image and cut out a part, as far as the image goes."""
    whole = open_image(image)
    return whole.crop((box[0], box[1], min(box[2], whole.width), min(box[3], whole.height)))


def _corners(cell: etree._Element) -> Corners:
    """The corners of a cell: x1 y1 … x4 y4, else the rectangle of xmin … ymax, or of x0 y0 x1 y1."""
    if cell.find("x4") is not None:
        return [number_of(cell, f"{axis}{number}") for number in range(1, 5) for axis in "xy"]
    names = ("xmin", "ymin", "xmax", "ymax") if cell.find("xmin") is not None else ("x0", "y0", "x1", "y1")
    x0, y0, x1, y1 = (number_of(cell, name) for name in names)
    return [x0, y0, x1, y0, x1, y1, x0, y1]


def _box_of(points: Corners) -> Box:
    """The upright rectangle around points."""
    return min(points[::2]), min(points[1::2]), max(points[::2]), max(points[1::2])


def _whole(cell: etree._Element, name: str, other: str) -> int:
    """A whole number in one of two child elements. Raises ValueError if it is none."""
    value = number_of(cell, other if cell.find(name) is None else name)
    if value != int(value):
        raise ValueError(f"<{name}> is {value}; a whole number is needed")
    return int(value)
