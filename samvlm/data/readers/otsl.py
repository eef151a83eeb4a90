"""The *_OTSL sets (PubTabNet, FinTabNet, PubTables-1M, SynthTabNet; Lysak et al., arXiv 2305.03393), in parquet.

    data/{train,val,test}-00000-of-00049.parquet
        filename, image {"bytes", "path"}, cells [[{"tokens": ["<b>", "A", "</b>"], "bbox": [x0, y0, x1, y1]}, …], …],
        otsl ["fcel", "ecel", "nl", …], html ["<thead>", "<tr>", "<td>", "</td>", …], html_restored, rows, cols;
        in some: imgid, dataset, split, table_bbox

Published by ds4sd (now docling-project) on Hugging Face; the licences are those of the data they come from ("other" on
the cards). The truth is `html` with the texts of `cells`; where there is no html, it is `otsl` with them. Quirks: two-
dimensional spans are filled with `xcel` alone (`C X / X X`, not the paper's `C L / U X`); both are read. About a fifth
of PubTabNet is left out of its set. Boxes are in pixels of the image; a fifth number is the class of the cell.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..otsl import NAMES, ORIGIN_TOKENS
from ..tables import Table
from .items import Item, Rejected, Stream
from .parquet import count_rows, image_bytes, parquet_files, parquet_rows, split_of_file
from .tokens import cell_boxes, cell_html, table_html

LICENCE = "other: that of the data set it is made from"
_COLUMNS = ("filename", "imgid", "dataset", "split", "image", "cells", "otsl", "html", "table_bbox")


def read_otsl(path: Path, split: str | None = None) -> Iterator[Item | Rejected]:
    """Read a .parquet file, or all below a folder. Raises ValueError if there is none, or pyarrow is missing."""
    files = parquet_files(path)
    rows = parquet_rows(files, ("image", "otsl"), _COLUMNS)

    def read(located: tuple[Path, dict[str, Any]]) -> Item | None:
        file, row = located
        part = row.get("split") or split_of_file(file)
        return otsl_item(row, file) if split in (None, part) else None

    return Stream(rows, read, lambda: count_rows(files))


def otsl_item(row: dict[str, Any], file: Path) -> Item:
    """The item of a row and the file that it is in. Raises ValueError, KeyError or TypeError for a row that is wrong."""
    cells = _own_cells(row.get("cells") or [], row["otsl"])
    html = table_html(row["html"], cells) if row.get("html") else otsl_html(row["otsl"], cells)
    extra = {name: row[name] for name in ("imgid", "table_bbox") if row.get(name) is not None}
    return Item(
        id=row.get("filename") or f"{file.stem}-{row.get('imgid')}",
        image=image_bytes(row["image"]),
        task="table",
        target={"html": html},
        split=row.get("split") or split_of_file(file),
        source=row.get("dataset") or "otsl",
        licence=LICENCE,
        extra=extra | {"boxes": cell_boxes(cells)},
    )


def otsl_html(otsl: list[str], cells: list[dict[str, Any]]) -> str:
    """Return the complete HTML of a table given by OTSL names and the content of its cells in reading order.

    Raises ValueError if they do not fit, or merges are no rectangles.
    """
    unknown = sorted({name for name in otsl if name not in NAMES})
    if unknown:
        raise ValueError(f"unknown OTSL {', '.join(unknown)}; expected {', '.join(NAMES)}")
    table = Table.from_otsl("".join(f"<{name}>" for name in otsl))
    if table.repairs:
        raise ValueError(f"the OTSL is broken: {table.repairs[0]}")
    if len(table.cells) != len(cells):
        raise ValueError(f"the OTSL has {len(table.cells)} cells but there are {len(cells)}")
    contents = iter([cell_html(cell["tokens"]) for cell in cells])
    return re.sub(r"<td[^>]*>", lambda match: match[0] + next(contents), table.to_html())


def _own_cells(lines: list[Any], otsl: list[str]) -> list[dict[str, Any]]:
    """Return the cells in reading order, without places that a span only covers, if those are listed too."""
    cells = [cell for line in lines for cell in (line if isinstance(line, list) else [line])]
    places = [f"<{name}>" in ORIGIN_TOKENS for name in otsl if name != "nl"]
    if len(cells) == len(places):
        cells = [cell for cell, own in zip(cells, places, strict=True) if own]
    return cells
