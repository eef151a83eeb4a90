"""Tables as lists of tokens, the form of PubTabNet, FinTabNet and SynthTabNet: structure and cells apart.

    {"structure": {"tokens": ["<thead>", "<tr>", "<td", " colspan=\\"2\\"", ">", "</td>", "</tr>", "</thead>"]},
     "cells": [{"tokens": ["<b>", "A", "</b>"], "bbox": [1, 4, 27, 13]}]}

A cell stands behind each `<td>` and behind the `>` that ends a tag in three parts (ibm-aur-nlp/PubTabNet, README and
`format_html`). `bbox` is left out for cells without text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

_TAG = re.compile(r"</?[A-Za-z][A-Za-z0-9]*(?:\s[^<>]*)?/?>")
_MARKUP = re.compile(
    r"<(?![^A-Za-z/!?<])|&(?=[A-Za-z#])"
)  # a `<` before a tag or the end may not stand either
_OPENS = frozenset({"<td>", "<th>", ">"})


def table_html(structure: Sequence[str], cells: Sequence[dict[str, Any]]) -> str:
    """Return "<html><body><table>…</table></body></html>" of structure tokens and cells with "tokens".

    Tags within a cell are kept, its text is escaped by `escape_text`. Raises ValueError if there are not as many cells
    as places for them, or tokens are no texts.
    """
    out = []
    used = 0
    for token in structure:
        if not isinstance(token, str):
            raise ValueError(f"the structure token {token!r} is no text")
        out.append(token)
        if token in _OPENS:
            if used < len(cells):
                out.append(cell_html(cells[used]["tokens"]))
            used += 1
    if used != len(cells):
        raise ValueError(f"the structure has places for {used} cells but there are {len(cells)}")
    if not used:
        raise ValueError("the table has no cell")
    inner = "".join(out)
    if not inner.startswith("<table"):
        inner = f"<table>{inner}</table>"
    return f"<html><body>{inner}</body></html>"


def cell_html(tokens: Sequence[str]) -> str:
    """Return the content of a cell: tags as they are, the characters of its text escaped."""
    out = []
    text = ""  # tokens since the last tag: whether a `<` is markup depends on what follows
    for token in tokens:
        if not isinstance(token, str):
            raise ValueError(f"the token {token!r} of a cell is no text")
        if _TAG.fullmatch(token):
            out += escape_text(text), token
            text = ""
        else:
            text += token
    return "".join([*out, escape_text(text)])


def escape_text(text: str) -> str:
    """Escape `<` and `&` where HTML would read them as markup; elsewhere, as in "p < 0.05", they stand."""
    return _MARKUP.sub(lambda match: "&lt;" if match[0] == "<" else "&amp;", text)


def cell_boxes(cells: Sequence[dict[str, Any]]) -> list[list[float] | None]:
    """Return the box of each cell as the data have it, its first four numbers; None where it is left out."""
    return [read_box(cell["bbox"]) if cell.get("bbox") is not None else None for cell in cells]


def read_box(value: Any) -> list[float]:
    """Return the first four numbers of a box. Raises ValueError if they are none."""
    box = list(value)[:4] if isinstance(value, list | tuple) else []
    if len(box) < 4 or not all(isinstance(edge, int | float) and abs(edge) < 1e6 for edge in box):
        raise ValueError(f"the box {value!r} is not x0, y0, x1, y1")
    return box
