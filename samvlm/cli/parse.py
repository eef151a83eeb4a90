"""samvlm parse: files in, tables out; what cannot be read costs a line, not the other files."""

from __future__ import annotations

import argparse
import glob
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from ..data.images import DocumentError, Page, display_name, open_pages
from ..generation import DocumentParser, ParseResult
from .console import BAD_INPUT, INTERRUPTED, OK, PAGE_FAILED, load, next_page, say
from .outputs import FolderOutput, StreamOutput


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
    worst, done = OK, 0
    shown = options.output is None and sys.stdout.isatty()  # the tables themselves show the progress
    quiet = len(files) < 2 or shown or not sys.stderr.isatty()
    bar = tqdm(files, unit="file", file=sys.stderr, disable=quiet, leave=False)
    try:
        for number, path in enumerate(bar):
            try:
                output.check(number)
                worst = max(worst, reader.parse(number, path))
                done += 1
            except DocumentError as problem:
                say(f"error: {problem}")
                worst = BAD_INPUT
    except ModelError as problem:
        say(f"error: {problem}")
        return BAD_INPUT
    except KeyboardInterrupt:
        bar.close()
        say(f"interrupted; {done} of {len(files)} files are done")
        return INTERRUPTED
    finally:
        bar.close()
        output.close()
    return worst


def _output(options: argparse.Namespace, files: list[str]) -> FolderOutput | StreamOutput:
    raw = options.raw_cells
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


class Reader:
    """Parses one file after the other, with a model that is loaded when the first page is there."""

    def __init__(self, options: argparse.Namespace, output: FolderOutput | StreamOutput):
        self.options, self.output = options, output
        self.parser: DocumentParser | None = None

    def parse(self, number: int, path: str) -> int:
        """Parse and write all pages of file `number`; returns `PAGE_FAILED` if one could not be read.

        Raises DocumentError if the file cannot be read, parsed or its output written.
        """
        worst = OK
        pages = open_pages(path, password=self.options.password, max_pages=self.options.max_pages)
        try:
            while (page := next_page(pages)) is not None:
                if page.image is None:
                    say(f"error: {page.error}")
                    worst = PAGE_FAILED
                    continue
                where = display_name(path) + (f": page {page.index + 1}" if page.index else "")
                result = self._parse_page(page, where)
                self.output.write(number, path, result)
                if result.finish_reason != "stop":
                    say(f"warning: {where}: {_cut_off(result)}")
        finally:
            pages.close()
        return worst

    def _parse_page(self, page: Page, where: str) -> ParseResult:
        if self.parser is None:
            try:
                self.parser = load(self.options)
            except ValueError as problem:
                raise ModelError(problem) from None
        limit = self.options.max_new_tokens
        try:
            result = self.parser(page.image, task=self.options.task, max_new_tokens=limit)
        except (ValueError, RuntimeError) as problem:  # too little context, memory …: the next page may do
            raise DocumentError(f"{where}: {str(problem).splitlines()[0]}") from None
        result.page = page.index + 1
        return result


def _cut_off(result: ParseResult) -> str:
    if result.finish_reason == "repetition":
        return "the model went in circles; the output is cut off where they start"
    return f"the output reached its limit ({result.tokens} tokens) and was cut off; see --max-new-tokens"
