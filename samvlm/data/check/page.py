"""The report of a check as one self-contained web page: findings with pictures, measures, histogram, ceiling."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..preview import RECORD_STYLE, record_markup
from ..webpage import page_end, page_start, show_text
from ..whole_files import whole_file
from .checker import Report
from .findings import SEVERITIES, Finding
from .stats import MEASURES, Statistics

PICTURES = 6  # records that are shown of each kind of finding
LONGEST = 560  # pixels of their pictures

_STYLE = (
    RECORD_STYLE
    + """
main { max-width: 1150px; }
.lead { color: var(--soft); margin: 0 0 1rem; }
.verdict { display: flex; flex-wrap: wrap; gap: .4rem 1.6rem; margin: .2rem 0 1rem; padding: .6rem 1rem;
  background: var(--paper); border: 1px solid var(--line); border-radius: 4px; font-size: 1.05rem; }
.error { color: var(--bad); } .warning { color: var(--warn); } .note { color: var(--soft); } .clean { color: var(--good); }
.beside { margin: -.7rem 0 1.2rem 2rem; } .counts { margin: 0 0 .6rem; } .counts p { margin: 0; }
.toc, .measures { background: var(--paper); }
.toc td:nth-child(2), .measures td:not(:first-child), .measures th:not(:first-child) { text-align: end; }
.toc td { border-width: 0 0 1px; } .toc { border-top: 1px solid var(--line); }
.measures td, .measures th { border-width: 0 0 1px; padding: .15rem .8rem; background: none; }
.measures { border: 1px solid var(--line); }
details { margin: .5rem 0; } summary { cursor: pointer; font-size: 1.02rem; padding: .2rem 0; }
summary b { font-weight: 650; } .what { color: var(--soft); margin: 0 0 .3rem 1.1rem; }
.others { margin: .2rem 0 .4rem 1.1rem; padding: 0; list-style: none; overflow-wrap: anywhere; }
svg text { fill: var(--soft); font: 11px system-ui, sans-serif; } svg rect { fill: var(--accent); }
svg .over { fill: var(--bad); } svg line { stroke: var(--line); } svg .limit { stroke: var(--bad); stroke-dasharray: 4 3; }
figure { margin: 0; padding: .8rem 1rem; background: var(--paper); border: 1px solid var(--line); border-radius: 4px;
  max-width: 760px; }
