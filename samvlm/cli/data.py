"""samvlm data: convert, check, split, mix, stats and preview record files."""

from __future__ import annotations

import argparse
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..data.check import Examiner, Report, Statistics, check_records
from ..data.check.page import write_report
from ..data.check.terminal import report_lines
from ..data.images import display_name
from ..data.mixing import mix_records
from ..data.parallel import ordered_map
from ..data.preview import write_preview
from ..data.readers import READERS
from ..data.readers.convert import convert
from ..data.records import record_lines
from ..data.safe_text import printable
from ..data.splits import Rearranged, split_records
from ..evaluation.ceiling import round_trip_ceiling
from .console import BAD_INPUT, OK, one_line, say
from .tokens import load_counter

LEFT_OUT = 1  # something could not be read, the rest is there
NAMED = 10  # entries that are named on the screen
FEW = 400  # lines for which processes are not worth their start


def run(options: argparse.Namespace) -> int:
    """Run one of the commands; returns the exit code."""
    commands = {
        "convert": run_convert,
        "check": run_check,
        "split": run_split,
        "mix": run_mix,
        "stats": run_stats,
        "preview": run_preview,
    }
    try:
        return commands[options.data_command](options)
    except BrokenPipeError:  # the reader of our output is gone, which `main` knows
        raise
    except (ValueError, OSError) as problem:
        say(f"error: {one_line(problem)}")
        return BAD_INPUT


def run_convert(options: argparse.Namespace) -> int:
    """`samvlm data convert`."""
    if options.name not in READERS:
        raise ValueError(f"unknown data set {options.name!r}; use one of {', '.join(READERS)}")
    _refuse_existing([Path(options.output)], options.force)
    report = convert(
        options.name,
        options.path,
        options.output,
        options.split,
        options.limit,
        options.workers or cores(),
        progress=sys.stderr.isatty(),
        **_typed(options.name, options.options),
    )
    splits = ", ".join(f"{name or 'no split'} {count:,}" for name, count in report.by_split.items())
    print(f"{display_name(report.output)}: {report.written:,} records ({splits})")
    if report.renamed:
        say(f"{report.renamed:,} records got another id: theirs was taken (see their field id_in_data)")
    _name_left_out(
        [f"{entry.where}: {entry.reason}" for entry in report.rejected],
        len(report.rejected),
        report.rejected_file,
    )
    return LEFT_OUT if report.rejected else OK


def run_check(options: argparse.Namespace) -> int:
    """`samvlm data check`."""
    page = _page(options.output, [*options.files, *options.against])
    counter = load_counter(options.tokenizer)
    limit = options.max_tokens or counter.context
    with _progress([*options.files, *options.against]) as (tick, total):
        report: Report = check_records(
            options.files,
            options.against,
            count_tokens=counter,
            max_tokens=limit,
            ceiling=round_trip_ceiling,
            workers=_workers(options, total),
            progress=tick,
        )
    print("\n".join(map(printable, report_lines(report))))
    if page is not None:
        write_report(page, report)
        say(f"pictures of what was found: {display_name(page)}")
    return report.exit_code


def run_split(options: argparse.Namespace) -> int:
    """`samvlm data split`."""
    folder = Path(options.output)
    names = options.names or ["train", "val", "test"]
    _refuse_existing([folder / f"{name}.jsonl" for name in names[: len(options.fractions)]], options.force)
    with _progress([options.file]) as (tick, total):
        report = split_records(
            options.file,
            folder,
            options.fractions,
            options.names,
            options.by,
            options.seed,
            _workers(options, total),
            tick,
        )
    say(f"{report.groups:,} groups of records that share nothing")
    if report.unread:
        say(f"warning: {report.unread:,} images cannot be read; see `samvlm data check`")
    return _told(report)


def run_mix(options: argparse.Namespace) -> int:
    """`samvlm data mix`."""
    _refuse_existing([Path(options.output)], options.force)
    with _progress(options.files) as (tick, total):
        report = mix_records(
            options.files,
            options.output,
            options.weights,
            options.limits,
            options.total,
            options.seed,
            _workers(options, total),
            tick,
        )
    return _told(report)


