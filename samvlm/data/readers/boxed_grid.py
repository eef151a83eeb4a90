"""A table from boxes of its rows, columns and spanning cells, and from words with boxes, as PubTables-1M has it.

The truth of the data is exact, so nothing is guessed: rows and columns are put in order, meet half-way where they do
not touch, and a spanning cell takes the rows and columns of which it covers more than half. Smock et al.,
"PubTables-1M" (arXiv 2110.00061).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from ..cells import Cell
from ..tables import Table
from .truth import Box

ROW, COLUMN = "table row", "table column"
HEADER, SECTION, SPAN = "table column header", "table projected row header", "table spanning cell"
CLASSES = ("table", COLUMN, ROW, HEADER, SECTION, SPAN)
HALF = 0.5


class Word(NamedTuple):
    """A word: its text, its box in pixels, and what it is sorted by within its cell."""

    text: str
    box: Box
    order: tuple[float, ...]


def build_table(boxes: dict[str, list[Box]], words: Sequence[Word]) -> Table:
    """Return the table; each cell has its box in pixels.

    boxes: x0, y0, x1, y1 by class (`CLASSES`). Raises ValueError without rows or columns, and for spanning cells that
    overlap each other or cover no place. Words of which more than half lies outside all rows or columns are left out.
    """
    if not boxes.get(ROW) or not boxes.get(COLUMN):
        raise ValueError(
            f"{len(boxes.get(ROW, []))} rows and {len(boxes.get(COLUMN, []))} columns are no table"
        )
    rows = _edges([(box[1], box[3]) for box in boxes[ROW]])
    cols = _edges([(box[0], box[2]) for box in boxes[COLUMN]])
    n_rows, n_cols = len(rows) - 1, len(cols) - 1
    head = {
        row
        for box in boxes.get(HEADER, ())
        for row in range(n_rows)
        if _overlap(box[1], box[3], rows, row) > HALF
    }
    cells: dict[tuple[int, int, int, int], Cell] = {}
    for kind in (SECTION, SPAN):  # a section row may be listed as a spanning cell too
        for box in boxes.get(kind, ()):
            top, bottom = _covered(box[1], box[3], rows)
            left, right = (0, n_cols) if kind == SECTION else _covered(box[0], box[2], cols)
            if bottom == top or right == left:
                raise ValueError(f"the {kind} at {_shown(box)} covers no row or no column")
            header = "section" if kind == SECTION else "column" if top in head else None
            cell = Cell("", top, left, bottom - top, right - left, header)
            cells.setdefault((top, left, bottom, right), cell)
    table = Table(cells.values(), n_rows, n_cols)
    for cell in table.cells:
        cell.header = cell.header or ("column" if cell.row in head else None)
        bottom, right = cell.row + cell.rowspan, cell.col + cell.colspan
        cell.box = (cols[cell.col], rows[cell.row], cols[right], rows[bottom])
    _fill(table, words, rows, cols)
    return table


def read_words(items: Any) -> list[Word]:
    """Return the words of a words file: a list of {"bbox", "text"} and, as PubTables-1M has them, block, line and
    span numbers, which tell their order; else it is from top to bottom, then from left to right.

    Raises ValueError if it is none.
    """
    if isinstance(items, dict) and isinstance(items.get("words"), list):
        items = items["words"]
    if not isinstance(items, list):
        raise ValueError("the words are no list of words")
    words = []
    for item in items:
        box = item.get("bbox") if isinstance(item, dict) else None
        numbers = isinstance(box, list) and all(isinstance(v, int | float) and abs(v) < 1e7 for v in box)
        if not numbers or len(box) != 4 or not isinstance(item.get("text"), str):
            raise ValueError(f"the word {str(item)[:80]} has no text or no box of four numbers")
        x0, x1 = sorted(box[::2])
        y0, y1 = sorted(box[1::2])
        order = tuple(item.get(name) for name in ("block_num", "line_num", "span_num"))
        known = all(isinstance(value, int) for value in order)
        words.append(Word(item["text"], (x0, y0, x1, y1), order if known else (round(y1), x0)))
    return words


def _edges(spans: list[tuple[float, float]]) -> list[float]:
    """Where the rows (or columns) part: their first edge, the middles between neighbours, their last edge."""
    spans = sorted(spans, key=sum)
    edges = [spans[0][0]]
    edges += [(before[1] + after[0]) / 2 for before, after in pairwise(spans)]
    edges.append(spans[-1][1])
    for before, after in pairwise(spans):
        common = min(before[1], after[1]) - max(before[0], after[0])
        if common > HALF * min(before[1] - before[0], after[1] - after[0]):
            raise ValueError("two rows, or two columns, lie upon each other")
    if any(after <= before for before, after in pairwise(edges)):
        raise ValueError("the rows, or the columns, are in no order")
    return edges


def _overlap(start: float, end: float, edges: list[float], number: int) -> float:
    """The share of a row (or column) that an interval covers."""
    low, high = edges[number], edges[number + 1]
    return max(min(end, high) - max(start, low), 0.0) / (high - low)


def _covered(start: float, end: float, edges: list[float]) -> tuple[int, int]:
    """First and behind-last of the rows (or columns) of which an interval covers more than half."""
    hit = [number for number in range(len(edges) - 1) if _overlap(start, end, edges, number) > HALF]
    return (hit[0], hit[-1] + 1) if hit else (0, 0)


def _shares(start: float, end: float, edges: list[float]) -> dict[int, float]:
    """The share of an interval (or, if it is a point, of that) that lies in each row (or column) it touches."""
    first = max(bisect_right(edges, start) - 1, 0)
    last = min(bisect_right(edges, end) - 1, len(edges) - 2)
    if end <= start:
        return {first: 1.0} if edges[0] <= start <= edges[-1] and first < len(edges) - 1 else {}
    return {
        number: max(min(end, edges[number + 1]) - max(start, edges[number]), 0.0) / (end - start)
        for number in range(first, last + 1)
    }


def _fill(table: Table, words: Sequence[Word], rows: list[float], cols: list[float]) -> None:
    """Give each word to the cell that covers most of it, and each cell its words in order."""
    grid = table.grid()
    index = {id(cell): number for number, cell in enumerate(table.cells)}
    texts: list[list[Word]] = [[] for _ in table.cells]
    for word in words:
        across = _shares(word.box[0], word.box[2], cols)
        down = _shares(word.box[1], word.box[3], rows)
        if sum(across.values()) * sum(down.values()) <= HALF:
            continue
        shares: dict[int, float] = {}
        for row, high in down.items():
            for col, wide in across.items():
                number = index[id(grid[row][col])]
                shares[number] = shares.get(number, 0.0) + high * wide
        texts[max(shares, key=shares.__getitem__)].append(word)
    for cell, inside in zip(table.cells, texts, strict=True):
        inside.sort(key=lambda word: word.order)
        cell.text = " ".join(" ".join(word.text for word in inside).split())


def _shown(box: Box) -> str:
    return ", ".join(f"{edge:g}" for edge in box)
