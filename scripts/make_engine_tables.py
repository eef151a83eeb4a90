"""Set tables with headless Chromium, as journals and reports print them, and keep them for training.

    python scripts/make_engine_tables.py runs/engine --number 6000                 # goes on where it was stopped
    python scripts/make_engine_tables.py runs/engine --number 6000 --mix journal=3,report=1
    python scripts/make_engine_tables.py runs/engine --sheet sheet.png --dots      # look at some of them

A recipe reads them as `{engine: runs/engine, weight: 3}`. Table n of a seed is the same wherever the fonts and the
engine are. Several may work on one folder, each on its part: --part 1/4.
"""

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

from PIL import Image, ImageDraw
from tqdm import tqdm

from samvlm.data.engine import (
    MIX,
    VERSION,
    Outcome,
    TableShards,
    check_mix,
    find_chromium,
    finished,
    make_tables,
    note,
    write_shard,
)
from samvlm.data.engine.chromium import version
from samvlm.model.text_scale import text_height

SHEET_WIDTH = 1900


def read_mix(text: str) -> dict[str, float]:
    """ "journal=3,report=1" as weights. Raises ValueError."""
    try:
        mix = {name: float(weight) for name, _, weight in (part.partition("=") for part in text.split(","))}
    except ValueError:
        raise ValueError(f"--mix {text}: write journal=3,report=1, for example") from None
    check_mix(mix)
    return mix


def make(options: argparse.Namespace) -> None:
    """Make the shards that are not there yet."""
    find_chromium()
    about = {
        "version": VERSION,
        "seed": options.seed,
        "mix": options.mix,
        "shard": options.shard,
        "engine": version(),
    }
    note(options.folder, about)
    shards = range(options.part - 1, -(-options.number // options.shard), options.parts)
    there, total = finished(options.folder), Outcome()
    started = time.perf_counter()
    for shard in tqdm([shard for shard in shards if shard not in there], unit="shard", disable=None):
        first = shard * options.shard
        tables = make_tables(options.seed, first, options.shard, options.mix, text_height, total)
        write_shard(options.folder, shard, tables)
    seconds = time.perf_counter() - started
    why = ", ".join(f"{count} {reason}" for reason, count in total.left_out.most_common())
    print(f"{total.made} tables made in {seconds:.0f} s{f'; left out: {why}' if why else ''}")


def show(options: argparse.Namespace) -> None:
    """A contact sheet of tables, small ones side by side."""
    shards = TableShards(options.folder)
    placed, x, y, row_height = [], 0, 0, 0
    for number in range(options.start, min(len(shards), options.start + options.show)):
        kept = shards[number]
        if options.dots:
            pen = ImageDraw.Draw(kept.image)
            pen.point([(float(cx), float(cy)) for cx, cy in kept.centres], fill=(255, 0, 0))
        if x and x + kept.image.width > SHEET_WIDTH:
            x, y, row_height = 0, y + row_height + 8, 0
        placed.append((kept.image, x, y))
        x, row_height = x + kept.image.width + 8, max(row_height, kept.image.height)
    sheet = Image.new("RGB", (SHEET_WIDTH, max(1, y + row_height)), (120, 130, 190))
    for image, left, top in placed:
        sheet.paste(image, (left, top))
    sheet.save(options.sheet)
    print(f"{len(placed)} tables in {options.sheet}")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where the tables are kept; made if it is not there")
    parser.add_argument("--number", type=int, default=0, help="tables to set in all, in whole shards")
    parser.add_argument(
        "--shard", type=int, default=300, help="tables printed at once, less those left out (300)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of what they say and how they look (1)")
    parser.add_argument(
        "--mix", default=",".join(f"{k}={w:g}" for k, w in MIX.items()), help="manners and weights"
    )
    parser.add_argument(
        "--part", default="1/1", metavar="K/N", help="only every N-th shard, from the K-th on (1/1)"
    )
    parser.add_argument("--sheet", metavar="PNG", help="write a contact sheet of what is there")
    parser.add_argument("--show", type=int, default=40, help="tables on the sheet (40)")
    parser.add_argument("--start", type=int, default=0, help="the first of them (0)")
    parser.add_argument("--dots", action="store_true", help="mark the characters' centres on the sheet")
    parser.add_argument("--count", action="store_true", help="count what is there, by manner and kind")
    options = parser.parse_args(argv)
    part, _, parts = options.part.partition("/")
    if not (part.isdigit() and parts.isdigit() and 1 <= int(part) <= int(parts)):
        parser.error(f"--part {options.part}: write 1/4, for example")
    options.part, options.parts = int(part), int(parts)
    if options.shard < 1:
        parser.error(f"--shard {options.shard}: at least 1")
    try:
        options.mix = read_mix(options.mix)
        if options.number > 0:
            make(options)
        if options.sheet:
            show(options)
        if options.count:
            shards = TableShards(options.folder)
            kinds = Counter(
                (kept["meta"]["manner"], kept["meta"]["kind"])
                for kept in map(shards.read, range(len(shards)))
            )
            for (manner, kind), count in sorted(kinds.items()):
                print(f"{manner:9} {kind:16} {count:6}")
        if not (options.number > 0 or options.sheet or options.count):
            parser.error("say what to do: --number, --sheet or --count")
    except ValueError as error:
        print(f"make_engine_tables: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
