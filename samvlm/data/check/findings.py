"""What can be wrong with records: each kind of finding with its severity, its meaning and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")  # the worst first

EXAMPLES = 12  # that are kept of each kind


@dataclass(frozen=True)
class Kind:
    """One kind of finding: its name, how bad it is, what it means and what to do."""

    code: str
    severity: Severity
    meaning: str
    remedy: str


KINDS: dict[str, Kind] = {
    kind.code: kind
    for kind in (
        Kind("no_records", "error", "files without a single record", "give files of at least one line"),
        Kind("unreadable", "error", "lines that are no record", "correct or remove the line"),
        Kind(
            "empty_answer",
            "error",
            "records whose answer is empty",
            "give the answer, or leave the record out",
        ),
        Kind("no_answer", "error", "chats that end without an answer", "end them with the assistant's turn"),
        Kind("id_twice", "error", "records whose id stands in the file already", "make ids unique"),
        Kind("image_missing", "error", "images that are not there", "paths are relative to the record file"),
        Kind("image_broken", "error", "images that cannot be read", "get a complete copy, or leave them out"),
        Kind(
            "truth_conflict",
            "error",
            "records that answer the same question about the same image in another way",
            "keep the one that is right",
        ),
        Kind(
            "leak",
            "error",
            "images that stand in more than one split, so that scores are too good",
            "split again with `samvlm data split`",
        ),
        Kind(
            "spans_overlap", "error", "tables with cells on top of each other", "correct rowspan and colspan"
        ),
        Kind(
            "boxes_flipped",
            "error",
            "tables whose boxes run from the bottom up",
            "y points down in images: use y = height - y",
        ),
        Kind(
            "boxes_broken",
            "error",
            "boxes that are no [x0, y0, x1, y1] with x0 <= x1 and y0 <= y1",
            "correct them",
        ),
        Kind(
            "boxes_outside",
            "warning",
            "tables with boxes outside the image",
            "give boxes in pixels of this image",
        ),
        Kind(
            "boxes_order",
            "warning",
            "tables whose boxes do not follow the reading order",
            "give one box a cell, row by row, null for cells without",
        ),
        Kind(
            "boxes_count",
            "warning",
            "tables with another number of boxes than of cells",
            "give null for cells without",
        ),
        Kind("ragged", "warning", "tables with rows of unequal length", "add the cells that are missing"),
        Kind("spans_beyond", "warning", "tables with spans beyond their edge", "correct rowspan and colspan"),
        Kind("mended", "warning", "OTSL that had to be mended", "look at the places that are named"),
        Kind(
            "blank_cells",
            "warning",
            "tables with cells of blanks or empty tags",
            "the official TEDS counts them as wrong against empty cells; empty them",
        ),
        Kind("empty_table", "warning", "tables without any text", 'add it, or say "structure_only": true'),
        Kind(
            "bare_table",
            "warning",
            "truths without <html><body> around the table",
            "the official TEDS is 0 for them, whatever is predicted; wrap them",
        ),
        Kind(
            "unscorable",
            "warning",
            "truths that the official TEDS refuses",
            "write rowspan and colspan as whole numbers",
        ),
        Kind(
            "otsl_loss",
            "warning",
            "tables that OTSL cannot hold (their ceiling in TEDS, normalised, is below 1)",
            "look at them",
        ),
        Kind(
            "over_long",
            "warning",
            "chats with more tokens than the limit",
            "leave them out, or raise the context",
        ),
        Kind(
            "duplicate",
            "warning",
            "records that repeat the image, question and answer of another",
            "leave the copies out",
        ),
        Kind(
            "ceiling",
            "note",
            "tables whose ceiling in the official TEDS is below 1",
            "OTSL keeps no th, inline tags, blanks, short rows or rows outside thead and tbody",
        ),
        Kind("shared_image", "note", "images with several questions", "fine, if they are meant to be"),
        Kind("frames", "note", "files with more than one frame or page", "only the first is read"),
        Kind("no_image", "note", "records without an image", "fine for texts alone"),
    )
}


@dataclass
class Example:
    """One case of a finding: where it stands ("FILE:LINE"), the record's id if it has one, and what was seen.

    `item` is the record as it was read, for pages that show it; `folder` is what its image path is relative to;
    `other` is the record that it repeats or contradicts.
    """

    where: str
    id: str | None
    detail: str
    item: Any = None
    folder: str = ""
    other: Example | None = None


@dataclass
class Finding:
    """All cases of one kind: how many, and the first `EXAMPLES` of them."""

    kind: Kind
    count: int = 0
    examples: list[Example] = field(default_factory=list)


class Findings:
    """Findings by kind; counts every case and keeps the first few."""

    def __init__(self) -> None:
        self.by_code: dict[str, Finding] = {}

    def add(self, code: str, example: Example, count: int = 1) -> None:
        """Count a case (or several that one example stands for)."""
        finding = self.by_code.setdefault(code, Finding(KINDS[code]))
        finding.count += count
        if len(finding.examples) < EXAMPLES:
            finding.examples.append(example)

    def sorted(self) -> list[Finding]:
        """All findings, the worst first, in the order of `KINDS`."""
        order = list(KINDS)
        return sorted(
            self.by_code.values(),
            key=lambda found: (SEVERITIES.index(found.kind.severity), order.index(found.kind.code)),
        )

    def worst(self) -> Severity | None:
        """The worst severity; None if nothing was found."""
        found = self.sorted()
        return found[0].kind.severity if found else None
