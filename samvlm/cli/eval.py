"""samvlm eval: a model, data, a folder of results; and which of two such folders is better."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..data.plain import draw_table, plain_text
from ..data.tables import Table
from ..evaluation.benchmarks import open_benchmark
from ..evaluation.cases import Case
from ..evaluation.compare import RunComparison, compare_runs
from ..evaluation.endpoint import EndpointPredictor
from ..evaluation.predictions import FilePredictor
from ..evaluation.predictors import ModelPredictor, Predictor
from ..evaluation.runner import PREDICTIONS, Evaluation, evaluate, write_json
from ..evaluation.scores import LOWER_IS_BETTER
from ..generation.parser import find_checkpoint
from .console import BAD_INPUT, OK, PAGE_FAILED, interrupted, load, one_line, say, terminable

MOST_NAMED = 10  # failures that are named on the screen; scores.json has all


def run(options: argparse.Namespace) -> int:
    """Evaluate; returns the exit code."""
    version = sys.modules[__package__.partition(".")[0]].__version__
    try:
        with terminable():
            benchmark = open_benchmark(
                options.data, options.split, options.limit, options.seed, options.options
            )
            _name_failures(
                [f"left out: {entry.where}: {entry.reason}" for entry in benchmark.left_out], options.output
            )
            result = evaluate(
                _predictor(options, benchmark.cases),
                benchmark,
                options.output,
                options.force,
                options.metrics,
                options.workers,
                version,
            )
    except (ValueError, OSError) as problem:
        say(f"error: {one_line(problem)}")
        return BAD_INPUT
    except KeyboardInterrupt as cause:
        say(f"interrupted; the same command goes on where it was, see {options.output}")
        return interrupted(cause)
    if result.torn:
        say(f"{result.torn} torn lines of {PREDICTIONS} were read again")
    errors = result.scores["errors"]
    _name_failures([f"{entry['id']}: {entry['error']}" for entry in errors], options.output)
    sys.stdout.write(report(result))
    if errors and len(errors) == len(result.examples):
        say(
            f"error: none of {len(errors)} examples could be read and scored; the first: {errors[0]['error']}"
        )
        return BAD_INPUT
    return PAGE_FAILED if errors else OK


def run_compare(options: argparse.Namespace) -> int:
    """Compare two folders of results; returns the exit code."""
    try:
        found = compare_runs(options.a, options.b, options.metrics, options.shared)
        if options.output:
            write_json(Path(options.output), found.to_dict())
    except (ValueError, OSError) as problem:
        say(f"error: {one_line(problem)}")
        return BAD_INPUT
    sys.stdout.write(report_comparison(found))
    return OK


def report(result: Evaluation) -> str:
    """The scores as text."""
    scores = result.scores
    lines = [plain_text(f"{scores['model']} on {scores['data']}: {scores['n']} examples")]
    rows = [
        [
            name,
            f"{found['mean']:.4f}",
            f"{found['low']:.4f} to {found['high']:.4f}",
            _note(name, found, scores),
        ]
        for name, found in scores["metrics"].items()
    ]
    width = 4 if any(row[3] for row in rows) else 3
    lines.append(_aligned([row[:width] for row in [["score", "mean", "95% interval", ""], *rows]]))
    first = next(iter(scores["metrics"]))
    rows = [
        [kind, value, str(found["n"]), f"{found[first]:.4f}"]
        for kind, values in scores["buckets"].items()
        for value, found in values.items()
        if first in found
    ]
    lines += ["", _aligned([["bucket", "", "n", first], *rows])] if rows else []
    rates = ", ".join(f"{name} {rate:.1%}" for name, rate in scores["rates"].items())
    lines += ["", rates]
    if scores["seconds_per_image_median"] is not None:
        lines.append(f"{scores['seconds_per_image_median']:.3f} seconds an image (median)")
    lines += [str(path) for path in result.files]
    return "\n".join(lines) + "\n"


def _note(name: str, found: dict[str, float], scores: dict[str, Any]) -> str:
    better = "lower is better" if name in LOWER_IS_BETTER else ""
    return " ".join(filter(None, [better, f"of {found['n']}" if found["n"] < scores["n"] else ""]))


def report_comparison(found: RunComparison) -> str:
    """A comparison as text."""
    lines = [f"A: {found.names[0]}", f"B: {found.names[1]}"]
    if any(found.left_out):
        a, b = found.left_out
        lines.append(f"left out, as the other has them not or with another truth: {a} of A, {b} of B")
    lines.append(
        _aligned(
            [["score", "A", "B", "B - A", "95% interval", "p", "wins", "losses", "ties"]]
            + [
                [
                    name,
                    *(f"{mean:.4f}" for mean in found.means[name]),
                    f"{row.mean_difference:+.4f}",
                    f"{row.low:+.4f} to {row.high:+.4f}",
                    f"{row.p_value:.2g}",
                    *map(str, (row.wins, row.losses, row.ties)),
                ]
                for name, row in found.metrics.items()
            ]
        )
    )
    if found.changes:
        first = next(iter(found.metrics))
        lines += ["", f"largest changes of {first}:"]
        rows = [
            [change.id, f"{change.a:.4f}", f"{change.b:.4f}", f"{change.difference:+.4f}"]
            for change in found.changes
        ]
        lines.append(_aligned([["id", "A", "B", "B - A"], *rows]))
    return "\n".join([*lines, "", found.verdict]) + "\n"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    return draw_table(Table.from_rows(rows, header_rows=1), None).rstrip("\n")


def _predictor(options: argparse.Namespace, cases: Sequence[Case]) -> Predictor:
    name = options.model
    if name and name.lower().startswith(("http://", "https://")):
        return EndpointPredictor(
            name,
            options.endpoint_model,
            options.prompt,
            options.max_new_tokens,
            options.concurrency,
            options.timeout,
            options.retries,
            key_variable=options.api_key_env,
        )
    if name and (Path(name) / PREDICTIONS).is_file() and not (Path(name) / "config.json").exists():
        name = str(Path(name) / PREDICTIONS)  # a folder of results, to be scored again
    if name and Path(name).is_file():
        predictor = FilePredictor(name)
        _name_failures([f"{entry.where}: {entry.reason}" for entry in predictor.rejected], name)
        predictor.check(cases)
        return predictor
    if options.threads:
        torch.set_num_threads(options.threads)
    parser = load(options)
    return ModelPredictor(parser, find_checkpoint(name), options.batch_size, options.max_new_tokens)


def _name_failures(failures: Sequence[str], where: object) -> None:
    for failure in failures[:MOST_NAMED]:
        say(plain_text(f"warning: {failure}"))
    if len(failures) > MOST_NAMED:
        say(f"warning: … and {len(failures) - MOST_NAMED} more, see {where}")
