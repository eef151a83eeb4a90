"""The command line: samvlm parse, chat, train, merge, convert, eval, data, features."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence

from .arguments import BAD_INPUT, read_options

OUTPUT_LOST, INTERRUPTED = 1, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0, 1 for failed pages, 2 for bad input, 130 for Ctrl-C."""
    options = read_options(arguments)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):  # replaced streams, as in tests
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="backslashreplace")
    commands = {
        "parse": run_parse,
        "chat": run_chat,
        "train": run_train,
        "merge": run_merge,
        "convert": run_convert,
        "eval": run_eval,
        "eval-compare": run_compare,
        "data": run_data,
        "features": run_features,
    }
    try:
        return commands[options.command](options)
    except KeyboardInterrupt:
        print("samvlm: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output is gone, as in `samvlm parse … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OUTPUT_LOST


def run_parse(options: argparse.Namespace) -> int:
    """`samvlm parse`."""
    from .parse import run

    return run(options)


def run_chat(options: argparse.Namespace) -> int:
    """`samvlm chat`."""
    from .chat import run

    return run(options)


def run_train(options: argparse.Namespace) -> int:
    """`samvlm train`."""
    from ..launch import Machines, launch_lines, train

    arguments = [options.recipe, *options.settings, *options.flags]
    try:
        machines = Machines(options.nnodes, options.node_rank, options.master)
        if options.print_launch:
            print("\n".join(launch_lines(arguments, options.nproc, machines)))
            return 0
        return train(arguments, options.nproc, machines)
    except ValueError as problem:
        print(f"samvlm: error: {problem}", file=sys.stderr)
        return BAD_INPUT


def run_merge(options: argparse.Namespace) -> int:
    """`samvlm merge`."""
    from .merge import run

    return run(options)


def run_convert(options: argparse.Namespace) -> int:
    """`samvlm convert`."""
    from .convert import run

    return run(options)


def run_eval(options: argparse.Namespace) -> int:
    """`samvlm eval`."""
    from .eval import run

    return run(options)


def run_compare(options: argparse.Namespace) -> int:
    """`samvlm eval compare`."""
    from .eval import run_compare

    return run_compare(options)


def run_features(options: argparse.Namespace) -> int:
    """`samvlm features`."""
    from .features import run

    return run(options)


def run_data(options: argparse.Namespace) -> int:
    """`samvlm data`."""
    from .data import run

    return run(options)
