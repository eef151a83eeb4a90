"""The held-out examples that a stage is scored on: found, named, and none of them trained on."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from samvlm.data.datasets import MixtureDataset
from samvlm.data.records import Record, each_record
from samvlm.data.samples import RecordSource
from samvlm.evaluation.benchmarks import Benchmark, open_benchmark
from samvlm.evaluation.cases import Case
from samvlm.evaluation.scores import metrics_of
from training.checkpoints import sha256_of
from training.scoring_recipe import ScoringRecipe

CER_OF_TABLES = "cer"  # see `scores_of_table` in training/scoring.py


def open_held_out(scoring: ScoringRecipe) -> Benchmark:
    """The examples that `scoring.data` names. Raises ValueError where there are none, or the metric is none of theirs."""
    try:
        benchmark = open_benchmark(
            scoring.data, scoring.split, scoring.limit, scoring.seed, scoring.options or None
        )
    except ValueError as error:
        raise ValueError(f"scoring.data={scoring.data}: {error}") from None
    if not any(scoring.metric in scores_of(case) for case in benchmark.cases):
        tasks = ", ".join(sorted({case.task for case in benchmark.cases}))
        given = dict.fromkeys(name for case in benchmark.cases for name in scores_of(case))
        raise ValueError(
            f"scoring.metric={scoring.metric} is no score of what scoring.data={scoring.data} asks for ({tasks}): "
            f"choose one of {', '.join(given)}."
        )
    return benchmark


def scores_of(case: Case) -> tuple[str, ...]:
    """The names of the scores that a case can have."""
    names = metrics_of(case)
    return (*names, CER_OF_TABLES) if case.task == "table" and not case.structure_only else names


def overlap(benchmark: Benchmark, dataset: MixtureDataset) -> tuple[list[str], list[str]]:
    """Held-out examples whose image is one of those that are trained on, byte by byte.

    Returns:
        The ids of the examples; and the sources whose images are not known beforehand, so that nobody looked.
    """
    sizes: dict[int, list[Case]] = {}
    for case in benchmark.cases:
        size = _size(case.image)
        if size is not None:
            sizes.setdefault(size, []).append(case)
    digests: dict[str, list[str]] = {}
    found, unknown, hashed = [], [], set()
    for source in dataset.sources:
        if not isinstance(source, RecordSource):
            if not (hasattr(source, "synth") or hasattr(source, "engine")):
                unknown.append(
                    str(getattr(source, "parquet", None) or getattr(source, "dataset", None) or source)
                )
            continue
        if not sizes:
            continue
        for path in _paths(source):
            size = _size(path)
            if size not in sizes:
                continue
            if size not in hashed:
                hashed.add(size)
                for case in sizes[size]:
                    digests.setdefault(_digest(case.image), []).append(case.id)
            found += digests.pop(_digest(path), [])
    return found, unknown


def _paths(source: RecordSource) -> Iterator[Path]:
    seen: set[Path] = set()
    for record in each_record(source.records):
        if isinstance(record, Record) and record.image is not None and record.image not in seen:
            seen.add(record.image)
            yield record.image


def _size(image: Any) -> int | None:
    """Bytes of an image; None for what is drawn, and for a file that is not there: reading it tells."""
    if isinstance(image, bytes):
        return len(image)
    try:
        return image.stat().st_size if isinstance(image, Path) else None
    except OSError:
        return None


def _digest(image: Path | bytes) -> str:
    """SHA-256 of an image's bytes; of a file that cannot be read, of its name: it is like no other."""
    if isinstance(image, bytes):
        return hashlib.sha256(image).hexdigest()
    try:
        return sha256_of(image)
    except OSError:
        return f"unreadable {image}"
