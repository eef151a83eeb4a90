"""The arguments of `samvlm data …`; imports nothing heavy."""

from __future__ import annotations

import argparse
from collections.abc import Callable

DATA_HELP = """\
Make record files of data sets and of your own folders, and look at them before you train:
JSON Lines, a line for each image with its truth. `samvlm data COMMAND --help` says more.
"""
CONVERT_HELP = """\
Make records of a data set, or of a folder of images with .html, .csv, .md … files beside them. NAME is one of

{readers}

Image paths become relative to the file of records; images from parquet or PDF pages are written to FILE's stem +
_images/. What cannot be read is left out, named in FILE.rejected.jsonl, and costs no other.
"""
CONVERT_END = """\
exit codes: 0 all read; 1 some entries were left out; 2 nothing can be read, or wrong usage; 130 interrupted.
"""
CHECK_HELP = """\
Say what is wrong with record files before anyone trains on them: lines that are no record, missing and broken images
(all are decoded), ragged tables, overlapping spans, wrong boxes, empty answers, chats that are too long for the model,
images that repeat or stand in two splits, answers that contradict each other. Also measured: the token-length
histogram, and the ceiling: what is left of the truth in TEDS after HTML -> OTSL -> HTML.

A record belongs to the split that its field "split" names; without it, each of several FILEs is a split. Images are
the same when their decoded pixels are.
"""
CHECK_END = """\
exit codes: 0 clean, or notes alone; 1 warnings; 2 errors, or wrong usage; 130 interrupted.
"""
SPLIT_HELP = """\
Part a file of records into train, val and test (or other names), written as DIR/NAME.jsonl with the field "split".
Records of the same image never stand on two sides, nor, with --by, those of the same document, say.
"""
MIX_HELP = """\
Join record files into one, in random order. Without --weights all records are taken; with them the mixture is as large
as the file that runs out first allows, for no record is taken twice. Image paths are made right for the new place.
"""
REARRANGE_END = """\
exit codes: 0 all written; 1 lines that are no record were left out; 2 nothing can be written, or wrong usage;
130 interrupted.
"""
STATS_HELP = """\
Measure record files: tasks, sources, licences and splits; rows, columns, spans, cells, characters and tokens; image
sizes (from their headers). `samvlm data check` measures the same and decodes the images.
"""
PREVIEW_HELP = """\
Write a web page of records, each picture beside its rendered truth, in one file that needs nothing else.
"""


