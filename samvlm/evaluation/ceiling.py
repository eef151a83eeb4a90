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
    table = Table.from_html(truth)
    back = Table.from_otsl(table.to_otsl())
    kept = back.to_html()
    if kept == truth:
        return 1.0, 1.0
    normalised = 1.0 if back == table else teds_normalised(kept, truth)  # equal tables have one normal form
    return teds(kept, truth) if has_official_table(truth) else None, normalised
