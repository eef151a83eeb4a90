"""Where `samvlm parse` writes: standard output, or files in a folder that never clobber others."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from ..data.images import DocumentError, display_name
from ..data.whole_files import whole_file
from ..generation.results import EXPORTS, HTML_TAIL, ParseResult, html_head, single_tables


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
            if self.format == "html":
                text = single.to_html(title=display_name(Path(source).name))
            elif self.format == "csv":
                text = single.to_csv(self.raw_cells)
            else:
                text = EXPORTS[self.format](single)
            try:
                write_whole(target, text)
            except OSError as problem:
                raise DocumentError(
                    f"{display_name(target)}: cannot be written ({problem.strerror})"
                ) from None
            self.written.add(target.name.casefold())

    def close(self) -> None:
        """Nothing is left to do: every file was whole at once."""

    def _target(self, number: int, page: int, table: int) -> Path:
        """The file for a table, once it is sure that it may be written."""
        parts = [
            self.stems[number],
            *([f"p{page}"] if page > 1 else []),
            *([f"t{table}"] if table > 1 else []),
        ]
        target = self.folder / ".".join([*parts, self.suffix])
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
            text = json.dumps({"file": source, **result.to_dict()}, ensure_ascii=False) + "\n"
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


def write_whole(target: Path, text: str) -> None:
    """Write a UTF-8 text file so that it is there whole or not at all. Raises OSError."""
    with whole_file(target) as stream:
        stream.write(text.encode("utf-8", "replace"))
