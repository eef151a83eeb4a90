"""One example with its truth, its prediction and its scores, and the buckets by which scores are told apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from PIL import Image

from ..data.tables import Table

SIMPLE, SPANS = "simple", "with spans"
_CELLS = (1, 21, 51, 101, 201)  # where the buckets of a number begin
_ROWS = (1, 6, 11, 21, 41)
_HEADERS = ("no header row", "1 header row", "2 header rows", "3 or more header rows")


def _ranges(starts: tuple[int, ...], unit: str) -> tuple[str, ...]:
    return (*(f"{a}-{b - 1} {unit}" for a, b in pairwise(starts)), f"{starts[-1]} or more {unit}")


# For each kind of bucket its values, in the order in which they are shown.
BUCKETS: dict[str, tuple[str, ...]] = {
    "spans": (SIMPLE, SPANS),
    "cells": _ranges(_CELLS, "cells"),
    "rows": _ranges(_ROWS, "rows"),
    "header": _HEADERS,
}


@dataclass
class Example:
    """What is known of one example after scoring.

    `image` is a file, a function that gives the picture, or None. For the tasks "text", "form" and "question",
    `truth_html` and `prediction_html` are empty and `truth_text` and `prediction_text` hold what was compared;
    for a table `prediction_text` is the raw answer. `scores` are named as in scores.json, all from 0 (worst) to 1
    but for `cer` and `edit_distance`, where 0 is best. `finish_reason` is "stop", "length", "repetition", "error",
    or "unknown" for predictions from elsewhere. `error` says in words why there is no prediction or no score.
    `buckets` has a value for each key of BUCKETS, and is empty where there is no table.
    """

    id: str
    image: Path | Callable[[], Image.Image] | None
    truth_html: str
    prediction_html: str
    scores: dict[str, float] = field(default_factory=dict)
    finish_reason: str = "stop"
    error: str | None = None
    buckets: dict[str, str] = field(default_factory=dict)
    task: str = "table"
    question: str | None = None
    truth_text: str = ""
    prediction_text: str = ""


def table_buckets(truth_html: str) -> dict[str, str]:
    """The buckets of a true table, a value for each key of BUCKETS; {} if the HTML holds no readable table."""
    try:
        table = Table.from_html(truth_html)
    except ValueError:
        return {}
    spans = any(cell.rowspan > 1 or cell.colspan > 1 for cell in table.cells)
    return {
        "spans": SPANS if spans else SIMPLE,
        "cells": _bucket(len(table.cells), _CELLS, "cells"),
        "rows": _bucket(table.n_rows, _ROWS, "rows"),
        "header": _HEADERS[min(table.header_rows, len(_HEADERS) - 1)],
    }


def _bucket(number: int, starts: tuple[int, ...], unit: str) -> str:
    return _ranges(starts, unit)[sum(number >= start for start in starts) - 1]
