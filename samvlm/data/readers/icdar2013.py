"""ICDAR-2013 table competition (Göbel et al., ICDAR 2013): tables of EU and US government documents.

    eu-002.pdf            the document; also in competition-dataset-eu/, eu-dataset/, us-gov-dataset/ …
    eu-002-str.xml        <document filename="…"> of <table id="1"> of <region id="1" page="1" col-increment="0"
                          row-increment="0"> of <cell id="1" start-row="0" start-col="1" end-col="3"> with
                          <bounding-box x1="316" y1="533" x2="441" y2="543"/> and <content>
    eu-002-reg.xml        the regions' bounding boxes

Coordinates are PDF points from the bottom left; rows and columns count from 0, ends included, one left out is the
start; a region's increments are added to them, as the competition's own tools do (us-019 counts from -1 with an
increment of 1). Empty cells are left out; there are no headers. No explicit licence. Each region gives an item, its
part of the page drawn: a table over several pages or columns is several pictures, each with rows from 0.

Quirks of the original files: broken coordinates (x1="26ß": the cell has no box then), `col-end` for `end-col`, rows
that count from -1 all the same (they are counted from 0), an end before its start and cells that overlap (such
regions are rejected).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lxml import etree

from ..pdf import PageView, page_view
from .items import Item, Rejected, Stream
from .page_cut import Cut, cut_out
from .truth import Box, Range, table_of, truth
from .xml_files import read_xml, text_of

LICENCE = "ICDAR-2013 competition data, no explicit licence; government documents"
MARGIN = 4.0  # points around a region

Regions = dict[tuple[int, int], etree._Element]  # by number of the table and of the region, from 1


class _Region(NamedTuple):
    """A region of a table, with what its document needs to be read once."""

    file: Path
    name: str  # of the item
    first: bool  # of its table
    element: etree._Element
    marked: etree._Element | None  # the same region in -reg.xml
    views: dict[int, PageView]  # pages measured so far


def read_icdar2013(path: Path, split: str | None = None, dpi: float = 144) -> Iterator[Item | Rejected]:
    """Read a folder, its sub-folders too, or one -str.xml; regions are drawn at `dpi`.

    The competition's own folders are the split "test", the practice sets "train"; elsewhere there is none. Raises
    ValueError if there is no -str.xml.
    """
    files = sorted(path.rglob("*-str.xml")) if path.is_dir() else [path]
    if not files or not files[0].name.endswith("-str.xml") or not files[0].is_file():
        raise ValueError(f"{path}: no *-str.xml there; give the folder of the PDF and XML files")
    if split is not None:
        files = [file for file in files if split_of(file) == split]
    entries = ((where, region) for file in files for where, region in _regions(file))
    return Stream(entries, functools.partial(_item, dpi=dpi))


def split_of(file: Path) -> str | None:
    """Return "test" below a competition folder, "train" below a practice set, else None."""
    for parent in file.parents:
        if parent.name.startswith("competition-dataset"):
            return "test"
        if parent.name in ("eu-dataset", "us-gov-dataset", "practice-dataset"):
            return "train"
    return None


def _regions(file: Path) -> Iterator[tuple[str, _Region | Rejected]]:
    """The regions of a document."""
    stem = file.name.removesuffix("-str.xml")
    try:
        found = _numbered(read_xml(file))
        if not found:
            raise ValueError("no <region> of a <table>; is it a structure file of the competition?")
    except ValueError as error:
        yield str(file), Rejected(str(file), str(error))
        return
    try:
        marked = _numbered(read_xml(file.with_name(stem + "-reg.xml")))
    except ValueError:
        marked = {}  # the cells tell where a region lies, if less exactly
    views: dict[int, PageView] = {}
    for (table, number), element in found.items():
        several = (table, 2) in found
        name = f"{stem}_t{table}" + (f"_r{number}" if several else "")
        where = f"{file}: table {table}" + (f", region {number}" if several else "")
        yield where, _Region(file, name, number == 1, element, marked.get((table, number)), views)


def _numbered(root: etree._Element) -> Regions:
    return {
        (table, number): region
        for table, element in enumerate(root.iter("table"), 1)
        for number, region in enumerate(element.iter("region"), 1)
    }


def _item(region: _Region, dpi: float) -> Item:
    page = _number(region.element, "page")
    if page is None or page < 1:
        raise ValueError(f"the region is on page {region.element.get('page')!r}; pages count from 1")
    if page not in region.views:
        pdf = region.file.with_name(region.file.name.removesuffix("-str.xml") + ".pdf")
        region.views[page] = page_view(pdf, page - 1, dpi=dpi)
    view = region.views[page]
    cells = list(region.element.iter("cell"))
    boxes = [_box(cell.find("bounding-box")) for cell in cells]
    given = [box for box in boxes if box]
    own = _box(region.marked.find("bounding-box")) if region.marked is not None else None
    if own is None and not given:
        raise ValueError("neither the region nor a cell of it has a bounding box")
    cut = cut_out(view, own or _around(given), MARGIN)
    places = [_place(cell) for cell in cells]
    steps = [_number(region.element, f"{kind}-increment") or 0 for kind in ("row", "col")]
    if not region.first:  # its rows may go on from the region before
        steps = [-min((place[at] for place in places), default=0) for at in (0, 2)]
    ranges, lost = [], 0
    for cell, box, (top, bottom, left, right) in zip(cells, boxes, places, strict=True):
        moved = _inside(cut, box) if box else None
        lost += moved is None
        place = (top + steps[0], bottom + steps[0], left + steps[1], right + steps[1])
        ranges.append(Range(text_of(cell.find("content")), *place, moved))
    table = table_of(ranges, from_first=True)
    if lost:
        table.repairs.append(f"{lost} cells without a box that can be used")
    target, extra = truth(table)
    return Item(
        id=region.name,
        image=cut,
        task="table",
        target=target,
        split=split_of(region.file),
        source="icdar2013",
        licence=LICENCE,
        extra=extra | {"page": page},
    )


def _place(cell: etree._Element) -> list[int]:
    """First and last row, first and last column of a cell."""
    place = []
    for kind in ("row", "col"):
        start = _number(cell, f"start-{kind}", f"{kind}-start")
        end = _number(cell, f"end-{kind}", f"{kind}-end")
        if start is None:
            raise ValueError(f"the cell {text_of(cell.find('content'))!r} has no start-{kind}")
        place += [start, start if end is None else end]
    return place


def _number(element: etree._Element, *names: str) -> int | None:
    """The whole number of the first of these attributes that is there. Raises ValueError if it is none."""
    for name in names:
        if (text := element.get(name)) is not None:
            try:
                return int(text)
            except ValueError:
                raise ValueError(f"{name}={text!r} of a <{element.tag}> is no whole number") from None
    return None


def _box(element: etree._Element | None) -> Box | None:
    """x0, y0, x1, y1 in points, y up; None if it is missing or broken."""
    try:
        x0, y0, x1, y1 = (float(element.get(name)) for name in ("x1", "y1", "x2", "y2"))
    except (AttributeError, TypeError, ValueError):
        return None
    box = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
    return box if all(abs(edge) < 1e6 for edge in box) else None


def _around(boxes: list[Box]) -> Box:
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    return min(x0), min(y0), max(x1), max(y1)


def _inside(cut: Cut, box: Box) -> Box | None:
    """The box in the picture, cut to it; None if nothing of it is left."""
    x0, y0, x1, y1 = cut.to_pixels(box)
    width, height = cut.box[2] - cut.box[0], cut.box[3] - cut.box[1]
    x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None
