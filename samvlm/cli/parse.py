"""samvlm parse: files in, tables out; what cannot be read costs a line, not the other files."""

from __future__ import annotations

import argparse
import glob
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from ..data.images import DocumentError, Page, display_name, open_pages
from ..generation import DocumentParser, ParseResult
from ..generation.timing import Timing
from .console import BAD_INPUT, OK, PAGE_FAILED, interrupted, load, next_page, say, terminable
from .outputs import FolderOutput, StreamOutput, WorkbookOutput
from .timing import page_line, summary_line

WINDOW = 4  # batches whose pages are sorted by size, so that those of one batch take about equally long
WAITING_PIXELS = 100_000_000  # of pages that wait, 300 MB


class ModelError(Exception):
    """The model cannot be loaded, so that no file can be parsed."""


def run(options: argparse.Namespace) -> int:
    """Parse every file; returns the exit code."""
    files = expand(options.files)
    try:
        output = _output(options, files)
    except DocumentError as problem:
        say(f"error: {problem}")
        return BAD_INPUT
    reader = Reader(options, output)
    shown = options.output is None and sys.stdout.isatty()  # the tables themselves show the progress
    quiet = len(files) < 2 or shown or not sys.stderr.isatty()
    bar = tqdm(total=len(files), unit="file", file=sys.stderr, disable=quiet, leave=False)
    try:
        with terminable():
            for number, path in enumerate(files):
                reader.read(number, path)
                bar.update(reader.done + len(reader.failed) - bar.n)
            reader.parse_waiting()
    except ModelError as problem:
        say(f"error: {problem}")
        return BAD_INPUT
    except KeyboardInterrupt as cause:
        bar.close()
        say(f"interrupted; {reader.done} of {len(files)} files are done")
        return interrupted(cause)
    finally:
        bar.close()
        output.close()
    if options.timing:
        say(summary_line(reader.timings, reader.load_seconds))
    return reader.worst


def _output(options: argparse.Namespace, files: list[str]) -> FolderOutput | StreamOutput | WorkbookOutput:
    raw = options.raw_cells
    if options.output is None and options.format == "xlsx":
        return WorkbookOutput(files, raw)
    if options.output is None:
        return StreamOutput(options.format or "text", len(files) > 1, raw)
    return FolderOutput(Path(options.output), options.format or "html", files, options.force, raw)


def expand(patterns: Sequence[str]) -> list[str]:
    """File names, with the patterns that the shell left alone (quoted, or on Windows) filled in."""
    files = []
    for pattern in patterns:
        found = [] if os.path.lexists(pattern) or not glob.has_magic(pattern) else sorted(glob.glob(pattern))
        files += found or [pattern]
    return files


@dataclass
class Job:
    """A page of file `number` that was read and waits to be parsed."""

    number: int
    path: str
    page: Page

    def area(self) -> int:
        """Pixels of its image."""
        return self.page.image.width * self.page.image.height

    def __str__(self) -> str:
        return display_name(self.path) + (f": page {self.page.index + 1}" if self.page.index else "")