def add_data(add: Callable[..., argparse.ArgumentParser], positive: Callable[[str], int]) -> None:
    """Add all commands; `add` makes the parser of a command."""
    data = add("data", "records of data sets: convert, check, split, mix, stats, preview", DATA_HELP)
    commands = data.add_subparsers(
        dest="data_command", required=True, metavar="convert | check | split | mix | stats | preview"
    )

    def sub(name: str, short: str, text: str, end: str = "") -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            help=short,
            description=text,
            epilog=end,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def add_files(command: argparse.ArgumentParser) -> None:
        command.add_argument(
            "files", nargs="+", metavar="FILE", help="record file (JSON Lines or LLaVA's list)"
        )

    def add_workers(command: argparse.ArgumentParser) -> None:
        command.add_argument("--workers", type=positive, metavar="N", help="processes (default: one a core)")

    def add_tokenizer(command: argparse.ArgumentParser) -> None:
        command.add_argument(
            "--tokenizer",
            metavar="M",
            help="count tokens as this checkpoint folder or hub name does (default: the one that ships)",
        )

    convert = sub(
        "convert", "records of a data set or a folder", CONVERT_HELP.format(readers=_readers()), CONVERT_END
    )
    convert.add_argument("name", metavar="NAME", help="of the data set, see above; `folder` for your own")
    convert.add_argument("path", metavar="PATH", help="where it is, see above")
    convert.add_argument(
        "-o", "--output", required=True, metavar="FILE", help="records to write, such as records.jsonl"
    )
    convert.add_argument("--split", metavar="S", help="only this split of the data set")
    convert.add_argument("--limit", type=positive, metavar="N", help="at most N records")
    convert.add_argument(
        "--with",
        dest="options",
        action="append",
        default=[],
        type=setting,
        metavar="KEY=VALUE",
        help="an option of the reader, such as images=DIR, dpi=200, licence=CC0-1.0; may be repeated",
    )
    convert.add_argument(
        "--list", action=_ListReaders, nargs=0, help="show all NAMEs and what PATH is, and exit"
    )
    convert.add_argument("--force", action="store_true", help="replace FILE")
    add_workers(convert)

    check = sub("check", "what is wrong with records", CHECK_HELP, CHECK_END)
    add_files(check)
    check.add_argument(
        "-o", "--output", metavar="PAGE", help="write a web page with pictures, such as report.html"
    )
    check.add_argument(
        "--against",
        action="append",
        default=[],
        metavar="FILE",
        help="records of another split: their images may not be among FILEs'; may be repeated",
    )
    add_tokenizer(check)
    check.add_argument(
        "--max-tokens",
        type=positive,
        metavar="N",
        help="most tokens of a chat, without the image's (default: the model's context)",
    )
    add_workers(check)

    split = sub("split", "one file into train, val and test", SPLIT_HELP, REARRANGE_END)
    split.add_argument("file", metavar="FILE", help="record file")
    split.add_argument(
        "-o", "--output", required=True, metavar="DIR", help="folder for train.jsonl, val.jsonl …"
    )
    split.add_argument(
        "--fractions",
        type=numbers,
        default=[0.8, 0.1, 0.1],
        metavar="F,F",
        help="share of each part (default: 0.8,0.1,0.1)",
    )
    split.add_argument(
        "--names", type=words, metavar="A,B", help="of the parts (default: train,val or train,val,test)"
    )
    split.add_argument(
        "--by",
        action="append",
        default=[],
        metavar="FIELD",
        help="keep records of one value of this field together, such as document; may be repeated",
    )
    split.add_argument("--seed", type=int, default=0, metavar="N", help="of the shuffling (default: 0)")
    split.add_argument("--force", action="store_true", help="replace files in DIR")
    add_workers(split)

    mix = sub("mix", "several files into one", MIX_HELP, REARRANGE_END)
    add_files(mix)
    mix.add_argument("-o", "--output", required=True, metavar="OUT", help="records to write")
    mix.add_argument("--weights", type=numbers, metavar="W,W", help="share of each FILE, such as 3,1")
    mix.add_argument(
        "--limits", type=limits, metavar="N,N", help="at most so many of each FILE, such as 1000,all"
    )
    mix.add_argument("--total", type=positive, metavar="N", help="at most N records altogether")
    mix.add_argument("--seed", type=int, default=0, metavar="N", help="of the mixture (default: 0)")
    mix.add_argument("--force", action="store_true", help="replace OUT")
    add_workers(mix)

    stats = sub("stats", "what records are made of", STATS_HELP)
    add_files(stats)
    add_tokenizer(stats)
    add_workers(stats)

    preview = sub("preview", "a web page of records", PREVIEW_HELP)
    add_files(preview)
    preview.add_argument(
        "-o", "--output", required=True, metavar="PAGE", help="web page to write, such as page.html"
    )
    preview.add_argument(
        "--limit", type=positive, default=50, metavar="N", help="records on it (default: 50)"
    )
    preview.add_argument(
        "--seed", type=int, metavar="N", help="draw them at random (default: the first ones)"
    )


def _readers() -> str:
    from ..data.readers import READERS

    lines = (f"  {name:<12} {reader.summary}\n{'':15}PATH: {reader.path}" for name, reader in READERS.items())
    return "\n".join(lines)


class _ListReaders(argparse.Action):
    """Print the readers and end, whatever else is missing."""

    def __call__(self, parser: argparse.ArgumentParser, *rest: object) -> None:
        """Print them on standard output."""
        print(_readers())
        parser.exit()


def setting(text: str) -> tuple[str, str]:
    """KEY=VALUE."""
    key, equals, value = text.partition("=")
    if not equals or not key.isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form KEY=VALUE")
    return key, value


def words(text: str) -> list[str]:
    """Words with commas between them."""
    return [word.strip() for word in text.split(",")]


def numbers(text: str) -> list[float]:
    """Numbers with commas between them."""
    try:
        return [float(word) for word in words(text)]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers such as 0.8,0.2") from None


def limits(text: str) -> list[int | None]:
    """Whole numbers from 1 up, or `all`, with commas between them."""
    found = words(text)
    if not all(word == "all" or (word.isascii() and word.isdigit() and int(word) > 0) for word in found):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a list of whole numbers or `all`, such as 1000,all"
        )
    return [None if word == "all" else int(word) for word in found]
