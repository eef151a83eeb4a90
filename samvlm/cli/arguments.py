"""The arguments of every command; imports nothing heavy."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from .convert_arguments import add_convert
from .data_arguments import add_data
from .eval_arguments import add_eval, rewritten
from .features_arguments import add_features
from .merge_arguments import add_merge

BAD_INPUT = 2

PARSE_HELP = """\
Read the tables of images and PDFs: PNG, JPEG, TIFF, WEBP, BMP, GIF, PDF.

Without -o the tables go to standard output, by default as aligned text; xlsx needs -o, or output that is redirected
to a file, and is then one workbook with a sheet for each table. With -o DIR each input becomes
DIR/<stem>.<format> (default: html); page 2 of a document <stem>.p2.<format>, a second table of a page
<stem>.t2.<format>, inputs of the same stem <stem>-2.<format> and so on.
"""
PARSE_END = """\
exit codes: 0 all read; 1 a page of a document could not be read; 2 a file could not be read, or wrong usage;
130 or 143 interrupted. What can be read is parsed in any case.
"""
CHAT_HELP = """\
Ask questions about an image or a page. Type a question a line; /reset forgets the conversation, /quit or the end
of the input ends it. Questions may also be piped in.
"""
TRAIN_HELP = """\
Run the training stages of a recipe, e.g.: samvlm train debug_cpu trainer.output_dir=runs/debug
The command that is run is printed, so that it can be run, changed, without this one.
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        """One line, as for every other mistake."""
        self.exit(BAD_INPUT, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def positive(text: str) -> int:
    """A whole number from 1 up."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line; imports nothing heavy."""
    version = sys.modules[__package__.partition(".")[0]].__version__
    parser = _Parser(prog="samvlm", description="Document images in, tables out.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"samvlm {version}")
    commands = parser.add_subparsers(
        dest="command",
        required=True,
        metavar="parse | chat | train | merge | convert | eval | data | features",
        parser_class=_Parser,
    )

    def add(name: str, short: str | None, text: str, end: str = "", **more: str) -> argparse.ArgumentParser:
        if short is not None:  # else it is not listed
            more["help"] = short
        return commands.add_parser(
            name,
            description=text,
            epilog=end,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            **more,
        )

    def add_model(command: argparse.ArgumentParser) -> None:
        command.add_argument(
            "--model", metavar="M", help="checkpoint folder or hub name (default: the one that ships)"
        )
        command.add_argument(
            "--device", metavar="D", help="cpu, cuda, cuda:1 … (default: a GPU if there is one)"
        )
        command.add_argument("--password", metavar="P", help="of encrypted PDFs")
        command.add_argument("--max-new-tokens", type=positive, metavar="N", help="limit of one answer")

    parse = add("parse", "tables of images and PDFs", PARSE_HELP, PARSE_END)
    parse.add_argument(
        "files", nargs="+", metavar="FILE", help="image or PDF; quoted patterns such as '*.png' work"
    )
    parse.add_argument(
        "-f", "--format", choices=("text", "html", "md", "csv", "xlsx", "json", "otsl"), help="output format"
    )
    parse.add_argument("-o", "--output", metavar="DIR", help="folder to write to")
    parse.add_argument("--force", action="store_true", help="replace existing files in DIR")
    parse.add_argument(
        "--raw-cells",
        action="store_true",
        help="cells as they are read; CSV: no quote before those that a spreadsheet would run (unsafe); XLSX: "
        "numbers stay text",
    )
    parse.add_argument("--max-pages", type=positive, metavar="N", help="read at most N pages of a document")
    parse.add_argument(
        "--task", choices=("table", "text", "form"), default="table", help="what to read (default: table)"
    )
    parse.add_argument(
        "--batch-size",
        type=positive,
        metavar="N",
        help="parse N pages at once: takes more memory, and is faster on GPUs and for larger models (default: 8 with "
        "-o, but 1 for small models on CPUs; else 1)",
    )
    parse.add_argument(
        "--timing", action="store_true", help="say what took how long: a line a page, a summary; in JSON too"
    )
    add_model(parse)

    chat = add("chat", "questions about an image", CHAT_HELP)
    chat.add_argument("file", metavar="FILE", help="image or PDF")
    chat.add_argument("--page", type=positive, default=1, metavar="N", help="page of a document (default: 1)")
    add_model(chat)

    train = add("train", "train a model", TRAIN_HELP)
    train.add_argument("recipe", metavar="RECIPE", help="a YAML file, or its name in configs/")
    train.add_argument("settings", nargs="*", metavar="key=value", help="override a key of the recipe")
    train.add_argument(
        "--resume",
        dest="flags",
        action="append",
        type="--resume={}".format,
        metavar="auto|PATH",
        default=[],
        help="go on from the last complete checkpoint in the output folder, or from the one named",
    )
    train.add_argument(
        "--dry-run",
        dest="flags",
        action="append_const",
        const="--dry-run",
        help="stop behind the pre-flight, which shows samples and tries the longest batch; nothing is written",
    )
    train.add_argument(
        "--force",
        dest="flags",
        action="append_const",
        const="--force",
        help="go on although recipe, data or number of processes have changed; drop checkpoints in the way",
    )
    train.add_argument(
        "--nproc", type=positive, default=1, metavar="N", help="processes on each machine (torchrun)"
    )
    train.add_argument("--nnodes", type=positive, default=1, metavar="N", help="machines")
    train.add_argument("--node-rank", type=int, metavar="N", help="the number of this machine, from 0")
    train.add_argument("--master", metavar="HOST[:PORT]", help="the address of machine 0")
    train.add_argument(
        "--print-launch", action="store_true", help="print the commands for every machine, and run nothing"
    )
    add_merge(add)
    add_convert(add)
    add_eval(add, positive)
    add_data(add, positive)
    add_features(add, positive)
    return parser


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments; files and settings may also stand behind options, which argparse alone refuses."""
    parser = build_parser()
    options, rest = parser.parse_known_args(rewritten(sys.argv[1:] if arguments is None else list(arguments)))
    more = {"parse": "files", "train": "settings", "features": "files"}.get(options.command)
    if options.command == "data" and hasattr(options, "files"):
        more = "files"
    if rest and (more is None or any(word.startswith("-") for word in rest)):
        parser.error(f"unknown arguments: {' '.join(rest)}")
    if rest:
        getattr(options, more).extend(rest)
    return options
