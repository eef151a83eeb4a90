"""Look at synthetic samples, write them as a record file with images, or time them.

    python scripts/make_synth.py table --number 20 --sheet sheet.png   # a contact sheet
    python scripts/make_synth.py table form --number 100 --out synth/  # synth/records.jsonl and synth/images/
    python scripts/make_synth.py strip table --number 500 --time       # samples a second of processor time, one core
    python scripts/make_synth.py --fonts                               # the families found (scripts/install_fonts.sh)

Training needs no files: it streams samples by (kind, seed, index).
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageDraw

from samvlm.data.synth import KINDS, SynthSample, sample
from samvlm.data.synth.fonts import copy_faces, families

SHEET_WIDTH = 1600


def draw(arguments: argparse.Namespace) -> Iterator[tuple[str, SynthSample]]:
    """The samples asked for, each with its name."""
    for kind in arguments.kinds:
        for index in range(arguments.start, arguments.start + arguments.number):
            made = sample(kind, arguments.seed, index, damage=arguments.damage)
            yield f"{kind}-{arguments.seed}-{index}", made


def record(name: str, made: SynthSample) -> dict:
    """The sample as one line of a record file (samvlm.data.records)."""
    if made.task == "table":
        target = {"otsl": made.answer}
    elif made.task == "question":
        target = {"question": made.question, "answer": made.answer}
    else:
        target = {"text": made.answer}
    image = f"images/{name}.png"
    return {"id": name, "image": image, "task": made.task, "target": target, "source": "samvlm.data.synth"}


def write_records(arguments: argparse.Namespace) -> None:
    folder = Path(arguments.out)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    count = 0
    with open(folder / "records.jsonl", "w", encoding="utf-8") as lines:
        for name, made in draw(arguments):
            item = record(name, made)
            made.image.save(folder / item["image"])
            lines.write(json.dumps(item, ensure_ascii=False) + "\n")
            count += 1
    print(f"{count} records in {folder / 'records.jsonl'}")


def write_sheet(arguments: argparse.Namespace) -> None:
    """All samples on one picture, row by row; `--dots` marks the centres of characters in red."""
    placed, x, y, row_height = [], 0, 0, 0
    for _, made in draw(arguments):
        image = made.image
        if arguments.dots:
            pen = ImageDraw.Draw(image)
            pen.point([(float(cx), float(cy)) for cx, cy in made.centres], fill=(255, 0, 0))
        if x and x + image.width > SHEET_WIDTH:
            x, y, row_height = 0, y + row_height + 6, 0
        placed.append((image, x, y))
        x, row_height = x + image.width + 6, max(row_height, image.height)
    sheet = Image.new("RGB", (SHEET_WIDTH, max(1, y + row_height)), (120, 130, 190))
    for image, left, top in placed:
        sheet.paste(image, (left, top))
    sheet.save(arguments.sheet)
    print(f"{len(placed)} samples in {arguments.sheet}")


def print_speed(arguments: argparse.Namespace) -> None:
    """Samples a second of processor time; glyph pictures are drawn once, so the first thousands are slower."""
    for kind in arguments.kinds:
        for turn in ("first", "then"):
            started = time.process_time()
            for index in range(arguments.number):
                sample(kind, arguments.seed + (turn == "then"), index)
            rate = arguments.number / (time.process_time() - started)
            print(f"{kind:9} {turn:5} {rate:7.0f} samples/s")


def print_fonts() -> None:
    for family in families():
        print(f"{family.kind:6} {family.name:24} {', '.join(sorted(family.faces))}")
    print(f"{len(families())} families")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kinds", nargs="*", metavar="kind", help=f"any of {', '.join(KINDS)}; default table")
    parser.add_argument("--number", type=int, default=20, help="samples of each kind (20)")
    parser.add_argument("--seed", type=int, default=0, help="the stream (0)")
    parser.add_argument("--start", type=int, default=0, help="index of the first sample (0)")
    parser.add_argument("--damage", type=float, default=1.0, help="0 clean .. 1 as in training (1)")
    parser.add_argument("--out", metavar="FOLDER", help="write records and images")
    parser.add_argument("--sheet", metavar="PNG", help="write a contact sheet")
    parser.add_argument("--dots", action="store_true", help="mark the characters' centres on the sheet")
    parser.add_argument("--time", action="store_true", help="print the speed")
    parser.add_argument("--fonts", action="store_true", help="list the font families in use")
    parser.add_argument(
        "--copy-fonts", metavar="FOLDER", help="copy the faces in use, for SAMVLM_FONTS elsewhere"
    )
    arguments = parser.parse_args(argv)
    arguments.kinds = arguments.kinds or ["table"]
    unknown = [kind for kind in arguments.kinds if kind not in KINDS]
    if unknown:
        parser.error(f"unknown kind {unknown[0]!r}: choose from {', '.join(KINDS)}")
    if not (arguments.out or arguments.sheet or arguments.time or arguments.fonts or arguments.copy_fonts):
        parser.error("say what to make: --sheet, --out, --time, --fonts or --copy-fonts")
    if arguments.fonts:
        print_fonts()
    if arguments.copy_fonts:
        print(f"{copy_faces(arguments.copy_fonts)} faces copied to {arguments.copy_fonts}", file=sys.stderr)
    if arguments.out:
        write_records(arguments)
    if arguments.sheet:
        write_sheet(arguments)
    if arguments.time:
        print_speed(arguments)


if __name__ == "__main__":
    main()
