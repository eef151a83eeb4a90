"""Where `samvlm parse` writes: standard output, or files in a folder that never clobber others."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from ..data.images import DocumentError, display_name
from ..data.safe_text import dump_json
from ..data.spreadsheet.writer import MAX_COLUMNS, write_xlsx
from ..data.tables import Table
from ..data.whole_files import whole_file
from ..generation.results import EXPORTS, HTML_TAIL, ParseResult, html_head, named_tables, single_tables


class FolderOutput:
    """Writes `STEM.FORMAT` for each input, `STEM.p2.FORMAT` for page 2, `STEM.t2.FORMAT` for a second table.

    Inputs of one stem get `STEM-2`, `STEM-3` …; files are whole or absent, and existing ones stay unless `force`.
    """

    def __init__(
        self, folder: Path, format: str, inputs: Iterable[str], force: bool = False, raw_cells: bool = False
    ):
        self.folder, self.format, self.force, self.raw_cells = folder, format, force, raw_cells
        self.suffix = "txt" if format == "text" else format
        self.stems = unique_stems(inputs)
        self.written: set[str] = set()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            reason = f"cannot be made a folder ({problem.strerror})"
            raise DocumentError(f"{display_name(folder)}: {reason}; give another -o DIR") from None

    def check(self, number: int) -> None:
        """Complain, before any parsing, if input `number` would meet a file that may not be replaced."""
        self._target(number, 1, 1)

    def write(self, number: int, source: str, result: ParseResult) -> None:
        """Write the tables of one page of input `number`. Raises DocumentError where that is not possible."""
        for table, single in single_tables(result):
            target = self._target(number, result.page, table)
            try:
                write_whole(target, self._content(source, single))
            except ValueError as problem:  # a table that is too wide for a sheet
                raise DocumentError(f"{display_name(target)}: cannot be written: {problem}") from None
            except OSError as problem:
                raise DocumentError(
                    f"{display_name(target)}: cannot be written ({problem.strerror})"
                ) from None
            self.written.add(target.name.casefold())

    def close(self) -> None:
        """Nothing is left to do: every file was whole at once."""

    def _content(self, source: str, single: ParseResult) -> str | bytes:
        if self.format == "html":
            return single.to_html(title=display_name(Path(source).name))
        if self.format == "csv":
            return single.to_csv(self.raw_cells)
        if self.format == "xlsx":
            return single.to_xlsx(self.raw_cells)
        return EXPORTS[self.format](single)

    def _target(self, number: int, page: int, table: int) -> Path:
        """The file for a table, once it is sure that it may be written."""
        target = self.folder / f"{numbered(self.stems[number], page, table)}.{self.suffix}"
        if target.name.casefold() in self.written:
            raise DocumentError(f"{display_name(target)}: was written for another input; rename that input")
        if os.path.lexists(target) and not self.force:
            raise DocumentError(f"{display_name(target)}: exists already; --force replaces it")
        return target


class StreamOutput:
    """Prints to standard output, page by page: text, Markdown, CSV, OTSL, JSON Lines or one HTML document."""

    def __init__(self, format: str, several: bool = False, raw_cells: bool = False):
        self.format, self.several, self.raw_cells = format, several, raw_cells
        self.started = False
        self.width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None

    def check(self, number: int) -> None:
        """Standard output is always free."""

    def write(self, number: int, source: str, result: ParseResult) -> None:
        """Print one page, under a heading if there are several."""
        name = display_name(source)
        heading = None
        if self.several or result.page > 1:
            heading = f"{name}, page {result.page}" if result.page > 1 else name
        if self.format == "html":
            text = ("" if self.started else html_head(name)) + result.html_body(heading)
        elif self.format == "json":
            text = dump_json({"file": source, **result.to_dict()}) + "\n"
        elif self.format == "text":
            text = (f"{heading}\n" if heading else "") + result.to_text(self.width)
        elif self.format == "md":
            text = (f"## {heading}\n\n" if heading else "") + result.to_markdown()
        elif self.format == "csv":
            text = result.to_csv(self.raw_cells)
        else:
            text = EXPORTS[self.format](result)
        if self.started and self.format in ("text", "md", "csv"):
            text = "\n" + text
        self.started = True
        sys.stdout.write(text)
        sys.stdout.flush()

    def close(self) -> None:
        """End the document."""
        if self.started and self.format == "html":
            sys.stdout.write(HTML_TAIL)
            sys.stdout.flush()


class WorkbookOutput:
    """Gathers the tables of all inputs and writes them to standard output as one workbook, a sheet a table.

    Sheets have the names that `FolderOutput` gives files. Standard output must be a file or a pipe.
    """

    def __init__(self, inputs: Iterable[str], raw_cells: bool = False):
        self.raw_cells = raw_cells
        self.stems = unique_stems(inputs)
        self.tables: list[tuple[str, Table]] = []
        if sys.stdout.isatty():
            raise DocumentError(
                "a workbook is no text for the screen; give -o DIR, or redirect: > tables.xlsx"
            )

    def check(self, number: int) -> None:
        """A sheet of the workbook is always free."""

    def write(self, number: int, source: str, result: ParseResult) -> None:
        """Keep the tables of one page of input `number`. Raises DocumentError for one that fits no sheet."""
        for place, (_, table) in enumerate(named_tables(result), 1):
            if table.n_cols > MAX_COLUMNS:
                raise DocumentError(
                    f"{display_name(source)}: a table of {table.n_cols} columns fits no sheet"
                )
            self.tables.append((numbered(self.stems[number], result.page, place), table))

    def close(self) -> None:
        """Write the workbook, if there is a table."""
        if self.tables:
            names, tables = zip(*self.tables, strict=True)
            sys.stdout.flush()
            sys.stdout.buffer.write(write_xlsx(tables, names, self.raw_cells))
            sys.stdout.buffer.flush()


def numbered(stem: str, page: int, table: int) -> str:
    """STEM for the first table of an input, `STEM.p2` for page 2, `STEM.t2` for the second table of a page."""
    return ".".join([stem, *([f"p{page}"] if page > 1 else []), *([f"t{table}"] if table > 1 else [])])


def unique_stems(inputs: Iterable[str]) -> list[str]:
    """File names without suffix, made different (also where case does not count) by `-2`, `-3` …"""
    natural = [Path(path).stem for path in inputs]
    taken = {stem.casefold() for stem in natural}
    seen: set[str] = set()
    stems = []
    for stem in natural:
        name, number = stem, 1
        while name.casefold() in seen or (number > 1 and name.casefold() in taken):
            number += 1
            name = f"{stem}-{number}"
        seen.add(name.casefold())
        stems.append(name)
    return stems


def write_whole(target: Path, content: str | bytes) -> None:
    """Write a file, text as UTF-8, so that it is there whole or not at all. Raises OSError."""
    data = content if isinstance(content, bytes) else content.encode("utf-8", "replace")
    with whole_file(target) as stream:
        stream.write(data)
