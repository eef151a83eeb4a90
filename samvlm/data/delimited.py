"""Tables in CSV. It holds neither spans nor headers; texts that a spreadsheet would run are made safe."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

from .safe_text import printable

_NUMBER = re.compile(r"[+-]\s*(?:[$€£¥]\s*)?[.,]?\d[\d.,\s]*(?:[eE][+-]?\d+)?\s*%?")
_STARTS = "=@\t\r\n＝＠"  # as OWASP lists them, with their full-width forms
_SIGNS = "+-＋－"
# Where a program that does not expect commas starts a new cell within a text: `a;=1+1` opened where lists are
# separated by semicolons.
_INNER = re.compile(r"([;\t\r\n])")
_UNSEEN = re.compile(
    r"[\s\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]+"
)  # blanks, marks of zero width


def would_run(text: str) -> bool:
    """Whether a spreadsheet may take the text for a formula, with or without leading single quotes or blanks.

    A number with a sign and a lone sign are harmless.
    """
    core = text.lstrip("'")
    if core and core[0] not in _STARTS and (unseen := _UNSEEN.match(core)):
        core = core[unseen.end() :]
    if not core or core[0] in _STARTS:
        return bool(core)
    return core[0] in _SIGNS and len(core) > 1 and not _NUMBER.fullmatch(core)


def _quote(text: str) -> str:
    return "'" + text if would_run(text) else text


def _unquote(text: str) -> str:
    return text[1:] if text.startswith("'") and would_run(text[1:]) else text


def _protect(text: str) -> str:
    """Put a single quote before a formula, also where one starts behind a separator within the text."""
    if _INNER.search(text):
        first, *rest = _INNER.split(text)
        inner = first + "".join(part if _INNER.fullmatch(part) else _quote(part) for part in rest)
        return "'" + inner if would_run(text) else inner
    return _quote(text)


def _expose(text: str) -> str:
    """Undo `_protect`."""
    if _INNER.search(text):
        first, *rest = _INNER.split(text)
        text = first + "".join(part if _INNER.fullmatch(part) else _unquote(part) for part in rest)
    return _unquote(text)


def write_csv(rows: Sequence[Sequence[str]], raw: bool = False) -> str:
    """Return CSV with "\\r\\n" line ends (RFC 4180).

    Unless `raw`, control characters become blanks and formulas get a single quote in front.
    """
    out = io.StringIO(newline="")
    csv.writer(out).writerows(rows if raw else [[_protect(printable(text)) for text in row] for row in rows])
    return out.getvalue()


def read_csv(text: str, raw: bool = False, delimiter: str = ",") -> list[list[str]]:
    """Read CSV rows, blank lines left out; unless `raw`, undo the quotes that `write_csv` put before formulas.

    Raises ValueError for what the csv module rejects and for a text without a row.
    """
    try:
        rows = list(csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise ValueError(f"not CSV: {error}; check its quotes and its delimiter {delimiter!r}") from error
    rows = [row for row in rows if row]
    if not rows:
        raise ValueError("the CSV holds no row; give at least one line of cells")
    return rows if raw else [[_expose(cell) for cell in row] for row in rows]
