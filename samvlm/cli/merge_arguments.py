"""The arguments of `samvlm merge`; imports nothing heavy."""

from __future__ import annotations

import argparse
from collections.abc import Callable

HELP = """\
Merge a LoRA or DoRA adapter into its base model: one plain checkpoint folder, as a full training writes it, with
processor, generation settings and model card. It needs no peft and answers as fast as any other.
"""
END = """\
Merging is done in float32 and compared with the adapter before anything is written; the folder is there whole or not
at all. exit codes: 0 merged; 1 the disk did not take it; 2 nothing could be merged; 130 interrupted.
"""


def add_merge(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add `samvlm merge` to the commands."""
    parser = add("merge", "make a plain checkpoint of an adapter", HELP, END)
    parser.add_argument(
        "adapter", metavar="ADAPTER", help="the adapter's folder, such as runs/mine/1-instruct"
    )
    parser.add_argument("-o", "--output", metavar="OUT", required=True, help="the new checkpoint's folder")
    parser.add_argument(
        "--base",
        metavar="M",
        help="folder or hub name of the base model, or samvlm-tiny (default: the one the adapter names)",
    )
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16", "float16"),
        default="float32",
        help="of the weights (default: float32, which loses nothing; the others take half the room)",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="replace the checkpoint at OUT; merge into a base model other than the adapter was trained on",
    )
