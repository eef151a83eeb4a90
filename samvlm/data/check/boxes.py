"""What is wrong with the boxes of a table's cells: not boxes, upside down, out of order, outside the image."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from ..tables import Table

_FAR = 1e9  # what is beyond, and what is no number, is no place in an image
SLACK = 0.01  # of the image's longer side, and 2 pixels: what a box may stand out of it


def box_faults(boxes: Any, table: Table, size: tuple[int, int] | None) -> Iterator[tuple[str, str]]:
    """Yield (code of a kind of finding, what was seen).

    Args:
        boxes: the field "boxes" of a record: for each cell in reading order [x0, y0, x1, y1] in pixels of the image,
            y down, or None.
        table: the truth whose cells they belong to.
        size: width and height of the image; None where it cannot be read.
    """
    if not isinstance(boxes, list):
        yield "boxes_broken", f"'boxes' is {str(boxes)[:60]!r}, no list"
        return
    broken = [(number, box) for number, box in enumerate(boxes) if box is not None and not is_box(box)]
    if broken:
        number, box = broken[0]
        yield "boxes_broken", f"box {number} is {str(box)[:80]}" + more(len(broken) - 1)
    kept = [box if box is not None and is_box(box) else None for box in boxes]
    if size is not None:
        slack = 2 + SLACK * max(size)
        outside = [
            (number, box)
            for number, box in enumerate(kept)
            if box and (min(box) < -slack or box[2] > size[0] + slack or box[3] > size[1] + slack)
        ]
        if outside:
            number, box = outside[0]
            seen = f"box {number} is {box}, the image {size[0]} x {size[1]}"
            yield "boxes_outside", seen + more(len(outside) - 1)
    if len(kept) != len(table.cells):
        yield "boxes_count", f"{len(kept)} boxes, {len(table.cells)} cells"
        return
    share = _upward_share(kept, table)
    if share is not None and share > 0.75:
        yield "boxes_flipped", f"{share:.0%} of the rows stand above the row before them"
    elif share is not None and share > 0.25:
        yield "boxes_order", f"{share:.0%} of the rows stand above the row before them"


def more(count: int) -> str:
    """Say that there are `count` more cases, if there are."""
    return f" (and {count} more)" if count > 0 else ""


def is_box(box: Any) -> bool:
    """Whether it is [x0, y0, x1, y1] with x0 <= x1 and y0 <= y1, in numbers."""
    return (
        isinstance(box, list | tuple)
        and len(box) == 4
        and all(type(value) in (int, float) and -_FAR < value < _FAR for value in box)
        and box[0] <= box[2]
        and box[1] <= box[3]
    )


def _upward_share(boxes: list[Any], table: Table) -> float | None:
    """The share of the rows with boxes that lie above the row before them; None if there is but one."""
    tops: dict[int, list[float]] = {}
    for cell, box in zip(table.cells, boxes, strict=True):
        if box and cell.rowspan == 1:
            tops.setdefault(cell.row, []).append((box[1] + box[3]) / 2)
    centres = [sum(values) / len(values) for _, values in sorted(tops.items())]
    steps = [after < before for before, after in pairwise(centres)]
    return sum(steps) / len(steps) if steps else None
