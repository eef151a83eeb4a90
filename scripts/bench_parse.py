"""Time parsing page by page: the compiled decoder steps against transformers' own loop, in turns on each image.

    python scripts/bench_parse.py IMAGE_OR_FOLDER …               # two threads, the checkpoint that ships
    python scripts/bench_parse.py FOLDER --threads 1 2 --model runs/mine/1-instruct
    python scripts/bench_parse.py FOLDER --batches 4 8            # the images in batches, too

Prints medians over the images, how many took under a second, and whether all ways read the same. A page may also be
read without grammar, chat or table: `samvlm parse --timing` has the same figures for your own call.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from unittest import mock

started = time.perf_counter()

import torch  # noqa: E402

from samvlm import DocumentParser  # noqa: E402
from samvlm.data.images import DocumentError, open_image  # noqa: E402
from samvlm.generation import batch  # noqa: E402
from samvlm.generation.timing import Timing  # noqa: E402

IMPORTED = time.perf_counter() - started
ENDINGS = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp"}
COLUMNS = (
    "",
    "s an image",
    "mean",
    "longest",
    "under 1 s",
    "image ms",
    "tower ms",
    "prompt ms",
    "first token s",
    "ms a token",
)


def find_images(paths: list[Path]) -> list[Path]:
    """The files, and the images directly in the folders. Raises ValueError."""
    found = []
    for path in paths:
        if not path.exists():
            raise ValueError(f"{path}: no such file or folder")
        inside = (
            sorted(file for file in path.iterdir() if file.suffix.lower() in ENDINGS)
            if path.is_dir()
            else [path]
        )
        found += inside
    if not found:
        raise ValueError(f"no images in {', '.join(map(str, paths))}")
    return found


def loop(kernels: bool) -> AbstractContextManager:
    """Let decoding take transformers' own loop, or what it takes by itself."""
    return nullcontext() if kernels else mock.patch.object(batch, "usable", return_value=False)


def line(name: str, timings: list[Timing]) -> tuple[str, ...]:
    """A row of the table."""

    def median(of: str, scale: float = 1.0) -> float:
        return scale * statistics.median(getattr(timing, of) for timing in timings)

    totals = [timing.total for timing in timings]
    return (
        name,
        f"{median('total'):.2f}",
        f"{statistics.mean(totals):.2f}",
        f"{max(totals):.2f}",
        f"{sum(total < 1 for total in totals)} of {len(totals)}",
        f"{median('image', 1000):.0f}",
        f"{median('tower', 1000):.0f}",
        f"{median('prefill', 1000):.0f}",
        f"{median('first_token'):.3f}",
        f"{median('ms_a_token'):.2f}",
    )


def measure(parser: DocumentParser, paths: list[Path], options: argparse.Namespace) -> bool:
    """Print everything; whether all ways read the same."""
    images = []
    for path in paths:
        try:
            images.append(open_image(path))
        except DocumentError as error:
            print(f"left out: {path}: {error}", file=sys.stderr)
    if not images:
        raise ValueError("none of the images can be read")
    ways = [(threads, kernels) for threads in options.threads for kernels in (False, True)]
    timings: dict[tuple[int, bool], list[Timing]] = {way: [] for way in ways}
    texts: list[str] = []
    differ = 0
    parser(images[0], max_new_tokens=3)  # trials and first allocations
    for image in images:
        read = set()
        for threads, kernels in ways:
            torch.set_num_threads(threads)
            with loop(kernels):
                result = parser(image, max_new_tokens=options.max_new_tokens)
            timings[threads, kernels].append(result.timing)
            read.add(result.text)
        texts.append(result.text)
        differ += len(read) > 1
    print("| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS))
    for (threads, kernels), taken in timings.items():
        name = f"{'kernels' if kernels else 'transformers'}, {threads} thread{'s' * (threads > 1)}"
        print("| " + " | ".join(line(name, taken)) + " |")
    tokens = [timing.tokens for timing in taken]
    print(
        f"{len(images)} images, {differ} of them read in several ways; {statistics.median(tokens):.0f} tokens at the median, {max(tokens)} at the most"
    )
    differ += sum(in_batches(parser, images, texts, size, options.max_new_tokens) for size in options.batches)
    return not differ


def in_batches(parser: DocumentParser, images: list, texts: list[str], size: int, limit: int | None) -> int:
    """Time images of similar size together; how many are read otherwise than alone."""
    order = sorted(range(len(images)), key=lambda place: images[place].width * images[place].height)
    start, differ = time.perf_counter(), 0
    for first in range(0, len(order), size):
        group = order[first : first + size]
        results = parser.parse_batch([images[place] for place in group], max_new_tokens=limit)
        differ += sum(result.text != texts[place] for place, result in zip(group, results, strict=True))
    seconds = (time.perf_counter() - start) / len(images)
    print(f"batches of {size}: {seconds:.2f} s an image, {differ} read otherwise than alone")
    return differ


def main(argv: list[str] | None = None) -> int:
    """Run; 1 where two ways read an image differently, 2 for bad input."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", nargs="+", type=Path, help="files and folders of images, one page each")
    parser.add_argument("--model", help="checkpoint folder or hub name (the one that ships)")
    parser.add_argument("--dtype", help="of the weights (as samvlm parse chooses it)")
    parser.add_argument("--threads", type=int, nargs="+", default=[2], metavar="N", help="of PyTorch (2)")
    parser.add_argument(
        "--batches", type=int, nargs="*", default=[], metavar="N", help="sizes of batches (none)"
    )
    parser.add_argument(
        "--max-new-tokens", type=int, metavar="N", help="limit of an answer (the checkpoint's)"
    )
    options = parser.parse_args(argv)
    if min(options.threads + options.batches) < 1:
        parser.error("--threads and --batches: at least 1")
    try:
        paths, start = find_images(options.images), time.perf_counter()
        reader = DocumentParser.from_pretrained(options.model, dtype=options.dtype)
        print(f"import {IMPORTED:.1f} s, load {time.perf_counter() - start:.2f} s; torch {torch.__version__}")
        reader.timing = True
        return 0 if measure(reader, paths, options) else 1
    except ValueError as error:
        print(f"bench_parse: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
