"""The best score that a model with OTSL as its target can reach: truth -> OTSL -> HTML, compared with the truth."""

from __future__ import annotations

from ..data.tables import Table
from ..metrics import teds, teds_normalised
from ..metrics.teds import has_official_table


def round_trip_ceiling(truth: str) -> tuple[float | None, float]:
    """Return (official TEDS, normalised TEDS) of what OTSL keeps of a true table.

    The official score is None for a truth in which the official code finds no table (a bare `<table>`, say): it is 0
    whatever is predicted. Raises ValueError for a truth without a table, or with spans that the official code refuses.
    """
    kept = Table.from_otsl(Table.from_html(truth).to_otsl()).to_html()
    if kept == truth:
        return 1.0, 1.0
    normalised = teds_normalised(kept, truth)
    return teds(kept, truth) if has_official_table(truth) else None, normalised
