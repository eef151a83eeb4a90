"""The report of a check as lines of text for the terminal."""

from __future__ import annotations

from .checker import Report
from .findings import SEVERITIES
from .page import ceiling_words
from .stats import bars

BARS = 16  # of the histogram, at most
NAMED = 3  # examples of each finding


def report_lines(report: Report) -> list[str]:
    """Return the report, the worst findings first and a verdict at the end; no colours, columns aligned."""
    lines = [*report.statistics.lines(), ""]
    if histogram := report.statistics.histogram("tokens", BARS):
        limit = f", limit {report.max_tokens:,}" if report.max_tokens is not None else ""
        lines += [f"tokens of a chat{limit}", *bars(histogram), ""]
    if words := ceiling_words(report.statistics):
        lines += [f"ceiling: {words}", ""]
    for severity in SEVERITIES:
        found = [finding for finding in report.findings if finding.kind.severity == severity]
        if not found:
            continue
        lines.append(f"{severity}s")
        for finding in found:
            kind = finding.kind
            lines.append(f"  {kind.code:<15}{finding.count:>9,}  {kind.meaning}; {kind.remedy}")
            for example in finding.examples[:NAMED]:
                name = f" (id {' '.join(example.id.split())[:200]})" if example.id is not None else ""
                lines.append(f"{'':28}{example.where}{name}: {' '.join(example.detail.split())[:200]}")
        lines.append("")
    return [*lines, verdict(report)]


def verdict(report: Report) -> str:
    """Return what there is of each severity, in one line."""
    counts = [
        f"{count:,} {severity}{'' if count == 1 else 's'}"
        for severity in SEVERITIES
        if (count := report.count(severity))
    ]
    return ", ".join(counts) if counts else "nothing is wrong"
