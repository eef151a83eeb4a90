"""Looking at one record closely: its image decoded, its table laid out, its tokens counted, its ceiling measured."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..conversations import text_of
from ..images import DocumentError, DocumentWarning, open_image
from ..pixels import upright_size
from ..records import Record, parse_record
from ..tables import Table
from .boxes import box_faults, more

# A cell that holds something (blanks, their entities, tags) but no text.
_BLANK_CELL = re.compile(
    r"<t[dh]\b[^>]*>(?:\s|&(?:nbsp|ensp|emsp|thinsp|#160|#xa0);|<(?!/?t[dhr]\b)[^>]*>)+</t[dh]\s*>",
    re.IGNORECASE,
)
_SPAN = re.compile(r"\b(row|col)span\s*=\s*[\"']?\s*\+?(\d{1,18})", re.IGNORECASE)
_REPAIRS = (  # words of `Table.repairs` -> kind of finding
    ("overlaps", "spans_overlap"),
    ("padded with empty cells", "ragged"),
    ("cut to the table", "spans_beyond"),
)


@dataclass
class TableSize:
    """What a table measures: rows, columns, cells, cells with spans, header rows and characters."""

    rows: int
    columns: int
    cells: int
    spans: int
    headers: int
    characters: int


@dataclass
class Examination:
    """What was seen of one line of a record file.

    faults:   (code of a kind of finding, what was seen)
    size:     width and height of the upright image; None if there is none that can be read
    pixels:   a hash of its decoded pixels, 0 for none; equal pictures have equal hashes, in whatever file format
    asked, answered: hashes of the chat up to its last turn, and of that
    tokens:   of all turns
    ceiling:  (official TEDS, normalised TEDS) of the table after HTML -> OTSL -> HTML; the official one is None where
              the truth stands where the official code does not look
    """

    id: str | None = None
    faults: list[tuple[str, str]] = field(default_factory=list)
    task: str | None = None
    source: str | None = None
    licence: str | None = None
    split: str | None = None
    size: tuple[int, int] | None = None
    pixels: int = 0
    asked: int = 0
    answered: int = 0
    table: TableSize | None = None
    characters: int = 0
    tokens: int | None = None
    ceiling: tuple[float | None, float] | None = None

    @property
    def is_record(self) -> bool:
        """Whether the line is a record at all."""
        return not any(code in ("unreadable", "empty_answer") for code, _ in self.faults)


@dataclass
class Examiner:
    """Examines records; it is handed to worker processes, so its functions must be importable by name or pickle.

    count_tokens: tokens of a text; None: tokens are not counted
    max_tokens:   the most that a chat may have; None: any number
    ceiling:      truth in HTML -> (official TEDS, normalised TEDS) of what OTSL keeps of it; None: not measured
    decode:       decode images; else their size is read from their header
    truths:       look at tables and answers, too; else only at images, as for files that are compared with
    """

    count_tokens: Callable[[str], int] | None = None
    max_tokens: int | None = None
    ceiling: Callable[[str], tuple[float | None, float]] | None = None
    decode: bool = True
    truths: bool = True

    def __call__(self, line: tuple[Any, str]) -> Examination:
        """Examine (JSON value of a line or the ValueError it gave, folder of its file). Raises nothing."""
        item, folder = line
        try:
            return self._examine(item, folder)
        except Exception as error:  # what a hostile record brings about must not cost the others
            reason = f"it cannot be examined ({type(error).__name__}: {str(error)[:200]})"
            return Examination(faults=[("unreadable", reason)])

    def _examine(self, item: Any, folder: str) -> Examination:
        name = item.get("id") if isinstance(item, dict) else None
        name = str(name) if isinstance(name, str | int) else None
        if isinstance(item, ValueError):
            return Examination(faults=[("unreadable", without_place(str(item)))])
        try:
            record = parse_record(item, Path(folder))
        except ValueError as error:
            return Examination(name, [("empty_answer" if _is_empty(item) else "unreadable", str(error))])
        split = record.extra.get("split")
        found = Examination(
            id=record.id,
            task=record.task,
            source=record.source,
            licence=record.licence,
            split=split if isinstance(split, str) and split else None,
        )
        self._look_at_image(record, found)
        before = record.messages if record.answer is None else record.messages[:-1]
        found.asked = fingerprint("\0".join(f"{turn['role']}:{text_of(turn)}" for turn in before))
        found.answered = fingerprint(record.answer or "")
        if self.truths:
            self._look_at_answer(record, found)
            found.faults += self._look_at_table(record, found)
        return found

    def _look_at_image(self, record: Record, found: Examination) -> None:
        if record.image is None:
            found.faults.append(("no_image", "a text alone"))
            return
        found.size, found.pixels, fault = read_picture(str(record.image), self.decode)
        if fault is not None:
            found.faults.append(fault)

    def _look_at_answer(self, record: Record, found: Examination) -> None:
        if record.answer is None:
            found.faults.append(("no_answer", f"the last turn is the {record.messages[-1]['role']}'s"))
        texts = [text_of(turn) for turn in record.messages]
        found.characters = sum(map(len, texts))
        if self.count_tokens is not None:
            found.tokens = sum(self.count_tokens(text) for text in texts)
            if self.max_tokens is not None and found.tokens > self.max_tokens:
                found.faults.append(
                    ("over_long", f"{found.tokens:,} tokens, the limit is {self.max_tokens:,}")
                )

    def _look_at_table(self, record: Record, found: Examination) -> Iterator[tuple[str, str]]:
        try:
            table, html = true_table(record)
        except ValueError as error:
            yield "unreadable", str(error)
            return
        if table is None:
            return
        found.table = TableSize(
            table.n_rows,
            table.n_cols,
            len(table.cells),
            sum(cell.rowspan * cell.colspan > 1 for cell in table.cells),
            table.header_rows,
            sum(len(cell.text) for cell in table.cells),
        )
        repairs: dict[str, list[str]] = {}
        for repair in table.repairs:
            code = next((code for words, code in _REPAIRS if words in repair), "mended")
            repairs.setdefault(code, []).append(repair)
        if html is not None and "spans_beyond" not in repairs:
            limits = {"row": table.n_rows, "col": table.n_cols}
            wide = [span[0] for span in _SPAN.finditer(html) if int(span[2]) > limits[span[1].lower()]]
            if wide:
                size = f"{table.n_rows} rows x {table.n_cols} columns"
                repairs["spans_beyond"] = [f"{span} in a table of {size}" for span in wide]
        for code, seen in repairs.items():
            yield code, seen[0] + more(len(seen) - 1)
        has_texts = not record.extra.get("structure_only")
        if has_texts and not found.table.characters:
            yield "empty_table", f"{len(table.cells)} cells"
        if has_texts and html is not None and (blank := _BLANK_CELL.findall(html)):
            yield "blank_cells", f"{blank[0][:60]!r}" + more(len(blank) - 1)
        if record.extra.get("boxes") is not None:
            yield from box_faults(record.extra["boxes"], table, found.size)
        if html is not None:
            yield from self._measure_ceiling(html, found)

    def _measure_ceiling(self, html: str, found: Examination) -> Iterator[tuple[str, str]]:
        if self.ceiling is None:
            return
        try:
            found.ceiling = self.ceiling(html)
        except ValueError as error:
            yield "unscorable", str(error)
            return
        official, normalised = found.ceiling
        if normalised < 1:
            yield "otsl_loss", f"TEDS (normalised) {normalised:.4f}"
        if official is None:
            yield "bare_table", f"it starts with {html[:40]!r}"
        elif official < 1:
            yield "ceiling", f"TEDS (official) {official:.4f}"


def true_table(record: Record) -> tuple[Table | None, str | None]:
    """The table that a record holds as its truth, and its HTML where that is what the record has.

    A record of the task "table" without a target has it in its answer, in HTML or OTSL. (None, None) for records
    without a table. Raises ValueError if the target, which is not looked at when there are messages, is no table.
    """
    html, otsl = record.target.get("html"), record.target.get("otsl")
    if record.task == "table" and not record.target and record.answer:
        html, otsl = (record.answer, None) if "<table" in record.answer else (None, record.answer)
    if isinstance(html, str):
        return Table.from_html(html), html
    return (Table.from_otsl(otsl), None) if isinstance(otsl, str) else (None, None)


@functools.lru_cache(maxsize=64)  # conversations about one image mostly follow each other
def read_picture(
    path: str, decode: bool = True
) -> tuple[tuple[int, int] | None, int, tuple[str, str] | None]:
    """Return (size, hash of the decoded pixels or 0, fault or None) of an image file; never raises."""
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            if not decode and os.path.isfile(path):  # a pipe would wait
                return upright_size(path), 0, None
            image = open_image(path)
    except Exception as problem:  # DocumentError; without decoding, whatever Pillow raises on bad files
        if not os.path.exists(path):
            return None, 0, ("image_missing", f"no file at {path}")
        reason = str(problem) if isinstance(problem, DocumentError) else type(problem).__name__
        return None, 0, ("image_broken", reason)
    digest = hashlib.blake2b(repr(image.size).encode(), digest_size=8)
    digest.update(image.tobytes())
    frames = [
        str(w.message) for w in said if issubclass(w.category, DocumentWarning) and "first" in str(w.message)
    ]
    pixels = int.from_bytes(digest.digest(), "big") or 1
    return image.size, pixels, ("frames", frames[0]) if frames else None


def fingerprint(text: str) -> int:
    """A 64-bit hash of a text, the same in every process."""
    data = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big") or 1


def without_place(message: str) -> str:
    """The message of a ValueError of `record_lines` without the "FILE:LINE: " in front."""
    return re.sub(r"^.*?(?::\d+|: item \d+)?: (?=no (?:JSON|UTF-8))", "", message, count=1, flags=re.DOTALL)


def _is_empty(item: Any) -> bool:
    """Whether a record that cannot be read has an answer of nothing but blanks."""
    if not isinstance(item, dict):
        return False
    turns = item.get("messages", item.get("conversations"))
    if isinstance(turns, list) and turns and isinstance(turns[-1], dict):
        last = turns[-1].get("content", turns[-1].get("value"))
        return isinstance(last, str) and not last.strip()
    target = item.get("target")
    if not isinstance(target, dict):
        return False
    answers = [value for name, value in target.items() if name != "question"]
    return bool(answers) and all(
        not value or (isinstance(value, str) and not value.strip()) for value in answers
    )
