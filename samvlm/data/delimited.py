"""Tables in CSV. It holds neither spans nor headers; texts that a spreadsheet would run are made safe."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

_NUMBER = re.compile(r"[+-]\s*(?:[$€£¥]\s*)?[.,]?\d[\d.,\s]*(?:[eE][+-]?\d+)?\s*%?")
_STARTS = "=@\t\r\n＝＠"  # as OWASP lists them, with their full-width forms
_SIGNS = "+-＋－"


def _would_run(text: str) -> bool:
    """Whether a spreadsheet may take the text for a formula, with or without leading single quotes.

    A number with a sign and a lone sign are harmless.
    """
    core = text.lstrip("'")
    if not core or core[0] in _STARTS:
        return bool(core)
    return core[0] in _SIGNS and len(core) > 1 and not _NUMBER.fullmatch(core)


def write_csv(rows: Sequence[Sequence[str]], raw: bool = False) -> str:
    """Return CSV with "\\r\\n" line ends (RFC 4180); unless `raw`, formulas get a single quote in front."""
    out = io.StringIO(newline="")
    csv.writer(out).writerows(
        rows if raw else [["'" + text if _would_run(text) else text for text in row] for row in rows]
    )
    return out.getvalue()


def read_csv(text: str, raw: bool = False, delimiter: str = ",") -> list[list[str]]:
    """Read CSV rows, blank lines left out; unless `raw`, undo the quote that `write_csv` put before a formula.

    Raises ValueError for what the csv module rejects and for a text without a row.
    """
    try:
        rows = list(csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise ValueError(f"not CSV: {error}; check its quotes and its delimiter {delimiter!r}") from error
    rows = [row for row in rows if row]
    if not rows:
        raise ValueError("the CSV holds no row; give at least one line of cells")
    if raw:
        return rows
    return [
        [cell[1:] if cell.startswith("'") and _would_run(cell[1:]) else cell for cell in row] for row in rows
    ]
