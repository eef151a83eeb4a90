"""Score many pairs, one after the other or in parallel processes; a bad pair is reported and costs no other."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from tqdm import tqdm

from ..data.child_process import ChildProcess
from .alignment import CellScores, cell_scores
from .grits import grits_con, grits_top
from .teds import has_official_table, teds, teds_normalised, teds_struct, teds_struct_normalised
from .text import anls, cer, check_text, edit_distance, exact_match

_WORKER = Path(__file__).with_name("pair_worker.py")


def _cells(prediction: str, truth: str) -> CellScores:
    check_text(prediction, truth)
    return _last_cells(prediction, truth)


_last_cells = lru_cache(maxsize=1)(cell_scores)  # three of the metrics ask for the same


def _official(metric: Callable[[str, str], float]) -> Callable[[str, str], float]:
    """The metric, but a truth that can only score 0 is an error."""

    def score(prediction: str, truth: str) -> float:
        value = metric(prediction, truth)
        if value == 0.0 and not has_official_table(truth):
            raise ValueError(
                "the truth has no table where the official score looks for one; "
                "write it as <html><body><table>…</table></body></html>, or use teds_normalised"
            )
        return value

    return score


METRICS: dict[str, Callable[[str, str], float]] = {
    "teds": _official(teds),
    "teds_struct": _official(teds_struct),
    "teds_normalised": teds_normalised,
    "teds_struct_normalised": teds_struct_normalised,
    "grits_top": grits_top,
    "grits_con": grits_con,
    "cell_precision": lambda prediction, truth: _cells(prediction, truth).precision,
    "cell_recall": lambda prediction, truth: _cells(prediction, truth).recall,
    "cell_f1": lambda prediction, truth: _cells(prediction, truth).f1,
    "edit_distance": edit_distance,
    "cer": cer,
    "exact_match": exact_match,
    "anls": anls,
}


@dataclass
class PairScore:
    """The scores of one pair by name. Where one could not be had, it is not there, and `error` says why."""

    scores: dict[str, float] = field(default_factory=dict)
    error: str | None = None


def score_pair(prediction: str, truth: str, metrics: Sequence[str]) -> PairScore:
    """Return the scores of one pair; what a metric raises becomes `PairScore.error`."""
    score = PairScore()
    problems: dict[str, str] = {}  # what is wrong -> the first metric that said so
    try:
        check_text(prediction, truth)
    except ValueError as error:
        return PairScore(error=str(error))
    for name in metrics:
        try:
            score.scores[name] = METRICS[name](prediction, truth)
        except Exception as error:  # whatever a hostile pair brings about must not cost the others
            text = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            problems.setdefault(" ".join(text.split()), name)
    if problems:
        score.error = "; ".join(f"{name}: {text}" for text, name in problems.items())
    return score


def score_pairs(
    pairs: Iterable[tuple[str, str]],
    metrics: Sequence[str] = ("teds",),
    workers: int = 1,
    progress: bool = False,
) -> list[PairScore]:
    """Score pairs (prediction, truth) by the named `METRICS`, in their order.

    Nothing that is wrong with a pair is raised, and it never scores a silent 0: its `PairScore` has an `error`.
    `workers` above 1 are processes of their own, which start in half a second as they load no torch; one that dies
    costs the pair it was at. `progress` shows a bar on standard error. Raises ValueError for an unknown metric.
    """
    unknown = [name for name in metrics if name not in METRICS]
    if unknown or not metrics:
        raise ValueError(f"unknown metrics {unknown}; give some of {', '.join(METRICS)}")
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    total = len(pairs) if isinstance(pairs, Sized) else None
    with tqdm(total=total, desc="scoring", unit="pair", disable=not progress) as bar:
        if workers == 1 or (total is not None and total < 2):
            scores = []
            for prediction, truth in pairs:
                scores.append(score_pair(prediction, truth, metrics))
                bar.update()
            return scores
        return _in_parallel(pairs, metrics, min(workers, total or workers), bar)


def _in_parallel(
    pairs: Iterable[tuple[str, str]], metrics: Sequence[str], workers: int, bar: tqdm
) -> list[PairScore]:
    results: dict[int, PairScore] = {}
    lock = threading.Lock()
    source = enumerate(pairs)
    stopped = threading.Event()

    def take() -> Iterator[tuple[int, tuple[str, str]]]:
        while not stopped.is_set():
            with lock:
                item = next(source, None)
            if item is None:
                return
            yield item

    def serve(worker: _Worker) -> None:
        with worker:
            for index, (prediction, truth) in take():
                score = worker.score(prediction, truth)
                with lock:
                    results[index] = score
                    bar.update()

    processes = [_Worker(metrics) for _ in range(workers)]
    with ThreadPoolExecutor(workers) as pool:
        try:
            for future in [pool.submit(serve, worker) for worker in processes]:
                future.result()
        except BaseException:
            stopped.set()
            for worker in processes:
                worker.stop()
            raise
    return [results[index] for index in range(len(results))]


class _Worker(ChildProcess):
    """A process that scores one pair after the other; started again when it has died."""

    def __init__(self, metrics: Sequence[str]) -> None:
        super().__init__(_WORKER)
        self.metrics = list(metrics)

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def score(self, prediction: str, truth: str) -> PairScore:
        """Let the process score a pair and wait for it."""
        try:
            check_text(prediction, truth)
        except ValueError as error:
            return PairScore(error=str(error))
        process = self.process or self.start()
        with contextlib.suppress(OSError, ValueError):  # it may have died, or have been stopped
            process.stdin.write(json.dumps([prediction, truth, self.metrics]).encode() + b"\n")
            process.stdin.flush()
            line = process.stdout.readline()
            if line.endswith(b"\n"):
                scores, error = json.loads(line)
                return PairScore(scores, error)
        self.stop()
        return PairScore(
            error=f"the process that scored it ended with code {process.returncode}; out of memory?"
        )
