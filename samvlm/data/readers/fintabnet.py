"""FinTabNet 1.0 (Zheng et al., arXiv 2005.00589): tables of annual reports, cut from the PDF pages.

    FinTabNet_1.0.0_cell_{train,val,test}.jsonl
        {"table_id", "filename": "AAL/2010/page_41.pdf", "split", "bbox": [x0, y0, x1, y1],
         "html": {"cells": […], "structure": {"tokens": […]}}}
    pdf/AAL/2010/page_41.pdf                    one page a file

CDLA-Permissive-1.0. Quirks: boxes are in points, y upwards, counted from the lower left corner of the page's media box
(as microsoft/table-transformer scripts/process_fintabnet.py corrects them), while a page is drawn to its crop box;
`FinTabNet_1.0.0_table_*.jsonl` are for detection and hold no html.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..pdf import Box, PageView, page_view
from .image_files import find_image
from .items import Item, Rejected, Stream, count_lines
from .page_cut import cut_out
from .pubtabnet import LICENCE, find_lines, read_entries, split_of, token_table
from .tokens import read_box

MARGIN = 4.0  # points around the table: the boxes end at the ink


def read_fintabnet(
    path: Path, split: str | None = None, dpi: float = 144, margin: float = MARGIN, workers: int = 1
) -> Iterator[Item | Rejected]:
    """Read a FinTabNet_1.0.0_cell_*.jsonl, or all in a folder.

    dpi:     at which the pages are drawn
    margin:  points of the page that are kept around the table
    workers: threads, each with a process that measures PDF pages
    Raises ValueError if the path is neither.
    """
    files = find_lines(
        path, "FinTabNet_*_cell_*.jsonl*", "a FinTabNet_1.0.0_cell_*.jsonl or the folder of them"
    )
    folder = files[0].parent

    def read(entry: dict[str, Any]) -> Item | Rejected | None:
        name, number, part = entry["filename"], entry["table_id"], split_of(entry)
        if split not in (None, part):
            return None
        if "html" not in entry:
            return Rejected(f"{name}, table {number}", "has no html: for detection; give the _cell_ file")
        target, extra = token_table(entry["html"])
        page = page_view(find_image(name, [folder / "pdf", folder / "pdfs", folder]), 0, dpi=dpi)
        cut = cut_out(page, from_corner(page, read_box(entry["bbox"])), margin)
        extra["boxes"] = [box and cut.to_pixels(from_corner(page, box)) for box in extra["boxes"]]
        return Item(
            id=f"{name.removesuffix('.pdf')}/{number}",
            image=cut,
            task="table",
            target=target,
            split=part,
            source="fintabnet",
            licence=LICENCE,
            extra=extra | {"table_id": number, "page": name},
        )

    return Stream(read_entries(files), read, lambda: count_lines(files), workers)


def from_corner(page: PageView, box: list[float]) -> Box:
    """Return a box that counts from the corner of the media box in the page's own coordinates."""
    x, y = page.origin
    return box[0] + x, box[1] + y, box[2] + x, box[3] + y
