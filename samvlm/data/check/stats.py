"""What a data set is made of: counts by task, source, licence and split, and the spread of every measure."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass

import numpy as np

from .examination import Examination

BINS = 30  # of a histogram, at most

# What is measured: name -> plural words for the table that is shown
MEASURES = {
    "rows": "rows of a table",
    "columns": "columns of a table",
    "cells": "cells of a table",
    "spans": "cells with spans",
    "headers": "header rows",
    "table_characters": "characters of a table",
    "characters": "characters of a chat",
    "tokens": "tokens of a chat",
    "width": "image width, pixels",
    "height": "image height, pixels",
}


@dataclass(frozen=True)
class Spread:
    """The spread of one measure over `count` records."""

    count: int
    least: int
    median: float
    most_of: float  # 95 of 100 are not above it
    most: int
    total: int


class Statistics:
    """Gathers what `Examiner` measured, some 40 bytes a record.

    `records` counts every line that is a record, `tables` and `images` those of them that could be read.
    """

    def __init__(self) -> None:
        self.records = self.images = self.tables = self.with_spans = 0
        self.counts: dict[str, Counter[str]] = {
            name: Counter() for name in ("task", "source", "licence", "split")
        }
        self._values = {name: array("I") for name in MEASURES}
        self._official, self._normalised = array("d"), array("d")

    def add(self, seen: Examination) -> None:
        """Count one record."""
        self.records += 1
        self.images += seen.size is not None
        for name, counter in self.counts.items():
            counter[getattr(seen, name) or "(none)"] += 1
        if seen.size is not None:
            self._values["width"].append(seen.size[0])
            self._values["height"].append(seen.size[1])
        self._values["characters"].append(seen.characters)
        if seen.tokens is not None:
            self._values["tokens"].append(seen.tokens)
        if (table := seen.table) is not None:
            self.tables += 1
            self.with_spans += table.spans > 0
            for name in ("rows", "columns", "cells", "spans", "headers"):
                self._values[name].append(getattr(table, name))
            self._values["table_characters"].append(table.characters)
        if seen.ceiling is not None:
            official, normalised = seen.ceiling
            self._normalised.append(normalised)
            if official is not None:
                self._official.append(official)

    def spread(self, name: str) -> Spread | None:
        """The spread of one of `MEASURES`; None if nothing was measured."""
        values = np.asarray(self._values[name])
        if not len(values):
            return None
        median, most_of = np.quantile(values, (0.5, 0.95), method="higher")
        return Spread(
            len(values), int(values.min()), int(median), int(most_of), int(values.max()), int(values.sum())
        )

    def histogram(self, name: str, bins: int = BINS) -> list[tuple[int, int, int]]:
        """Return (from, to, number of records) of at most `bins` bars of one round width, `to` not included."""
        values = np.asarray(self._values[name])
        if not len(values):
            return []
        highest = int(values.max())
        power = 10 ** max(0, len(str(highest // bins)) - 1)
        width = next(step * power for step in (1, 2, 5, 10) if step * power * bins > highest)
        numbers = np.bincount(values // width)
        return [(start * width, (start + 1) * width, int(number)) for start, number in enumerate(numbers)]

    def ceiling(self) -> tuple[float | None, float] | None:
        """Mean (official TEDS, normalised TEDS) of tables after HTML -> OTSL -> HTML; None if none was measured."""
        if not self._normalised:
            return None
        official = float(np.mean(self._official)) if self._official else None
        return official, float(np.mean(self._normalised))

    def measured(self) -> tuple[int, int]:
        """How many tables the means of `ceiling` are over: official, normalised."""
        return len(self._official), len(self._normalised)

    def lines(self) -> list[str]:
        """A short text of aligned columns."""
        shown = [f"{self.records:,} records, {self.images:,} images, {self.tables:,} tables"]
        if self.tables:
            shown[0] += f" ({self.with_spans:,} with spans)"
        for name, counter in self.counts.items():
            if set(counter) - {"(none)"}:
                most = ", ".join(f"{value} {number:,}" for value, number in counter.most_common(8))
                left = len(counter) - 8
                shown.append(f"{name + 's':<9} {most}" + (f" and {left:,} more" if left > 0 else ""))
        spreads = {name: spread for name in MEASURES if (spread := self.spread(name)) is not None}
        if spreads:
            shown += ["", f"{'':22}{'least':>9}{'median':>9}{'95 %':>9}{'most':>9}{'total':>15}"]
        for name, spread in spreads.items():
            values = (spread.least, spread.median, spread.most_of, spread.most)
            total = "" if name in ("width", "height") else f"{spread.total:,}"
            shown.append(
                f"{MEASURES[name]:<22}" + "".join(f"{value:>9,}" for value in values) + f"{total:>15}"
            )
        return shown


def bars(histogram: list[tuple[int, int, int]], width: int = 40) -> list[str]:
    """Draw a histogram as lines of text."""
    most = max((number for *_, number in histogram), default=0)
    if not most:
        return []
    digits = len(f"{histogram[-1][1] - 1:,}")
    return [
        f"{start:>{digits},} - {end - 1:>{digits},}  {'█' * -(-number * width // most)}{' ' if number else ''}{number:,}"
        for start, end, number in histogram
    ]
