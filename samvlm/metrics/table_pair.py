"""A predicted table and the true one, as every score of tables reads them, and how large the two may be."""

from __future__ import annotations

import html
import unicodedata

from ..data.html import read_all_html
from ..data.tables import Table
from .text import check_text

MAX_PRODUCT = 25_000_000  # nodes or places of one table times those of the other: 5,000 against 5,000


def read_pair(prediction: str, truth: str) -> tuple[Table | None, Table]:
    """Read the first table with cells of two HTML texts; the prediction may have none.

    Raises ValueError if the truth has none, or if a grid is too large to be one.
    """
    check_text(prediction, truth)
    reference = Table.from_html(truth)
    layout = next(read_all_html(prediction), None)
    return None if layout is None else Table(*layout), reference


def check_product(size1: int, size2: int, unit: str) -> None:
    """Raise ValueError where comparing two tables would take too much time or memory."""
    if size1 * size2 > MAX_PRODUCT:
        raise ValueError(
            f"the tables are too large to compare: {size1} against {size2} {unit}; their product may be "
            f"{MAX_PRODUCT} at most"
        )


def normal_text(text: str) -> str:
    """The text as a reader sees it: entities escaped twice resolved, Unicode NFKC, runs of blanks one space."""
    return " ".join(unicodedata.normalize("NFKC", html.unescape(text)).split())
