"""Tables in what a model wrote that has no tokens for them: in HTML, LaTeX, OTSL or Markdown, with prose around."""

from __future__ import annotations

from . import markdown
from .otsl import TOKENS
from .otsl_grammar import close_otsl
from .tables import Table


def written_tables(text: str) -> list[Table]:
    """Every table of a text, in order; of the first form that the text has one of: HTML, LaTeX (`tabular` and its kin),
    OTSL, pipe Markdown. The last may be cut off."""
    for read in (Table.all_from_html, Table.all_from_latex, _otsl, _markdown):
        if found := read(text):
            return found
    return []


def _otsl(text: str) -> list[Table]:
    if not any(token in text for token in TOKENS):
        return []
    try:
        return [Table.from_otsl(close_otsl(text)[0])]
    except ValueError:
        return []


def _markdown(text: str) -> list[Table]:
    return [Table.from_rows(rows, header_rows) for rows, header_rows in markdown.all_markdown(text)]
