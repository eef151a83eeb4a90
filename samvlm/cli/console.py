"""What the commands share: lines on standard error, loading the model, reading pages without foreign noise."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator

from tqdm import tqdm
from transformers.utils import logging

from ..data.images import Page, display_name
from ..data.safe_text import printable
from ..generation import DocumentParser

OK, PAGE_FAILED, BAD_INPUT, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143


class Terminated(KeyboardInterrupt):
    """SIGTERM came, as clusters and containers send it."""


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Within this context SIGTERM raises Terminated, so that what ends well after Ctrl-C ends well after it too."""

    def end(signum: int, frame: object) -> None:
        raise Terminated

    if threading.current_thread() is not threading.main_thread():  # no other may listen
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def interrupted(cause: KeyboardInterrupt) -> int:
    """The exit code of what was broken off."""
    return TERMINATED if isinstance(cause, Terminated) else INTERRUPTED


def say(message: object) -> None:
    """One line on standard error, above a progress bar if there is one."""
    tqdm.write(f"samvlm: {message}", file=sys.stderr)


def one_line(problem: object) -> str:
    """An error as one printable line."""
    if isinstance(problem, OSError) and problem.filename is not None:
        problem = f"{display_name(problem.filename)}: {problem.strerror}"
    return printable(" ".join(str(problem).split()))


def load(options: argparse.Namespace) -> DocumentParser:
    """Load the model of the options, quietly. Raises ValueError."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    return DocumentParser.from_pretrained(
        options.model, device=options.device, dtype=getattr(options, "dtype", None)
    )


@contextlib.contextmanager
def own_words() -> Iterator[None]:
    """Turn warnings into our lines, and drop what C libraries (libtiff) write straight to descriptor 2."""
    with warnings.catch_warnings(record=True) as said, _muted_descriptor():
        warnings.simplefilter("always")
        yield
    for warning in said:
        say(f"warning: {warning.message}")


@contextlib.contextmanager
def _muted_descriptor() -> Iterator[None]:
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # closed, as in `2>&-`
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def next_page(pages: Iterator[Page]) -> Page | None:
    """The next page of a document, or None at its end. Raises DocumentError."""
    with own_words():
        return next(pages, None)
