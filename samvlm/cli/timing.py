"""The lines of samvlm parse --timing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from ..generation.results import ParseResult
from ..generation.timing import Timing


def page_line(name: str, result: ParseResult) -> str:
    """What took how long for a page; for all pages of its batch together, which share it."""
    timing = result.timing
    others = f" ({timing.pages} pages together: {timing.tokens} tokens)" if timing.pages > 1 else ""
    first = f"first token after {1000 * timing.first_token:.0f} ms"
    return f"timing: {name}: {result.tokens} tokens{others}: {_parts(timing)}, {first}"


def summary_line(timings: Sequence[Timing], load_seconds: float) -> str:
    """What took how long in all.

    Args:
        timings: one a batch.
        load_seconds: what loading the model took.
    """
    whole = Timing(0)
    for timing in timings:
        for name, value in asdict(timing).items():
            setattr(whole, name, getattr(whole, name) + value)
    pages = f"{whole.pages} page" + "s" * (whole.pages != 1)
    return (
        f"timing: {pages}, {whole.tokens} tokens; model loaded in {load_seconds:.2f} s, then {_parts(whole)}"
    )


def _parts(timing: Timing) -> str:
    share = 100 * timing.grammar / timing.decoding if timing.decoding else 0
    return (
        f"{timing.total:.2f} s: image {1000 * timing.image:.0f} ms, tower {1000 * timing.tower:.0f} ms, "
        f"prefill {1000 * timing.prefill:.0f} ms, "
        f"decoder {timing.ms_a_token:.2f} ms a token, {share:.0f}% of it the grammar"
    )
