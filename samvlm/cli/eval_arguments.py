"""The arguments of `samvlm eval` and `samvlm eval compare`; imports nothing heavy."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

EVAL_HELP = """\
Let a model read a set of images, score what it read, and show what is wrong.

MODEL is a checkpoint or LoRA folder, a hub name, the address of an OpenAI-compatible endpoint
(http://localhost:8000/v1), or a file of predictions (lines of {"id", "html"}, or {file name: HTML}); by default
the checkpoint that ships. X is a .jsonl file of records, a folder of images with their truths, synth or synth:NUMBER
(drawn tables), engine:FOLDER (printed ones), or NAME:PATH with the name of a reader, as in pubtabnet:PATH, fintabnet:PATH, icdar2013:PATH.

DIR gets predictions.jsonl, scores.json, examples.jsonl (the scores of each example) and viewer.html (open it in a
browser). The same command again goes on after an interruption. `samvlm eval compare A B` compares two such folders.
"""
EVAL_END = """\
exit codes: 0 all read and scored; 1 an example could not be, it scores 0 and is named; 2 wrong usage, or nothing could
be read; 130 or 143 interrupted.
"""
COMPARE_HELP = """\
Say whether the results in folder B are better than those in A, example by example: mean difference, 95% bootstrap
interval, p-value of a permutation test, wins and losses, and the examples with the largest change.
"""
_COMPARE = "eval-compare"


def add_eval(add: Callable[..., argparse.ArgumentParser], positive: Callable[[str], int]) -> None:
    """Add both commands; `add` makes the parser of a command."""
    command = add("eval", "scores of a model", EVAL_HELP, EVAL_END)
    command.add_argument("model", nargs="?", metavar="MODEL", help="what reads the images, see above")
    command.add_argument("--data", required=True, metavar="X", help="what is read, see above")
    command.add_argument("-o", "--output", required=True, metavar="DIR", help="folder of the results")
    command.add_argument("--force", action="store_true", help="replace the results of another run in DIR")
    command.add_argument(
        "--metrics", type=names, metavar="M,M", help="which scores (default: all of the task)"
    )
    command.add_argument("--workers", type=positive, default=1, metavar="N", help="processes that score")
    data = command.add_argument_group("data")
    data.add_argument("--limit", type=positive, metavar="N", help="only the first N examples")
    data.add_argument(
        "--split", metavar="S", help="of the data set (default: the one results are reported on)"
    )
    data.add_argument(
        "--seed", type=int, default=900001, metavar="N", help="of drawn tables (default: 900001)"
    )
    data.add_argument(
        "--options",
        type=json_object,
        metavar="JSON",
        help='of drawn tables, \'{"damage": 0.3}\', or of a reader, \'{"images": "where/they/are"}\'',
    )
    model = command.add_argument_group("a checkpoint")
    model.add_argument(
        "--batch-size",
        type=positive,
        metavar="N",
        help="images read at once (default: 8; 1 for small models on CPUs)",
    )
    model.add_argument("--max-new-tokens", type=positive, metavar="N", help="limit of one answer")
    model.add_argument("--device", metavar="D", help="cpu, cuda, cuda:1 … (default: a GPU if there is one)")
    model.add_argument(
        "--dtype", metavar="T", help="float32, bfloat16 … (default: bfloat16 on a GPU, else float32)"
    )
    model.add_argument("--threads", type=positive, metavar="N", help="of torch on a CPU")
    end = command.add_argument_group("an endpoint")
    end.add_argument("--endpoint-model", metavar="NAME", help="its model (default: the first that it lists)")
    end.add_argument("--prompt", metavar="TEXT", help="how it is asked for a table")
    end.add_argument(
        "--concurrency", type=positive, default=4, metavar="N", help="requests at once (default: 4)"
    )
    end.add_argument(
        "--timeout", type=positive, default=120, metavar="S", help="seconds a request may take (default: 120)"
    )
    end.add_argument(
        "--retries", type=positive, default=4, metavar="N", help="of a failed request (default: 4)"
    )
    end.add_argument(
        "--api-key-env",
        default="SAMVLM_API_KEY",
        metavar="VAR",
        help="environment variable with its key (default: SAMVLM_API_KEY)",
    )
    compare = add(_COMPARE, None, COMPARE_HELP, prog="samvlm eval compare")
    compare.add_argument("a", metavar="A", help="folder of results")
    compare.add_argument("b", metavar="B", help="folder of results")
    compare.add_argument("--metrics", type=names, metavar="M,M", help="which scores; the first decides")
    compare.add_argument(
        "--shared", action="store_true", help="compare what both have where the examples differ"
    )
    compare.add_argument("-o", "--output", metavar="FILE", help="write the comparison there as JSON")


def rewritten(arguments: list[str]) -> list[str]:
    """`eval compare A B` as the command it is within: a MODEL cannot be told from it otherwise."""
    return [_COMPARE, *arguments[2:]] if arguments[:2] == ["eval", "compare"] else arguments


def names(text: str) -> list[str]:
    """Names with commas between them."""
    found = [name.strip() for name in text.split(",") if name.strip()]
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} names nothing")
    return found


def json_object(text: str) -> dict[str, Any]:
    """An object in JSON."""
    try:
        value = json.loads(text)
    except ValueError as problem:
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON ({problem})") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f'{text!r} is no object such as {{"damage": 0.3}}')
    return value
