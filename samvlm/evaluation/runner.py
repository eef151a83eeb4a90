"""One evaluation: predictions are written as they come, so that a killed run goes on, then scored and shown.

A folder of results holds run.json (which model, which data), predictions.jsonl, scores.json, examples.jsonl (the
scores of each example, for comparisons) and viewer.html.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..data.lock import alone_in
from ..data.whole_files import whole_file
from .benchmarks import Benchmark
from .cases import Case
from .examples import Example
from .predictions import Prediction
from .predictors import Predictor
from .scores import MEANINGS, make_examples, median_seconds, summarise
from .viewer import write_viewer

RUN, PREDICTIONS, SCORES, EXAMPLES, VIEWER = (
    "run.json",
    "predictions.jsonl",
    "scores.json",
    "examples.jsonl",
    "viewer.html",
)
SYNC_SECONDS = 5.0  # between two moments at which what was written is sure to be on the disk


@dataclass
class Evaluation:
    """What came out: the content of scores.json, the examples, and what was found of an earlier start.

    found: predictions that were there; torn: lines of theirs that were broken and done again
    """

    scores: dict[str, Any]
    examples: list[Example]
    found: int = 0
    torn: int = 0
    files: list[Path] = field(default_factory=list)


def evaluate(
    predictor: Predictor,
    benchmark: Benchmark,
    output: str | Path,
    force: bool = False,
    metrics: Sequence[str] | None = None,
    workers: int = 1,
    version: str | None = None,
) -> Evaluation:
    """Read all cases, score what was read, write the folder of results.

    Started again on its folder, it goes on where it was: what has a prediction is not read again, what ended with
    an error is.

    Args:
        predictor: reads the cases.
        benchmark: the cases.
        output: the folder of results; it may exist.
        force: do away with the results of another model or other data in the folder.
        metrics: names of `scores.ALL_METRICS`; None: all.
        workers: processes that score.
        version: of samvlm, for run.json.

    Raises:
        ValueError: the folder holds results of another model or other data or is in use by
            another run, or the predictor cannot go on.
        OSError: the folder cannot be written.
    """
    output = Path(output)
    identity = {"model": predictor.identity, "data": benchmark.identity(), "samvlm": version}
    make_examples([], [], metrics)  # complains about unknown names before anything is read
    with alone_in(output, "another -o DIR"):
        claim(output, identity, force)
        return _evaluate(predictor, benchmark, output, identity, metrics, workers)


def _evaluate(
    predictor: Predictor,
    benchmark: Benchmark,
    output: Path,
    identity: dict[str, Any],
    metrics: Sequence[str] | None,
    workers: int,
) -> Evaluation:
    known, torn = resume(output / PREDICTIONS)
    predictions = _predict(predictor, benchmark, output / PREDICTIONS, known)
    examples = make_examples(
        benchmark.cases, predictions, metrics, workers, progress=len(predictions) > 50 and sys.stderr.isatty()
    )
    scores = {
        "model": str(predictor.identity.get("name") or predictor.identity.get("path")),
        "data": benchmark.name + (f" ({benchmark.path})" if benchmark.path else ""),
        **summarise(examples),
        "seconds_per_image_median": median_seconds(predictions),
        "errors": [
            {"id": example.id, "error": example.error} for example in examples if example.error is not None
        ],
        "left_out": [asdict(rejected) for rejected in benchmark.left_out],
        "run": identity,
    }
    scores["meaning"] = {name: MEANINGS[name] for name in scores["metrics"]}
    write_json(output / SCORES, scores)
    _write_examples(output / EXAMPLES, benchmark.cases, examples)
    write_viewer(output / VIEWER, examples, f"{scores['model']} on {scores['data']}", scores)
    files = [output / name for name in (PREDICTIONS, SCORES, EXAMPLES, VIEWER)]
    return Evaluation(scores, examples, len(known), torn, files)


def claim(output: Path, identity: dict[str, Any], force: bool) -> None:
    """Make the folder that of this run. Raises ValueError if it is that of another and not to be replaced."""
    output.mkdir(parents=True, exist_ok=True)
    if force:
        for name in (RUN, PREDICTIONS, SCORES, EXAMPLES, VIEWER):
            (output / name).unlink(missing_ok=True)
    if (output / RUN).exists():
        try:
            before = json.loads((output / RUN).read_text(encoding="utf-8"))
            others = differences(before, json.loads(json.dumps(identity)))
        except (ValueError, AttributeError, TypeError):
            others = [f"{RUN} cannot be read"]
        if others:
            raise ValueError(
                f"{output} holds the results of another run ({'; '.join(others)}); give another -o DIR, or --force "
                "to replace them"
            )
        return
    if (output / PREDICTIONS).exists():
        raise ValueError(
            f"{output / PREDICTIONS} exists without {RUN}, so whose predictions they are is not known; give "
            "another -o DIR, or --force to replace them"
        )
    write_json(output / RUN, identity)


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """In words, how the model or the data of two runs differ; equal fingerprints count for more than names."""
    found = []
    for part in ("model", "data"):
        old, new = dict(before.get(part) or {}), dict(now.get(part) or {})
        same = new.get("fingerprint") is not None and old.get("fingerprint") == new.get("fingerprint")
        for key in ("name", "path"):
            if same:
                old.pop(key, None)
                new.pop(key, None)
        if part == "data" and same:
            continue
        keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
        found += [f"{part} {key}: {old.get(key)!r}, now {new.get(key)!r}" for key in keys]
    return found


def resume(path: Path) -> tuple[dict[str, Prediction], int]:
    """The predictions of a file without the failed ones, by id, and how many lines were torn.

    Torn lines (the last of a killed run) and failed predictions are taken out of the file.
    """
    if not path.exists():
        return {}, 0
    lines = path.read_bytes().splitlines(keepends=True)
    known: dict[str, Prediction] = {}
    torn = 0
    for line in lines:
        try:
            if not line.endswith(b"\n"):
                raise ValueError("the line has no end")
            prediction = Prediction.from_row(json.loads(line))
        except (ValueError, RecursionError):
            torn += 1
            continue
        if prediction.error is None:
            known[prediction.id] = prediction
    if len(known) < len(lines):
        _write_predictions(path, list(known.values()))
    return known, torn


def write_json(path: Path, value: Any) -> None:
    """Write JSON for people and machines; the file is there whole or not at all."""
    with whole_file(path) as stream:
        stream.write((json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "replace"))


def _predict(
    predictor: Predictor, benchmark: Benchmark, path: Path, known: dict[str, Prediction]
) -> list[Prediction]:
    """Predict what is not known, line by line into the file; then bring the file into the order of the cases."""
    waiting = [case for case in benchmark.cases if case.id not in known]
    made = dict(known)
    with (
        path.open("ab") as file,
        tqdm(
            total=len(benchmark.cases),
            initial=len(benchmark.cases) - len(waiting),
            desc=benchmark.name,
            unit="image",
            file=sys.stderr,
        ) as bar,
        contextlib.closing(predictor.predict(waiting)) as predictions,
    ):
        synced = time.monotonic()
        for prediction in predictions:
            made[prediction.id] = prediction
            file.write(prediction.to_line().encode("utf-8", "replace"))
            file.flush()
            if time.monotonic() - synced > SYNC_SECONDS:
                os.fsync(file.fileno())
                synced = time.monotonic()
            bar.update()
        os.fsync(file.fileno())
    ordered = [made[case.id] for case in benchmark.cases]
    _write_predictions(path, ordered)
    return ordered


def _write_predictions(path: Path, predictions: Sequence[Prediction]) -> None:
    with whole_file(path) as stream:
        for prediction in predictions:
            stream.write(prediction.to_line().encode("utf-8", "replace"))


def _write_examples(path: Path, cases: Sequence[Case], examples: Sequence[Example]) -> None:
    with whole_file(path) as stream:
        for case, example in zip(cases, examples, strict=True):
            row = {
                "id": example.id,
                "task": example.task,
                "truth": case.key,
                "scores": example.scores,
                "finish_reason": example.finish_reason,
                "error": example.error,
                "buckets": example.buckets,
            }
            stream.write((json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8", "replace"))
