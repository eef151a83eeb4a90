"""`samvlm data check`: everything that is wrong with record files, before anyone trains on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..parallel import ordered_map
from ..records import record_lines
from .duplicates import RepeatIndex
from .examination import Examination, Examiner, fingerprint
from .findings import EXAMPLES, Example, Finding, Findings
from .stats import Statistics

_REFERENCE = "\0"  # in front of the labels of files that are only compared with


@dataclass
class Report:
    """What `check_records` found. `findings` has the worst first; `references` counts the records compared with."""

    files: list[str]
    findings: list[Finding]
    statistics: Statistics
    references: int = 0
    max_tokens: int | None = None
    against: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """2 with errors, 1 with warnings, else 0."""
        severities = {found.kind.severity for found in self.findings}
        return 2 if "error" in severities else 1 if "warning" in severities else 0

    def count(self, severity: str) -> int:
        """How many cases of a severity there are."""
        return sum(found.count for found in self.findings if found.kind.severity == severity)


@dataclass
class _Line:
    """A line of a record file, on its way through a worker."""

    where: str
    item: Any
    file: int


def check_records(
    files: Sequence[str | Path],
    against: Sequence[str | Path] = (),
    count_tokens: Callable[[str], int] | None = None,
    max_tokens: int | None = None,
    ceiling: Callable[[str], tuple[float | None, float]] | None = None,
    workers: int = 1,
    progress: Callable[[], Any] = lambda: None,
) -> Report:
    """Look at every record of the files and at every image, and say what is wrong.

    Memory grows by some 100 bytes a record. Images are compared by their decoded pixels: the same picture in
    another size or compression is another picture.

    Args:
        files: record files. A record belongs to the split that its field "split" names; else, if there are several
            files, each file is a split.
        against: more record files, of which only the images are looked at: an image that is also in `files` leaks.
        count_tokens: tokens of a text.
        max_tokens: chats with more are over-long. The places of the image come on top: they are not counted.
        ceiling: truth in HTML -> its best scores with OTSL as the target, see `samvlm.evaluation.ceiling`.
        workers: processes; functions and tokenizers given above must pickle if there are more than 1.
        progress: called once for each line.

    Raises:
        ValueError: one of the files is not there.
    """
    given = [str(path) for path in (*files, *against)]
    for path in given:
        if not Path(path).is_file():
            raise ValueError(f"no record file at {path}; give a .jsonl file")
    full = Examiner(count_tokens, max_tokens, ceiling)
    check = _Check(given, len(files))
    report = Report(given[: len(files)], [], check.statistics, 0, max_tokens, given[len(files) :])
    for number, examiner in ((0, full), (1, Examiner(truths=False))):
        part = range(len(files)) if number == 0 else range(len(files), len(given))
        for line, seen in _examined(given, part, examiner, workers):
            check.add(line, seen)
            progress()
    report.references = check.references
    check.compare()
    report.findings = check.findings.sorted()
    return report


def _examined(
    files: list[str], numbers: range, examiner: Examiner, workers: int
) -> Iterator[tuple[_Line, Examination]]:
    lines = (_Line(where, item, number) for number in numbers for where, item in record_lines(files[number]))
    folders = [str(Path(path).absolute().parent) for path in files]
    task = _Task(examiner, folders)
    lost = Examination(faults=[("image_broken", "reading it ended the process; out of memory?")])
    yield from ordered_map(task, lines, workers, lambda line: lost)


@dataclass
class _Task:
    """What a worker does with a line."""

    examiner: Examiner
    folders: list[str]

    def __call__(self, line: _Line) -> Examination:
        return self.examiner((line.item, self.folders[line.file]))


class _Check:
    """Gathers examinations, then compares records with each other."""

    def __init__(self, files: list[str], count: int):
        self.files, self.count = files, count
        self.folders = [str(Path(path).absolute().parent) for path in files]
        self.findings, self.statistics, self.repeats = Findings(), Statistics(), RepeatIndex()
        self.references = 0
        self.seen_files: set[int] = set()

    def add(self, line: _Line, seen: Examination) -> None:
        """Take in one line."""
        self.seen_files.add(line.file)
        for code, detail in seen.faults:
            if line.file < self.count or code != "no_image":
                self.findings.add(code, self._example(line, detail, seen.id))
        is_record = seen.is_record
        if line.file >= self.count:
            label = _REFERENCE + self.files[line.file]
            self.references += is_record
        else:
            label = seen.split or (self.files[line.file] if self.count > 1 else "no split")
            if is_record:
                self.statistics.add(seen)
        name = fingerprint(seen.id) if seen.id is not None and is_record else 0
        self.repeats.add(name, seen.pixels, seen.asked, seen.answered, line.file, label)

    def compare(self) -> None:
        """Find what repeats; a second pass over the files fetches the examples that are shown."""
        for number, path in enumerate(self.files):
            if number not in self.seen_files:
                self.findings.add("no_records", Example(path, None, "it is empty"))
        references = frozenset(label for label in self.repeats.labels if label.startswith(_REFERENCE))
        counts: dict[str, int] = {}
        shown: list[tuple[str, int, int]] = []
        for found in (*self.repeats.repeated_ids(), *self.repeats.repeated_images(references)):
            counts[found.code] = counts.get(found.code, 0) + 1
            if counts[found.code] <= EXAMPLES:
                shown.append((found.code, found.index, found.other))
        lines = self._lines({index for _, *indices in shown for index in indices}) if shown else {}
        for code, index, other in shown:
            beside = lines[other].where
            if code == "leak":
                splits = [self.repeats.label(i).removeprefix(_REFERENCE) for i in (index, other)]
                detail = f"in {splits[0]}; also in {splits[1]}, at {beside}"
            else:
                detail = f"see {beside}"
            example = self._example(lines[index], detail)
            example.other = self._example(lines[other], "")
            self.findings.add(code, example)
        for code, count in counts.items():
            self.findings.by_code[code].count = count

    def _lines(self, wanted: set[int]) -> dict[int, _Line]:
        found: dict[int, _Line] = {}
        index = 0
        for number, path in enumerate(self.files):
            for where, item in record_lines(path):
                if index in wanted:
                    found[index] = _Line(where, item, number)
                    if len(found) == len(wanted):
                        return found
                index += 1
        return found

    def _example(self, line: _Line, detail: str, name: str | None = None) -> Example:
        if name is None and isinstance(line.item, dict):
            name = line.item.get("id")
        item = line.item if isinstance(line.item, dict) else None
        return Example(line.where, None if name is None else str(name), detail, item, self.folders[line.file])
