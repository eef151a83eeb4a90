"""Tables in the answers of models of any kind: HTML, LaTeX, OTSL or Markdown, with prose and code fences around them."""

from __future__ import annotations

import re

from ..data.written_tables import written_tables

_THOUGHT = re.compile(r"\A\s*<think>.*?(</think>|\Z)", re.DOTALL)
_TABLE = re.compile(r"<table\b", re.IGNORECASE)
_TABLE_END = re.compile(r"</table\s*>", re.IGNORECASE)
_FENCED = re.compile(r"\A\s*```[\w-]*[ \t]*\n(.*?)\n?[ \t]*(```\s*)?\Z", re.DOTALL)
_WRAPPER = re.compile(r"</?(?:otsl|doctag|loc_\d+)>")


def table_html(answer: str) -> str:
    """Return the HTML of the table in an answer, "" if there is none.

    HTML is cut out as it stands, inline tags and all, from the first `<table` to the last `</table>` (or to the end
    of an answer that was cut off), and wrapped in `<html><body>`, without which the official TEDS is 0. LaTeX and OTSL,
    also cut off, and Markdown are converted. What a model thinks aloud in a leading `<think>` does not count.
    """
    answer = without_thoughts(answer)
    start = _TABLE.search(answer)
    if start:
        ends = [match.end() for match in _TABLE_END.finditer(answer, start.start())]
        return f"<html><body>{answer[start.start() : ends[-1] if ends else None]}</body></html>"
    tables = written_tables(_WRAPPER.sub("", answer))
    return tables[0].to_html() if tables else ""


def plain_answer(answer: str) -> str:
    """Return the text of an answer: without what was thought aloud and without a code fence around it all."""
    answer = without_thoughts(answer)
    fenced = _FENCED.match(answer)
    return (fenced[1] if fenced else answer).strip()


def without_thoughts(answer: str) -> str:
    """Return what follows a leading `<think>…</think>`."""
    return _THOUGHT.sub("", answer)
