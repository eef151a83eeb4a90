"""PubTables-1M's structure set (Smock et al., CVPR 2022) and FinTabNet.c (arXiv 2303.00716), of one layout.

    images/PMC1064074_table_0.jpg          the crop of a table, with some of the page around it
    train/ val/ test/ PMC1064074_table_0.xml   PASCAL VOC: <object> of <name> and <bndbox>, in pixels of the crop
    words/PMC1064074_table_0_words.json    [{"bbox": […], "text", "flags", "span_num", "line_num", "block_num"}]

The folders may keep the archives' names (PubTables-1M-Structure_Annotations_Train, …): each is known by what is in
it. Classes: table, table column, table row, table column header, table projected row header (here: a section row) and
table spanning cell. Both CDLA-Permissive-2.0. Quirks: coordinates are fractions of pixels; the words of text outside
the table stand in the words files too; there are words files without a table.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from lxml import etree

from .boxed_grid import CLASSES, COLUMN, ROW, build_table, read_words
from .image_files import SUFFIXES, image_of
from .items import Item, Rejected, Stream, split_named
from .json_list import read_json
from .truth import Box, truth
from .xml_files import number_of, read_xml, text_of

LICENCE = "CDLA-Permissive-2.0"
WORDS = "_words.json"
_PROBED = 20  # annotation files that are looked at to tell the kind of a folder


def read_pubtables(
    path: Path, split: str | None = None, words: str | Path | None = None
) -> Iterator[Item | Rejected]:
    """Read the folder of images, annotations and words. Raises ValueError if one of them is not in it.

    words: the folder of the words files, if it lies elsewhere.
    """
    return _read(path, split, words, "pubtables-1m")


def read_fintabnet_c(
    path: Path, split: str | None = None, words: str | Path | None = None
) -> Iterator[Item | Rejected]:
    """Read FinTabNet.c as `read_pubtables` reads PubTables-1M."""
    return _read(path, split, words, "fintabnet.c")


def _read(path: Path, split: str | None, words: str | Path | None, source: str) -> Stream[Path]:
    expected = f"{path}: expected a folder with train/, val/ or test/ of .xml, images/ and words/"
    if not path.is_dir():
        raise ValueError(f"{expected}; it is no folder")
    folders = [path, *sorted(entry for entry in path.iterdir() if entry.is_dir())]
    annotations = [folder for folder in folders if _holds(folder, (".xml",))]
    images = [folder for folder in folders if _holds(folder, SUFFIXES)]
    texts = [Path(words)] if words is not None else folders
    texts = [folder for folder in texts if _holds(folder, (WORDS,))]
    for what, found in (
        ("annotations (.xml)", annotations),
        ("images", images),
        (f"words (*{WORDS})", texts),
    ):
        if not found:
            raise ValueError(f"{expected}; there are no {what} in it")
    _check_kind(annotations[0], expected)

    def read(file: Path) -> Item | None:
        own = split_of(file.parent.name)
        if split is not None and own != split:
            return None
        boxes = read_boxes(read_xml(file))
        image = image_of(file.stem, images)
        name = file.stem + WORDS
        spoken = next((folder / name for folder in texts if (folder / name).is_file()), None)
        if spoken is None:
            raise ValueError(f"no {name}; unpack the words beside the images")
        table = build_table(boxes, read_words(read_json(spoken)))
        target, extra = truth(table)
        return Item(
            id=file.stem,
            image=image,
            task="table",
            target=target,
            split=own,
            source=source,
            licence=LICENCE,
            extra=extra,
        )

    files = [(folder, _names(folder)) for folder in annotations]
    entries = ((str(folder / name), folder / name) for folder, names in files for name in names)
    return Stream(entries, read, lambda: sum(len(names) for _, names in files))


def read_boxes(root: etree._Element) -> dict[str, list[Box]]:
    """Return the boxes by class of a PASCAL VOC annotation. Raises ValueError for a broken box or a foreign class."""
    boxes: dict[str, list[Box]] = {}
    for entry in root.iter("object"):
        name, box = text_of(entry.find("name")), entry.find("bndbox")
        if name not in CLASSES:
            raise ValueError(f"the class {name!r} is none of {', '.join(CLASSES)}")
        if box is None:
            raise ValueError(f"a {name} has no <bndbox>")
        x0, y0, x1, y1 = (number_of(box, edge) for edge in ("xmin", "ymin", "xmax", "ymax"))
        if x1 <= x0 or y1 <= y0:
            raise ValueError(f"the box {x0:g}, {y0:g}, {x1:g}, {y1:g} of a {name} is empty or turned over")
        boxes.setdefault(name, []).append((x0, y0, x1, y1))
    return boxes


def split_of(folder: str) -> str | None:
    """Return "train", "val" or "test" if a folder's name says so (Structure_Annotations_Train), else None."""
    return split_named(*folder.replace("-", "_").split("_"))


def _holds(folder: Path, suffixes: tuple[str, ...]) -> bool:
    """Whether a folder has a file of one of these endings; stops at the first."""
    if not folder.is_dir():
        return False
    with os.scandir(folder) as entries:
        return any(entry.name.lower().endswith(suffixes) and entry.is_file() for entry in entries)


def _names(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.name.endswith(".xml"))


def _check_kind(folder: Path, expected: str) -> None:
    """Raise ValueError if the annotations that can be read are not of rows and columns."""
    for name in _names(folder)[:_PROBED]:
        try:
            found = {text_of(entry.find("name")) for entry in read_xml(folder / name).iter("object")}
        except ValueError:
            continue  # told when its turn comes
        if not found & {ROW, COLUMN}:
            seen = ", ".join(sorted(found)[:3]) or "nothing"
            raise ValueError(f"{expected}; {folder / name} marks {seen}, no rows and columns of a table")
        return