class Reader:
    """Reads one file after the other and parses their pages in batches, in order.

    The model is loaded when the first page is there. `worst` is the exit code so far, `done` how many files were
    parsed and written, `failed` the numbers of those that could not be.
    """

    def __init__(self, options: argparse.Namespace, output: FolderOutput | StreamOutput | WorkbookOutput):
        self.options, self.output = options, output
        self.batch_size = options.batch_size or 1  # on the screen, tables are to appear one after the other
        self.parser: DocumentParser | None = None
        self.worst = OK
        self.done = 0
        self.failed: set[int] = set()
        self.waiting: list[Job] = []
        self.timings: list[Timing] = []  # of each batch, where asked for
        self.load_seconds = 0.0
        self.last = -1  # number of the last file that was read to its end

    def read(self, number: int, path: str) -> None:
        """Read file `number`; whenever there are pages enough, parse and write them.

        Raises ModelError, once the first page is there, if the model cannot be loaded.
        """
        try:
            self.output.check(number)
            pages = open_pages(path, password=self.options.password, max_pages=self.options.max_pages)
            try:
                while number not in self.failed and (page := next_page(pages)) is not None:
                    if page.image is None:
                        say(f"error: {page.error}")
                        self.worst = max(self.worst, PAGE_FAILED)
                        continue
                    self._load()
                    self.waiting.append(Job(number, path, page))
                    if self._is_enough():
                        self.parse_waiting()
            finally:
                pages.close()
        except DocumentError as problem:
            self._fail(number, problem)
        self.last = number
        self._settle(number)

    def parse_waiting(self) -> None:
        """Parse and write the pages that were read; what fails costs its own file."""
        for result in self._parse(self.waiting):
            job = self.waiting[0]
            if job.number not in self.failed:
                try:
                    self._write(job, result)
                except DocumentError as problem:
                    self._fail(job.number, problem)
            self.waiting.pop(0)
            self._settle(job.number)

    def _load(self) -> None:
        if self.parser is None:
            try:
                start = time.perf_counter()
                self.parser = load(self.options)
                self.load_seconds = time.perf_counter() - start
                self.parser.timing = self.options.timing
                if self.options.output and self.options.batch_size is None:
                    self.batch_size = self.parser.batch_size
            except ValueError as problem:
                raise ModelError(problem) from None

    def _is_enough(self) -> bool:
        pages = self.batch_size * (WINDOW if self.batch_size > 1 else 1)
        return len(self.waiting) >= pages or sum(map(Job.area, self.waiting)) >= WAITING_PIXELS

    def _parse(self, jobs: list[Job]) -> list[ParseResult | DocumentError]:
        """Parse in batches of similar size; a result, or what was wrong, for each job in order."""
        by_area = sorted(range(len(jobs)), key=lambda number: jobs[number].area())
        results: dict[int, ParseResult | DocumentError] = {}
        for first in range(0, len(jobs), self.batch_size):
            numbers = by_area[first : first + self.batch_size]
            batch = self._parse_batch([jobs[number] for number in numbers])
            results.update(zip(numbers, batch, strict=True))
        return [results[number] for number in range(len(jobs))]

    def _parse_batch(self, jobs: list[Job]) -> list[ParseResult | DocumentError]:
        images = [job.page.image for job in jobs]
        limit = self.options.max_new_tokens
        try:
            return self.parser.parse_batch(images, task=self.options.task, max_new_tokens=limit)
        except (ValueError, RuntimeError) as problem:  # too little context, memory …: one alone may do
            if len(jobs) > 1:
                return [result for job in jobs for result in self._parse_batch([job])]
            return [DocumentError(f"{jobs[0]}: {str(problem).splitlines()[0]}")]

    def _write(self, job: Job, result: ParseResult | DocumentError) -> None:
        if isinstance(result, DocumentError):
            raise result
        result.page = job.page.index + 1
        self.output.write(job.number, job.path, result)
        if result.timing:
            say(page_line(str(job), result))
            if not any(result.timing is known for known in self.timings):
                self.timings.append(result.timing)
        if result.finish_reason != "stop":
            say(f"warning: {job}: {_cut_off(result)}")

    def _settle(self, number: int) -> None:
        """Count a file as done if nothing of it is left to do."""
        waits = number > self.last or any(job.number == number for job in self.waiting)
        self.done += not waits and number not in self.failed

    def _fail(self, number: int, problem: DocumentError) -> None:
        say(f"error: {problem}")
        self.worst = BAD_INPUT
        self.failed.add(number)


def _cut_off(result: ParseResult) -> str:
    if result.finish_reason == "repetition":
        return "the model went in circles; the output is cut off where they start"
    limit = f"reached its limit ({result.tokens} tokens), or a cell of it went in circles"
    return f"the output {limit}, and was cut off there; see --max-new-tokens"
