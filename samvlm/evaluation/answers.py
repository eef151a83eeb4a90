"""Tables in the answers of models of any kind: HTML, OTSL or Markdown, with prose and code fences around them."""

from __future__ import annotations

import re

from ..data.otsl import TOKENS
from ..data.otsl_grammar import close_otsl
from ..data.tables import Table

_THOUGHT = re.compile(r"\A\s*<think>.*?(</think>|\Z)", re.DOTALL)
_TABLE = re.compile(r"<table\b", re.IGNORECASE)
_TABLE_END = re.compile(r"</table\s*>", re.IGNORECASE)
_FENCED = re.compile(r"\A\s*```[\w-]*[ \t]*\n(.*?)\n?[ \t]*(```\s*)?\Z", re.DOTALL)
_WRAPPER = re.compile(r"</?(?:otsl|doctag|loc_\d+)>")


def table_html(answer: str) -> str:
    """Return the HTML of the table in an answer, "" if there is none.

    HTML is cut out as it stands, inline tags and all, from the first `<table` to the last `</table>` (or to the end
    of an answer that was cut off), and wrapped in `<html><body>`, without which the official TEDS is 0. OTSL, also
    cut off, and Markdown are converted. What a model thinks aloud in a leading `<think>` does not count.
    """
    answer = without_thoughts(answer)
    start = _TABLE.search(answer)
    if start:
        ends = [match.end() for match in _TABLE_END.finditer(answer, start.start())]
        return f"<html><body>{answer[start.start() : ends[-1] if ends else None]}</body></html>"
    if any(token in answer for token in TOKENS):
        return _written(lambda: Table.from_otsl(close_otsl(_WRAPPER.sub("", answer))[0]))
    return _written(lambda: Table.from_markdown(answer))


def plain_answer(answer: str) -> str:
    """Return the text of an answer: without what was thought aloud and without a code fence around it all."""
    answer = without_thoughts(answer)
    fenced = _FENCED.match(answer)
    return (fenced[1] if fenced else answer).strip()


def without_thoughts(answer: str) -> str:
    """Return what follows a leading `<think>…</think>`."""
    return _THOUGHT.sub("", answer)


def _written(read) -> str:
    try:
        return read().to_html()
    except ValueError:
        return ""
