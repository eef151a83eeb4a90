"""Shares of a set of outputs that are valid, empty, cut off or stuck."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..data.html import read_all_html
from .repetition import find_repetition


class Rates(NamedTuple):
    """Shares in [0, 1] of all outputs; an output may count in several."""

    valid: float
    empty: float
    truncated: float
    repetition: float


def rates(
    predictions: Sequence[str | None],
    finish_reasons: Sequence[str | None] | None = None,
    texts: Sequence[str | None] | None = None,
) -> Rates:
    """Return what share of the predicted HTML tables is valid, empty, truncated and stuck in a loop.

    * valid: it holds a table that needed no repair: rows of one length, no span beyond the table or onto a cell;
    * empty: it holds no table, or none with any text;
    * truncated: its finish reason is "length";
    * repetition: its finish reason is "repetition", or `find_repetition` finds a loop at the end of its text.

    `finish_reasons` are those of `ParseResult`; without them, or where one is None, "truncated" is not known and
    counts as no. `texts` are the outputs as the model wrote them, by default the HTML. A table too large to be one
    is neither valid nor empty. Raises ValueError for no predictions, or lists of other lengths.
    """
    if not predictions:
        raise ValueError("rates needs at least one prediction, got none")
    reasons = list(finish_reasons) if finish_reasons is not None else [None] * len(predictions)
    written = list(texts) if texts is not None else list(predictions)
    if not len(predictions) == len(reasons) == len(written):
        raise ValueError(
            f"{len(predictions)} predictions, {len(reasons)} finish reasons and {len(written)} texts; give one each"
        )
    states = [_state(prediction or "") for prediction in predictions]
    loops = [
        reason == "repetition" or find_repetition(text or "") is not None
        for reason, text in zip(reasons, written, strict=True)
    ]
    total = len(predictions)
    return Rates(
        valid=states.count("valid") / total,
        empty=states.count("empty") / total,
        truncated=reasons.count("length") / total,
        repetition=sum(loops) / total,
    )


def _state(prediction: str) -> str:
    """ "valid", "empty" or "broken"."""
    try:
        layouts = list(read_all_html(prediction))
    except ValueError:
        return "broken"
    if not any(cell.text for layout in layouts for cell in layout.cells):
        return "empty"
    return "broken" if any(layout.repairs for layout in layouts) else "valid"
