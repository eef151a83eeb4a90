"""Tables in the token form of PubTabNet and its relatives, for the tests of readers."""

import json
from pathlib import Path

from documents import drawing, encode
from layouts import as_held
from random_tables import plain

from samvlm.data.tables import Cell, Table


def held(table: Table) -> Table:
    """The table as the token form holds it: texts on one line, headers in whole rows."""
    return plain(as_held(table, headers=True))


def box_of(cell: Cell) -> list[int]:
    """x0, y0, x1, y1 in pixels, y down."""
    return [cell.col * 20, cell.row * 10, (cell.col + cell.colspan) * 20, (cell.row + cell.rowspan) * 10]


def token_form(table: Table, box=box_of, empty_boxes: bool = False) -> dict:
    """{"cells", "structure"} as PubTabNet 2.0 writes it: spans in three parts, boxes of cells with text only."""
    structure = []
    head = table.header_rows
    for row in range(table.n_rows):
        structure += ["<thead>"] * (row == 0 < head) + ["<tbody>"] * (row == head) + ["<tr>"]
        for cell in table.cells:
            if cell.row != row:
                continue
            spans = [
                f' {n}="{s}"' for n, s in (("rowspan", cell.rowspan), ("colspan", cell.colspan)) if s > 1
            ]
            structure += ["<td", *spans, ">", "</td>"] if spans else ["<td>", "</td>"]
        structure += (
            ["</tr>"] + ["</thead>"] * (row == head - 1) + ["</tbody>"] * (row == table.n_rows - 1 >= head)
        )
    cells = []
    for cell in table.cells:
        entry = {"tokens": list(cell.text)}
        if cell.text or empty_boxes:
            entry["bbox"] = box(cell)
        cells.append(entry)
    return {"cells": cells, "structure": {"tokens": structure}}


def save_lines(path: Path, *lines: dict | str) -> Path:
    """Write JSON Lines; a text stands as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    path.write_text(text, "utf-8")
    return path


def save_image(path: Path, width: int = 96) -> Path:
    """Write a small PNG, the same for the same width."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(drawing(width), "PNG"))
    return path
