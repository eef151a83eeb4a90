"""One example as HTML: its scores, what is wrong in words, and truth and prediction with their differences."""

from __future__ import annotations

import math
from html import escape
from typing import Any, NamedTuple
from urllib.parse import quote

from ...data.webpage import show_text
from ..examples import Example
from .comparison import MEANINGS, SIGNS, VERDICTS, Comparison, compare

MOST_SCORES = 3  # of an example that are always in sight; the others when it is sorted by them
_ENDINGS = {"length": "cut off at the limit", "repetition": "repeats itself", "error": "no answer"}


class ShownExample(NamedTuple):
    """An example as HTML in two parts, between which its image goes, and what the page's script knows of it."""

    start: str
    end: str
    facts: dict[str, Any]


def show_example(example: Example, number: int, anchor: str) -> ShownExample:
    """Return an example as HTML; its texts may hold anything.

    `number` is its place in the order of the evaluation, from 0; `anchor` the id attribute of its element.
    """
    compared = compare(example)
    start = (
        f'<article class="example" id="{anchor}">\n<header><h3><a href="#{anchor}" dir="auto">'
        f"{show_text(example.id) or '(no id)'}</a></h3>{_chips(example, compared)}</header>\n"
    )
    if example.error:
        start += f'<p class="error" dir="auto">{show_text(example.error)}</p>\n'
    if example.question:
        start += f'<p class="question" dir="auto">{show_text(example.question)}</p>\n'
    if compared.remarks:
        start += f'<p class="remark">{escape(" ".join(compared.remarks))}</p>\n'
    if compared.items:
        left = sum(compared.counts.values()) - len(compared.items)
        more = f'<li class="more">and {left:,} more</li>' if left > 0 else ""
        start += f'<ul class="wrong">{"".join(compared.items)}{more}</ul>\n'
    end = (
        f'<section class="truth"><h4>Truth</h4>{compared.truth}</section>\n'
        f'<section class="prediction"><h4>Prediction</h4>{compared.prediction}</section>\n</div>\n</article>\n'
    )
    facts = {
        "order": number,
        "scores": {name: usable(value) for name, value in example.scores.items()},
        "buckets": example.buckets,
        "ending": example.finish_reason,
        "failed": example.error is not None,
        "verdicts": [compared.counts[verdict] for verdict in VERDICTS],
    }
    return ShownExample(start + '<div class="panes">\n', end, facts)


def anchor_of(name: str) -> str:
    """The id attribute of an example, equal to its URL fragment: only characters that both may hold."""
    return "x:" + quote(name.encode("utf-8", "replace"), safe="")


def usable(score: float | None) -> float | None:
    """The score, or None where it is missing, NaN or infinite."""
    return None if score is None or not math.isfinite(score) else score


def show_score(score: float | None) -> str:
    """Three digits; more where three would make a flawed result look perfect."""
    score = usable(score)
    if score is None:
        return "–"
    return f"{score:.3f}" if score >= 1 or score < 0.9995 else f"{score:.5f}"


def _chips(example: Example, compared: Comparison) -> str:
    chips = [
        f'<li class="score{" minor" if number >= MOST_SCORES else ""}"><span>{show_text(name)}</span> '
        f"<b>{show_score(value)}</b></li>"
        for number, (name, value) in enumerate(example.scores.items())
    ]
    if not example.scores:
        chips.append('<li class="ending">not scored</li>')
    if (ending := example.finish_reason) not in ("stop", "unknown"):
        chips.append(f'<li class="ending">{show_text(_ENDINGS.get(ending, ending))}</li>')
    for verdict in VERDICTS:
        if number := compared.counts[verdict]:
            sign = f'<i class="sign" aria-hidden="true">{SIGNS[verdict]}</i>'
            chips.append(f'<li class="{verdict}" title="{MEANINGS[verdict]}">{sign}{number:,} {verdict}</li>')
    chips += [f'<li class="bucket">{show_text(value)}</li>' for value in example.buckets.values()]
    return f'<ul class="chips">{"".join(chips)}</ul>'
