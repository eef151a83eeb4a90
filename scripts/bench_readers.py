"""Score samvlm's model beside img2table with Tesseract, on the same images in the same run.

    apt-get install tesseract-ocr
    python -m venv other && other/bin/pip install img2table
    python scripts/bench_readers.py --python other/bin/python --data pubtabnet:FOLDER -o runs/pubtabnet
    python scripts/bench_readers.py --data synth:100 --model runs/mine/1-instruct -o runs/synth

The data are those of `samvlm eval`. Every image is written as a PNG file, which both then read one after the other, one
image at once; they take turns in who is first. The seconds are those from the file's path to the table's HTML, the
loading of model and packages apart. img2table runs in a process of its own (scripts/img2table_reader.py); its table is
its own `.html`. Where it finds several tables in an image, the one with most cells counts; where it finds none, that is
an empty table, which scores 0. So that it is at its best, small images are enlarged for it until their text is 18 pixels
tall (at 72 dpi letters are too small for Tesseract; on letters of 40 pixels img2table finds tables no more), and all get
a white margin. How tall the text is is looked up beforehand and takes none of its time. --upscale 1 --margin 0 is
img2table by itself.

DIR gets a folder of results for each, as `samvlm eval -o` writes it (so that `samvlm eval compare` takes the two, and the
same command goes on after an interruption), and readers.json and readers.md with what is printed.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import torch
import transformers
from PIL import Image
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts.img2table_process
import samvlm
from samvlm.cli.arguments import positive
from samvlm.cli.console import BAD_INPUT, OK, interrupted, load, one_line, terminable
from samvlm.cli.eval import report_comparison
from samvlm.cli.eval_arguments import json_object
from samvlm.data.plain import draw_table
from samvlm.data.tables import Table
from samvlm.evaluation.benchmarks import Benchmark, open_benchmark
from samvlm.evaluation.cases import Case
from samvlm.evaluation.compare import compare_runs
from samvlm.evaluation.predictions import Prediction
from samvlm.evaluation.predictors import ModelPredictor
from samvlm.evaluation.runner import PREDICTIONS, Evaluation, claim, evaluate, resume, write_json
from samvlm.generation.parser import find_checkpoint
from scripts.img2table_process import TEXT_HEIGHT, Img2table
from scripts.img2table_reader import SETTINGS, peak_memory

METRICS = ("teds_normalised", "teds_struct_normalised")
MIB = 2**20


class Reader(Protocol):
    """Reads one image at once. `folder` is where its results go, `identity` what they are told by."""

    folder: str
    identity: dict[str, Any]
    versions: dict[str, str]

    def read(self, case: Case) -> Prediction:
        """The prediction of a case whose image is a file."""
        ...

    def prepare(self, image: Image.Image) -> None:
        """Look at the next image, untimed."""
        ...

    def memory(self) -> dict[str, int | None]:
        """The peak so far in bytes, by part."""
        ...


class Samvlm:
    """A checkpoint, in this process."""

    folder = "samvlm"

    def __init__(self, options: argparse.Namespace):
        parser = load(options)
        self.gpu = parser.model.device if parser.model.device.type == "cuda" else None
        self.predictor = ModelPredictor(parser, find_checkpoint(options.model), 1, options.max_new_tokens)
        self.identity = self.predictor.identity
        self.versions = {
            "samvlm": samvlm.__version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "python": platform.python_version(),
        }

    def read(self, case: Case) -> Prediction:
        """As `samvlm eval` reads it, alone in its batch."""
        return next(self.predictor.predict([case]))

    def prepare(self, image: Image.Image) -> None:
        """Nothing: it resizes images itself."""

    def memory(self) -> dict[str, int | None]:
        """Of this process, Python and torch included, and of the GPU."""
        found = {"process": peak_memory()}
        return found | ({"GPU": torch.cuda.max_memory_allocated(self.gpu)} if self.gpu else {})


class Kept:
    """Predictions that were made in turns, for `evaluate` to score."""

    def __init__(self, reader: Reader, made: dict[str, Prediction]):
        self.identity, self.made = reader.identity, made

    def predict(self, cases: Sequence[Case]) -> Any:
        """Yield what was made."""
        yield from (self.made[case.id] for case in cases)


def compare_readers(
    readers: Sequence[Reader], benchmark: Benchmark, output: Path, force: bool = False
) -> list[tuple[Evaluation, list[Prediction]]]:
    """Let all read every case, in turns, and score each. Raises ValueError for folders of other runs."""
    data, version = benchmark.identity(), samvlm.__version__
    made: list[dict[str, Prediction]] = []
    for reader in readers:
        claim(output / reader.folder, {"model": reader.identity, "data": data, "samvlm": version}, force)
        made.append(resume(output / reader.folder / PREDICTIONS)[0])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.png"
        warm = False
        for number, case in enumerate(tqdm(benchmark.cases, desc=benchmark.name, unit="image")):
            turns = list(zip(readers, made, strict=True))
            turns = [turn for turn in turns if case.id not in turn[1]]
            try:
                if turns:
                    image = case.open()
                    image.save(path)
            except Exception as problem:  # a bad image costs itself alone
                for _, known in turns:
                    known[case.id] = Prediction.failed(case, one_line(problem))
                continue
            shown = replace(case, image=path, area=None)
            for reader, known in turns[:: 1 if number % 2 else -1]:
                reader.prepare(image)
                if not warm:
                    reader.read(shown)  # the first reading of all is not timed
                start = time.perf_counter()
                prediction = reader.read(shown)
                seconds = round(time.perf_counter() - start, 4)
                known[case.id] = replace(prediction, seconds=None if prediction.error else seconds)
                with (output / reader.folder / PREDICTIONS).open("a", encoding="utf-8") as file:
                    file.write(known[case.id].to_line())
            warm = warm or bool(turns)
    return [
        (
            evaluate(Kept(reader, known), benchmark, output / reader.folder, version=version),
            [known[case.id] for case in benchmark.cases],
        )
        for reader, known in zip(readers, made, strict=True)
    ]


def figures(reader: Reader, result: Evaluation, predictions: Sequence[Prediction]) -> dict[str, Any]:
    """What is told of one reader, as plain values."""
    seconds = sorted(made.seconds for made in predictions if made.seconds is not None)
    quartiles = statistics.quantiles(seconds, n=4) if len(seconds) > 1 else None
    return {
        "name": result.scores["model"],
        "examples": result.scores["n"],
        "metrics": {name: result.scores["metrics"][name] for name in METRICS},
        "rates": result.scores["rates"],
        "no_table": sum(not made.html for made in predictions) / len(predictions),
        "seconds": {
            "median": statistics.median(seconds) if seconds else None,
            "quartiles": [quartiles[0], quartiles[2]] if quartiles else None,
            "most": max(seconds, default=None),
        },
        "memory": reader.memory(),
        "versions": reader.versions,
        "identity": reader.identity,
    }


def shown(told: Sequence[dict[str, Any]]) -> Table:
    """The figures of the readers, side by side."""

    def column(one: dict[str, Any]) -> list[str]:
        cells = ["{mean:.3f} ({low:.3f} to {high:.3f})".format(**one["metrics"][name]) for name in METRICS]
        shares = [
            one["rates"]["repetition"],
            one["rates"]["truncated"],
            one["no_table"],
            one["rates"]["errors"],
        ]
        time_of, spread = one["seconds"]["median"], one["seconds"]["quartiles"]
        memory = [
            f"{name} {size / MIB:,.0f}" if name != "process" else f"{size / MIB:,.0f}"
            for name, size in one["memory"].items()
            if size
        ]
        return [
            *cells,
            *(f"{share:.1%}" for share in shares),
            "-"
            if time_of is None
            else f"{time_of:.2f}" + (" ({:.2f} to {:.2f})".format(*spread) if spread else ""),
            " + ".join(memory) or "not known",
        ]

    names = [
        "",
        *(f"{name} (95% interval)" for name in METRICS),
        "repetition",
        "truncated",
        "no table",
        "errors",
        "seconds an image, median (quartiles)",
        "peak memory, MiB",
    ]
    columns = [[one["name"], *column(one)] for one in told]
    return Table.from_rows([list(row) for row in zip(names, *columns, strict=True)], header_rows=1)


def notes(told: Sequence[dict[str, Any]], options: argparse.Namespace) -> str:
    """In words: how it was measured, and with what."""
    versions = {name: number for one in told for name, number in one["versions"].items()}
    scale = f"{options.upscale:g} times" if options.upscale else f"to a text height of {TEXT_HEIGHT:g} pixels"
    return (
        f"One image at once, in turns; {options.threads or torch.get_num_threads()} threads on {os.cpu_count()} cores "
        f"({platform.machine()}). img2table: images enlarged {scale} with a margin of {options.margin} pixels, "
        f"tables without rules too, --psm {options.psm}, words of confidence {options.min_confidence} and more"
        f"{', implicit rows' if options.implicit_rows else ''}.\n"
        + ", ".join(f"{name} {number}" for name, number in versions.items())
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Read, score, print; returns the exit code."""
    options = arguments().parse_args(argv)
    settings = {name: getattr(options, name) for name in SETTINGS}
    other = None
    try:
        with terminable():
            if options.upscale is not None and not 0 < options.upscale <= 10:
                raise ValueError(f"--upscale {options.upscale:g}: give a number up to 10")
            other = Img2table(options.python, settings, options.upscale, options.timeout)
            benchmark = open_benchmark(
                options.data, options.split, options.limit, options.seed, options.options
            )
            if any(case.task != "table" or case.image is None for case in benchmark.cases):
                raise ValueError(f"{options.data} are not tables with their images alone")
            if options.threads:
                torch.set_num_threads(options.threads)
            readers = [Samvlm(options), other]
            output = Path(options.output)
            results = compare_readers(readers, benchmark, output, options.force)
            told = [figures(reader, *result) for reader, result in zip(readers, results, strict=True)]
            told[1]["tables_found"] = other.found
            scores = results[0][0].scores
            words = notes(told, options)
            write_json(output / "readers.json", {"data": scores["data"], "readers": told})
            table = shown(told)
            (output / "readers.md").write_text(f"{table.to_markdown()}\n{words}\n", encoding="utf-8")
            compared = compare_runs(output / other.folder, output / Samvlm.folder, METRICS)
    except (ValueError, OSError) as problem:
        print(f"bench_readers: error: {one_line(problem)}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt as cause:
        print("bench_readers: interrupted; the same command goes on where it was", file=sys.stderr)
        return interrupted(cause)
    finally:
        if other is not None:
            other.stop()
    print(f"{scores['data']}: {scores['n']} tables\n\n{draw_table(table)}\n{words}\n")
    print(report_comparison(compared))
    return OK


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = made.add_argument
    add("--data", required=True, metavar="X", help="what is read, as for samvlm eval")
    add("-o", "--output", required=True, metavar="DIR", help="folder of the results")
    add("--force", action="store_true", help="replace the results of another run in DIR")
    add("--limit", type=positive, metavar="N", help="only the first N images")
    add("--split", metavar="S", help="of the data set")
    add("--seed", type=int, default=900001, metavar="N", help="of drawn tables (900001)")
    add("--options", type=json_object, metavar="JSON", help="of drawn tables or a reader")
    add(
        "--threads", type=positive, metavar="N", help="of torch, OpenCV and Tesseract (default: each its own)"
    )
    add("--model", metavar="M", help="checkpoint folder or hub name (default: the one that ships)")
    add("--max-new-tokens", type=positive, metavar="N", help="limit of one answer")
    add("--device", metavar="D", help="cpu, cuda … (default: a GPU if there is one)")
    add("--dtype", metavar="T", help="float32, bfloat16 …")
    add("--python", default=sys.executable, metavar="P", help="one that has img2table (default: this one)")
    add("--upscale", type=float, metavar="F", help="images for img2table, times (default: by their text)")
    add("--margin", type=int, default=SETTINGS["margin"], metavar="N", help="white pixels (%(default)s)")
    add("--psm", type=int, default=SETTINGS["psm"], metavar="N", help="Tesseract's (%(default)s)")
    add("--min-confidence", type=int, default=SETTINGS["min_confidence"], metavar="N", help="(%(default)s)")
    add("--implicit-rows", action="store_true", help="img2table's, which parts rows without rules")
    add("--timeout", type=float, default=300.0, metavar="S", help="of img2table, an image (%(default)s)")
    return made


if __name__ == "__main__":
    sys.exit(main())
