"""What stands above the examples: scores, rates and buckets, the legend, and the tools to sort and filter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from numbers import Real
from typing import Any

from ...data.webpage import plain_line, show_text
from ..examples import BUCKETS
from ..scores import LOWER_IS_BETTER
from .comparison import MEANINGS, SIGNS, VERDICTS
from .example import show_score

_KINDS = {"spans": "Spans", "cells": "Cells", "rows": "Rows", "header": "Header"}


def show_summary(
    title: str, scores: Mapping[str, Any], facts: Sequence[dict[str, Any]], left: Mapping[str, int]
) -> str:
    """Return the head of the page as HTML.

    Args:
        title: plain text.
        scores: as in scores.json; all keys may be absent. "metrics": by name "mean", "low" and "high" (the 95%
            interval), and what each is in "meaning"; "rates": by name a share; "buckets": by kind and value "n" and
            the mean of each metric; "left_out": a list. Other texts and numbers are listed.
        facts: of the examples on the page, see `ShownExample`.
        left: what the page could not show, a `ViewerReport` as a dictionary.
    """
    metrics = scores.get("metrics") or {}
    plain = [
        f"<li><span>{show_text(str(name).replace('_', ' '))}</span> {_fact(value)}</li>"
        for name, value in scores.items()
        if isinstance(value, str | Real) and not isinstance(value, bool)
    ]
    plain_list = f'<ul class="plain">{"".join(plain)}</ul>' if plain else ""
    return (
        f'<header class="top">\n<h1 dir="auto">{show_text(title)}</h1>{plain_list}\n<div class="overview"><div>'
        f"{_metrics(metrics, scores.get('meaning') or {})}{_rates(scores.get('rates') or {})}</div>\n"
        f"{_buckets(scores.get('buckets') or {}, next(iter(metrics), None))}</div>\n"
        f"{_notes(left, len(scores.get('left_out') or ()))}{_legend()}</header>\n{_tools(facts)}"
    )


def _fact(value: Any) -> str:
    if isinstance(value, str):
        return f"<bdi>{show_text(value)}</bdi>"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def _metrics(metrics: Mapping[str, Mapping[str, float]], meaning: Mapping[str, str]) -> str:
    """The first metric large, the others in a list below."""
    shown = []
    for name, values in metrics.items():
        low, high = values.get("low"), values.get("high")
        between = f"<small>{show_score(low)} to {show_score(high)}</small>" if low is not None else ""
        better = " <small>lower is better</small>" if name in LOWER_IS_BETTER else ""
        title = f' title="{escape(plain_line(meaning[name]))}"' if name in meaning else ""
        shown.append(
            f"<div{title}><dt>{show_text(name)}{better}</dt>"
            f"<dd><b>{show_score(values.get('mean'))}</b> {between}</dd></div>"
        )
    return f'<dl class="metrics">{"".join(shown)}</dl>\n' if shown else ""


def _rates(rates: Mapping[str, float]) -> str:
    items = [f"<li><span>{show_text(name)}</span> <b>{rate:.1%}</b></li>" for name, rate in rates.items()]
    return f'<ul class="rates">{"".join(items)}</ul>\n' if items else ""


def _buckets(buckets: Mapping[str, Mapping[str, Mapping[str, Any]]], metric: str | None) -> str:
    tables = []
    for kind, values in buckets.items():
        known = [value for value in BUCKETS.get(kind, ()) if value in values]
        rows = []
        for value in known + [value for value in values if value not in known]:
            mean = values[value].get(metric)
            bar = f'<i style="width:{max(0.0, min(1.0, mean or 0.0)):.1%}"></i>'
            rows.append(
                f'<tr><th scope="row"><button type="button" data-kind="{escape(kind)}" data-value="{escape(value)}">'
                f"{show_text(value)}</button></th><td>{values[value].get('n', 0):,}</td>"
                f'<td><span class="bar">{bar}</span>{show_score(mean)}</td></tr>'
            )
        if rows:
            head = f'<tr><th scope="col">{_KINDS.get(kind, show_text(kind))}</th><th scope="col">n</th>'
            head += f'<th scope="col" class="quiet">{show_text(metric or "score")}</th></tr>'
            tables.append(f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>")
    if not tables:
        return ""
    what = f"<p>{show_text(metric or 'score')}, mean by bucket</p>"
    return f'<div class="buckets">{what}<div>{"".join(tables)}</div></div>\n'


def _notes(left: Mapping[str, int], unread: int) -> str:
    notes = []
    if unread:
        notes.append(f"{unread:,} entries of the data could not be read and take no part.")
    if left["left_out"]:
        notes.append(
            f"The {left['shown']:,} worst examples are shown, {left['left_out']:,} others are left out."
        )
    if left["smaller_images"]:
        notes.append(f"{left['smaller_images']:,} images are drawn smaller to keep the file small.")
    if left["images_left_out"]:
        notes.append(f"{left['images_left_out']:,} images are left out to keep the file small.")
    if left["broken_images"]:
        notes.append(f"{left['broken_images']:,} images cannot be shown.")
    return "".join(f'<p class="note">{note}</p>\n' for note in notes)


def _legend() -> str:
    cells = "".join(
        f'<li class="{verdict}"><i class="sign" aria-hidden="true">{SIGNS[verdict]}</i>{MEANINGS[verdict]}</li>'
        for verdict in VERDICTS
    )
    marked = "<li><mark>marked</mark> what the other side lacks</li>"
    keys = "<li class=keys><kbd>n</kbd> next, <kbd>p</kbd> previous, <kbd>/</kbd> search</li>"
    return f'<ul class="legend" aria-label="Legend">{cells}{marked}{keys}</ul>\n'


def _tools(facts: Sequence[dict[str, Any]]) -> str:
    """The form to sort and filter; it appears when the page's script runs."""
    names = dict.fromkeys(name for fact in facts for name in fact["scores"])
    lower = [name for name in names if name in LOWER_IS_BETTER]
    sort = _options([*names]) + '<option value=":differences">cells that differ</option>'
    sort += '<option value=":order">order of evaluation</option>'
    filters = []
    for kind, label in _KINDS.items():
        present = {fact["buckets"].get(kind) for fact in facts}
        values = [value for value in BUCKETS[kind] if value in present]
        if len(values) > 1:
            filters.append(_select(label, f"bucket:{kind}", _options(values, "any")))
    endings = sorted({fact["ending"] for fact in facts})
    filters.append(
        _select("Ending", "ending", _options(endings, "any") + _option(":failed", "with an error"))
    )
    wrong = "".join(_option(str(number), f"{SIGNS[v]} {v}") for number, v in enumerate(VERDICTS))
    wrong = _option("", "any") + _option(":some", "some cell") + wrong + _option(":none", "nothing")
    return (
        f'<form id="tools" hidden data-lower="{escape(" ".join(lower))}">'
        f"{_select('Sort by', 'sort', sort)}"
        '<button type="button" id="direction" aria-pressed="false">worst first</button>'
        f"{''.join(filters)}{_select('Differs', 'verdict', wrong)}"
        '<label>Search <input type="search" name="text" size="14" autocomplete="off"></label>'
        '<label><input type="checkbox" name="stacked"> one below the other</label>'
        '<span class="go"><output id="count" aria-live="polite"></output>'
        '<button type="button" id="previous" title="previous (p)">↑<span> previous</span></button>'
        '<button type="button" id="next" title="next (n)">↓<span> next</span></button>'
        '<button type="button" id="all" title="without filters, worst first">reset</button></span></form>\n'
    )


def _select(label: str, name: str, options: str) -> str:
    return f'<label>{label} <select name="{escape(name)}">{options}</select></label>'


def _options(values: Iterable[str], everything: str | None = None) -> str:
    first = _option("", everything) if everything else ""
    return first + "".join(_option(value, value) for value in values)


def _option(value: str, text: str) -> str:
    return f'<option value="{escape(value)}">{escape(text)}</option>'