def run_stats(options: argparse.Namespace) -> int:
    """`samvlm data stats`."""
    examiner = Examiner(load_counter(options.tokenizer), decode=False)
    statistics, bad = Statistics(), 0
    with _progress(options.files) as (tick, total):
        for file in options.files:
            folder = str(Path(file).absolute().parent)
            lines = ((item, folder) for _, item in record_lines(file))
            for _, seen in ordered_map(examiner, lines, _workers(options, total), lambda line: None):
                tick()
                if seen is not None and seen.is_record:
                    statistics.add(seen)
                else:
                    bad += 1
    if not statistics.records:
        more = f", {bad:,} lines are none; see `samvlm data check`" if bad else ""
        raise ValueError(f"{', '.join(map(display_name, options.files))}: no records{more}")
    print("\n".join(map(printable, statistics.lines())))
    if bad:
        say(f"warning: {bad:,} lines are no record; see `samvlm data check`")
    return LEFT_OUT if bad else OK


def run_preview(options: argparse.Namespace) -> int:
    """`samvlm data preview`."""
    page = _page(options.output, options.files)
    shown = write_preview(page, options.files, options.limit, options.seed)
    say(f"{shown.count:,} of {shown.total:,} records: {display_name(page)}")
    if shown.broken == shown.count:
        say("error: none of them is a record; the page says why, and so does `samvlm data check`")
        return BAD_INPUT
    if shown.broken:
        say(f"warning: {shown.broken:,} lines are no record; see `samvlm data check`")
    return LEFT_OUT if shown.broken else OK


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _workers(options: argparse.Namespace, total: int | None) -> int:
    return options.workers or (1 if total is not None and total < FEW else cores())


@contextmanager
def _progress(files: Sequence[str]) -> Iterator[tuple[Callable[[], Any], int | None]]:
    """Show a bar over the lines of the files; gives what to call for each line, and how many there are."""
    total = _count_lines(files)
    with tqdm(
        total=total, unit=" records", file=sys.stderr, disable=not sys.stderr.isatty(), leave=False
    ) as bar:
        yield bar.update, total


def _count_lines(files: Sequence[str]) -> int | None:
    """Lines of the files; None where one is a JSON list or cannot be read."""
    total = 0
    try:
        for file in files:
            if not os.path.isfile(file):  # a pipe would wait
                return None
            with open(file, "rb") as stream:
                if stream.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"[":
                    return None
                stream.seek(0)
                while block := stream.read(1 << 20):
                    total += block.count(b"\n")
    except OSError:
        return None
    return total


def _typed(name: str, settings: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Options of a reader with the type of their default."""
    known = inspect.signature(READERS[name].function).parameters
    values: dict[str, Any] = {}
    for key, text in settings:
        kind = type(known[key].default) if key in known else str
        try:
            values[key] = kind(text) if kind in (int, float) else text
        except ValueError:
            raise ValueError(f"--with {key}={text}: give a number") from None
    return values


def _refuse_existing(files: Sequence[Path], force: bool) -> None:
    there = [file for file in files if os.path.lexists(file)]
    if there and not force:
        raise ValueError(f"{display_name(there[0])}: exists already; --force replaces it")


def _page(output: str | None, files: Sequence[str]) -> Path | None:
    """The web page to write; only another web page is replaced."""
    if output is None:
        return None
    page = Path(output)
    if page.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"{display_name(page)}: a web page needs the ending .html")
    if page.is_dir() or not page.absolute().parent.is_dir():
        raise ValueError(f"{display_name(page)}: no place for a file; give a file in a folder that is there")
    if os.path.realpath(page) in map(os.path.realpath, files):
        raise ValueError(f"{display_name(page)}: is one of the record files; give another -o")
    return page


def _told(report: Rearranged) -> int:
    for path, count in report.written.items():
        print(f"{display_name(path)}: {count:,} records")
    _name_left_out(report.problems, report.left_out, None)
    return LEFT_OUT if report.left_out else OK


def _name_left_out(problems: Sequence[str], count: int, file: Path | None) -> None:
    for problem in problems[:NAMED]:
        say(f"left out: {one_line(problem)}")
    if count:
        more = f", all in {display_name(file)}" if file is not None else ""
        say(f"warning: {count:,} entries were left out{more}")
