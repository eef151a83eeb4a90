"""The arguments of `samvlm features`; imports nothing heavy."""

from __future__ import annotations

import argparse
from collections.abc import Callable

HELP = """\
Make the features of a frozen tower before training, so that no step waits for it.

Training reads them with data.feature_cache=DIR, in the stages in which the tower is frozen, and makes itself what is
missing: this command is for machines that have time before. Several may run at once, each with its --part.
"""
END = """\
exit codes: 0 all made; 1 some image could not be read, or the limit was reached; 2 wrong usage; 130 interrupted. What
was made before an interruption is kept.
"""


def part_of(text: str) -> tuple[int, int]:
    """`2/4` as (2, 4)."""
    first, slash, second = text.partition("/")
    if slash and first.isascii() and second.isascii() and first.isdigit() and second.isdigit():
        part, parts = int(first), int(second)
        if 1 <= part <= parts:
            return part, parts
    raise argparse.ArgumentTypeError(f"{text!r} is no part such as 1/4")


def gigabytes(text: str) -> float:
    """A number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of gigabytes above 0")
    return number


def add_features(add: Callable[..., argparse.ArgumentParser], positive: Callable[[str], int]) -> None:
    """Add `samvlm features` to the commands."""
    parser = add("features", "cache what a frozen tower makes of images", HELP, END)
    parser.add_argument("action", choices=("build",), help="build: make what is missing")
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="records (JSON Lines, LLaVA's JSON), or a recipe that names some",
    )
    parser.add_argument("-o", "--output", metavar="DIR", help="the cache (default: the recipe's)")
    parser.add_argument(
        "--model", metavar="M", help="checkpoint folder or hub name (default: the one that ships)"
    )
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        help="model.dtype of the training: features of another are others (default: the recipe's, or float32)",
    )
    parser.add_argument("--device", metavar="D", help="cpu, cuda, cuda:1 … (default: a GPU if there is one)")
    parser.add_argument(
        "--max-gb",
        type=gigabytes,
        metavar="N",
        help="gigabytes that DIR may take (default: the recipe's, or 50)",
    )
    parser.add_argument(
        "--max-pixels", type=positive, default=1_000_000, metavar="N", help="of one call of the tower"
    )
    parser.add_argument(
        "--part", type=part_of, default=(1, 1), metavar="I/N", help="every N-th image, from the I-th on"
    )
