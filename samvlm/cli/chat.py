"""samvlm chat: questions about an image, line by line, from a person or a pipe."""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
import unicodedata

from ..data.images import DocumentError, display_name
from ..data.otsl import NL, TOKENS
from ..generation import ChatSession
from ..generation.chat import open_page
from .console import BAD_INPUT, INTERRUPTED, OK, load, own_words, say

_OTSL = re.compile("|".join(map(re.escape, TOKENS)))


def run(options: argparse.Namespace) -> int:
    """Open the image, load the model, answer until the input ends; returns the exit code."""
    try:
        with own_words():
            image = open_page(options.file, options.page, options.password)
    except DocumentError as problem:
        say(f"error: {problem}")
        return BAD_INPUT
    try:
        session = ChatSession(load(options), image)
    except ValueError as problem:
        say(f"error: {problem}")
        return BAD_INPUT
    if sys.stdin.isatty():
        size = f"{image.width} x {image.height} pixels"
        say(f"{display_name(options.file)}, {size}; /reset forgets the conversation, /quit ends it")
    return converse(session, options.max_new_tokens)


def converse(session: ChatSession, max_new_tokens: int | None = None) -> int:
    """Answer the questions of standard input on standard output; returns the exit code."""
    worst = OK
    while (question := read_question()) != "/quit":
        if question is None:
            break
        if question == "/reset":
            session.reset()
        elif question:
            worst = max(worst, answer(session, question, max_new_tokens))
            if worst == INTERRUPTED:
                break
    return worst


def read_question() -> str | None:
    """The next line of standard input without its ends, None at the end of the input."""
    if not sys.stdin.isatty():
        line = sys.stdin.readline()
        return line.strip() if line else None
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  (gives `input` a history and editing)
    try:
        return input("> ").strip()
    except EOFError:
        print()
        return None


def answer(session: ChatSession, question: str, max_new_tokens: int | None) -> int:
    """Ask one question and print the answer as it comes; Ctrl-C ends the answer, for a person not the session."""
    try:
        for piece in session.ask(question, max_new_tokens):
            sys.stdout.write(readable(piece))
            sys.stdout.flush()
        if session.finish_reason != "stop":
            sys.stdout.write(" […]")
    except KeyboardInterrupt:
        sys.stdout.write(" [stopped]\n")
        return OK if sys.stdin.isatty() else INTERRUPTED
    except (ValueError, RuntimeError) as problem:
        say(f"error: {str(problem).splitlines()[0]}")
        return BAD_INPUT
    sys.stdout.write("\n")
    sys.stdout.flush()
    return OK


def readable(piece: str) -> str:
    """A piece of an answer for the terminal: OTSL as rows and bars, nothing that steers the terminal."""
    piece = _OTSL.sub(lambda match: "\n" if match[0] == NL else " | ", piece)
    return "".join(c for c in piece if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf", "Cs"))
