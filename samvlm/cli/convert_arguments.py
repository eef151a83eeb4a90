"""The arguments of `samvlm convert`; imports nothing heavy."""

from __future__ import annotations

import argparse
from collections.abc import Callable

HELP = """\
Read the image encoder of a checkpoint of others (SAM, HQ-SAM, GOT-OCR2, DeepSeek-OCR and -OCR-2, Vary, DeepSeek-VL and
fine-tunes of them) and write it as a tower of samvlm: a folder that AutoModel loads, with the image processor that the
weights were trained with, and with the convolutions behind the encoder where the source has some. A whole GOT-OCR2
becomes a whole model, which samvlm parse, chat and train take, and --to got_ocr2 brings it back.
"""
END = """\
It says what was found, what is not read, and why. No code that a file may hold is run. docs/towers.md lists what can
be read, docs/got_ocr2.md says more of GOT-OCR2. exit codes: 0 written; 1 the disk did not take it; 2 nothing could be read, or wrong usage; 130 interrupted.
"""


def add_convert(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add `samvlm convert` to the commands."""
    parser = add("convert", "make a tower, or a model, of weights of others", HELP, END)
    parser.add_argument(
        "source", metavar="SOURCE", help="a .pth, .bin or .safetensors file, a folder, or a hub name"
    )
    parser.add_argument("output", metavar="OUT", nargs="?", help="the new folder; not needed with --dry-run")
    parser.add_argument("--dry-run", action="store_true", help="only say what was found")
    parser.add_argument(
        "--preprocessing",
        metavar="NAME",
        help="what the weights were trained with, where the file does not tell: sam, got_ocr2, vary, deepseek_ocr, "
        "deepseek_vl, slanext (default: what belongs to the layout)",
    )
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16", "float16"),
        help="of the weights written (default: as they are)",
    )
    parser.add_argument(
        "--tower-only", action="store_true", help="of a whole GOT-OCR2 the image encoder alone"
    )
    parser.add_argument(
        "--table-tokens",
        action="store_true",
        help="add the tokens of OTSL to a whole model, to train it on tables",
    )
    parser.add_argument(
        "--to",
        choices=("got_ocr2",),
        help="the other way: write a whole model of samvlm that came from GOT-OCR2 in transformers' layout",
    )
    parser.add_argument("--force", action="store_true", help="replace the checkpoint at OUT")