"""
)


def write_report(path: str | Path, report: Report) -> None:
    """Write the page of a report; it is there whole or not at all. Raises OSError."""
    with whole_file(Path(path)) as stream:
        for part in report_parts(report):
            stream.write(part.encode("utf-8", "replace"))


def report_parts(report: Report) -> Iterator[str]:
    """Yield the page piece by piece; pictures are opened as they are reached."""
    title = ", ".join(Path(file).name for file in report.files)
    yield page_start(f"{title}: check of records", _STYLE)
    yield f"<main><h1>{show_text(title)}</h1>"
    files = ", ".join(report.files)
    if report.against:
        files += f"; compared with {', '.join(report.against)} ({report.references:,} records)"
    yield f'<p class="lead">{show_text(files)}</p>'
    yield _verdict(report)
    yield _contents(report.findings)
    statistics = report.statistics
    yield "<h2>Measures</h2>" + _measures(statistics)
    if bars := statistics.histogram("tokens"):
        yield "<h2>Tokens of a chat</h2><figure>" + histogram_svg(bars, report.max_tokens) + "</figure>"
    if words := ceiling_words(statistics):
        yield f"<h2>Ceiling</h2><p>{show_text(words)}</p>"
    if report.findings:
        yield "<h2>Findings</h2>"
    for found in report.findings:
        yield from _finding(found)
    yield "</main>" + page_end()


def ceiling_words(statistics: Statistics) -> str | None:
    """Say what the best model could score with OTSL as its target; None if it was not measured."""
    means = statistics.ceiling()
    if means is None:
        return None
    official, normalised = means
    of_official, of_normalised = statistics.measured()
    first = f"TEDS (official) {official:.4f} over {of_official:,} tables" if official is not None else ""
    second = f"TEDS (normalised) {normalised:.4f} over {of_normalised:,} tables"
    return "HTML -> OTSL -> HTML scores " + ", ".join(part for part in (first, second) if part)


def histogram_svg(bars: list[tuple[int, int, int]], limit: int | None = None) -> str:
    """Draw (from, to, number) bars as inline SVG, with a line at `limit` if it lies within."""
    width, height, left, bottom, top = 720, 220, 46, 26, 14
    most = max(number for *_, number in bars)
    low, high = bars[0][0], bars[-1][1]

    def x(value: float) -> float:
        return left + (width - left - 8) * (value - low) / (high - low)

    def y(number: float) -> float:
        return height - bottom - (height - bottom - top) * number / most

    parts = [
        f'<svg viewBox="0 0 {width} {height}" role="img" width="100%"><title>records by number of tokens</title>'
    ]
    for number in sorted({0, most // 2, most}):
        parts.append(
            f'<line x1="{left}" x2="{width - 8}" y1="{y(number):.1f}" y2="{y(number):.1f}"/>'
            f'<text x="{left - 6}" y="{y(number) + 4:.1f}" text-anchor="end">{number:,}</text>'
        )
    for start, end, number in bars:
        if number:
            name = ' class="over"' if limit is not None and start >= limit else ""
            parts.append(
                f'<rect{name} x="{x(start) + 0.5:.1f}" y="{y(number):.1f}" width="{max(1.0, x(end) - x(start) - 1):.1f}" '
                f'height="{height - bottom - y(number):.1f}"><title>{start:,} to {end - 1:,} tokens: {number:,} records'
                "</title></rect>"
            )
    step = max(1, len(bars) // 8)
    for start, _, _ in bars[::step]:
        parts.append(f'<text x="{x(start):.1f}" y="{height - 8}" text-anchor="middle">{start:,}</text>')
    if limit is not None and low < limit < high:
        parts.append(
            f'<line class="limit" x1="{x(limit):.1f}" x2="{x(limit):.1f}" y1="{top}" y2="{height - bottom}"/>'
            f'<text x="{x(limit) + 4:.1f}" y="{top + 10}">limit {limit:,}</text>'
        )
    return "".join(parts) + "</svg>"


def _verdict(report: Report) -> str:
    parts = [
        f'<span class="{severity}"><b>{report.count(severity):,}</b> {_plural(severity, report.count(severity))}</span>'
        for severity in SEVERITIES
        if report.count(severity)
    ]
    if not parts:
        parts = ['<span class="clean">Nothing is wrong.</span>']
    s = report.statistics
    parts.append(f"<span>{s.records:,} records, {s.images:,} images, {s.tables:,} tables</span>")
    return f'<div class="verdict">{"".join(parts)}</div>'


def _plural(word: str, number: int) -> str:
    return word if number == 1 else word + "s"


def _contents(findings: list[Finding]) -> str:
    rows = "".join(
        f'<tr><td class="{f.kind.severity}">{f.kind.severity}</td><td>{f.count:,}</td>'
        f'<td><a href="#{f.kind.code}">{f.kind.code}</a></td><td>{show_text(f.kind.meaning)}</td></tr>'
        for f in findings
    )
    return f'<table class="toc"><tbody>{rows}</tbody></table>' if rows else ""


def _measures(statistics: Statistics) -> str:
    spreads = [(name, spread) for name in MEASURES if (spread := statistics.spread(name)) is not None]
    if not spreads:
        return "<p>There is nothing to measure.</p>"
    counts = "".join(
        f"<p>{name}s: "
        + ", ".join(f"{show_text(value)} {number:,}" for value, number in counter.most_common(12))
        + "</p>"
        for name, counter in statistics.counts.items()
        if set(counter) - {"(none)"}
    )
    rows = "".join(
        f"<tr><td>{MEASURES[name]}</td>"
        + "".join(f"<td>{value:,}</td>" for value in (s.least, s.median, s.most_of, s.most))
        + f"<td>{'' if name in ('width', 'height') else f'{s.total:,}'}</td></tr>"
        for name, s in spreads
    )
    head = "".join(f"<th>{name}</th>" for name in ("", "least", "median", "95 %", "most", "total"))
    return f'<div class="counts">{counts}</div><div class="scroll"><table class="measures"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _finding(found: Finding) -> Iterator[str]:
    kind = found.kind
    is_open = " open" if kind.severity != "note" else ""
    yield (
        f'<details id="{kind.code}"{is_open}><summary><span class="{kind.severity}">{kind.severity}</span> '
        f"<b>{kind.code}</b> {found.count:,}: {show_text(kind.meaning)}</summary>"
        f'<p class="what">{show_text(kind.remedy)}</p>'
    )
    shown = [example for example in found.examples if example.item is not None][:PICTURES]
    for example in shown:
        yield record_markup(example.item, example.folder, example.where, example.detail, LONGEST)
        if (other := example.other) is not None:
            beside = record_markup(other.item, other.folder, other.where, longest=LONGEST)
            yield f'<div class="beside">{beside}</div>'
    others = [example for example in found.examples if not any(example is other for other in shown)]
    rows = "".join(f"<li>{show_text(f'{example.where}: {example.detail}')}</li>" for example in others)
    left = found.count - len(found.examples)
    rows += f"<li>and {left:,} more</li>" if left > 0 else ""
    yield (f'<ul class="others">{rows}</ul>' if rows else "") + "</details>\n"
