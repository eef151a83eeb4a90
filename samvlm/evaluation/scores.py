"""Scores of examples: each by its task, their means with intervals, by bucket, and how the outputs ended."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from ..metrics import anls, bootstrap_interval, exact_match, rates, score_pairs
from .cases import Case
from .examples import BUCKETS, Example, table_buckets
from .predictions import Prediction, compared_text

TABLE_METRICS = (
    "teds_normalised",
    "teds_struct_normalised",
    "teds",
    "teds_struct",
    "grits_top",
    "grits_con",
    "cell_precision",
    "cell_recall",
    "cell_f1",
)
STRUCTURE_METRICS = ("teds_struct_normalised", "teds_struct", "grits_top")  # where the truth holds no texts
TEXT_METRICS = ("cer", "edit_distance", "exact_match")
QUESTION_METRICS = ("anls", "exact_match")
OF_TASK = {"table": TABLE_METRICS, "text": TEXT_METRICS, "form": TEXT_METRICS, "question": QUESTION_METRICS}
ALL_METRICS = tuple(dict.fromkeys(name for names in OF_TASK.values() for name in names))
LOWER_IS_BETTER = frozenset({"cer", "edit_distance"})
MEANINGS = {
    "teds_normalised": "TEDS after both tables were brought to one form (wrapping, header and inline tags, blanks)",
    "teds_struct_normalised": "TEDS of cells and spans alone, without head, texts and inline tags",
    "teds": "the official PubTabNet TEDS, its oddities included; HTML without <html><body> scores 0",
    "teds_struct": "the official TEDS-Struct, its oddities included",
    "grits_top": "GriTS of rows, columns and spans",
    "grits_con": "GriTS of texts",
    "cell_precision": "share of the predicted cells that are right in place, spans and text",
    "cell_recall": "share of the true cells that are right in place, spans and text",
    "cell_f1": "harmonic mean of cell_precision and cell_recall",
    "cer": "edit distance over the length of the truth; 0 is best, it may exceed 1",
    "edit_distance": "edit distance over the longer length; 0 is best",
    "exact_match": "the answer is a right one, but for blanks",
    "anls": "ANLS against the closest of the right answers, 0 below one half",
}


def make_examples(
    cases: Sequence[Case],
    predictions: Sequence[Prediction],
    metrics: Sequence[str] | None = None,
    workers: int = 1,
    progress: bool = False,
) -> list[Example]:
    """Score each prediction against its case. What is wrong with one becomes its `error` and the worst score.

    metrics: names of ALL_METRICS; None: all. Each example gets those of its task. Raises ValueError for an unknown
    name, or if none of them is of any task at hand.
    """
    unknown = sorted(set(metrics or ()) - set(ALL_METRICS))
    if unknown:
        raise ValueError(f"unknown metrics {', '.join(unknown)}; give some of {', '.join(ALL_METRICS)}")
    examples = [_example(case, prediction) for case, prediction in zip(cases, predictions, strict=True)]
    groups: dict[tuple[str, ...], list[int]] = {}
    for number, case in enumerate(cases):
        names = metrics_of(case, metrics)
        if names:
            groups.setdefault(names, []).append(number)
    if cases and not groups:
        tasks = ", ".join(sorted({case.task for case in cases}))
        raise ValueError(f"none of the metrics {', '.join(metrics or ())} is one of the task {tasks}")
    for names, numbers in groups.items():
        if cases[numbers[0]].task == "question":
            for number in numbers:
                examples[number].scores = _of_answers(examples[number], cases[number].truths, names)
            continue
        pairs = [_pair(examples[number]) for number in numbers]
        for number, scored in zip(numbers, score_pairs(pairs, names, workers, progress), strict=True):
            example = examples[number]
            example.scores = {name: scored.scores.get(name, worst(name)) for name in names}
            if scored.error and not example.error:
                example.error = f"not scored: {scored.error}"
    for example in examples:
        if example.finish_reason == "error":  # an empty truth must not be right by chance
            example.scores = {name: worst(name) for name in example.scores}
    return examples


def metrics_of(case: Case, metrics: Sequence[str] | None = None) -> tuple[str, ...]:
    """The metrics, of those asked for, that a case is scored by, in the order of their importance."""
    names = STRUCTURE_METRICS if case.structure_only else OF_TASK[case.task]
    return tuple(name for name in names if metrics is None or name in metrics)


def worst(name: str) -> float:
    """The score of no answer at all."""
    return 1.0 if name in LOWER_IS_BETTER else 0.0


def summarise(examples: Sequence[Example]) -> dict[str, Any]:
    """What scores.json says of examples: "metrics", "rates", "buckets" and, for several tasks, each of "tasks".

    A metric has its "mean" over the "n" examples that it applies to and the 95% bootstrap interval from "low" to
    "high". A bucket has its "n", the means under the names of the metrics, and their "intervals".
    """
    summary: dict[str, Any] = {"n": len(examples), "metrics": _means(examples), "rates": _rates(examples)}
    tables = [example for example in examples if example.buckets]
    summary["buckets"] = {
        kind: {
            value: _bucket([example for example in tables if example.buckets[kind] == value])
            for value in BUCKETS[kind]
            if any(example.buckets[kind] == value for example in tables)
        }
        for kind in (BUCKETS if tables else ())
    }
    tasks = dict.fromkeys(example.task for example in examples)
    if len(tasks) > 1:
        parts = {task: [example for example in examples if example.task == task] for task in tasks}
        summary["tasks"] = {
            task: {"n": len(part), "metrics": _means(part), "rates": _rates(part)}
            for task, part in parts.items()
        }
    return summary


def median_seconds(predictions: Iterable[Prediction]) -> float | None:
    """The median time of an image; None where no time is known."""
    known = [prediction.seconds for prediction in predictions if prediction.seconds is not None]
    return round(statistics.median(known), 4) if known else None


def _example(case: Case, prediction: Prediction) -> Example:
    is_table = case.task == "table"
    return Example(
        id=case.id,
        image=case.open if case.image is not None else None,
        truth_html=case.truth_html,
        prediction_html=prediction.html if is_table else "",
        finish_reason=prediction.finish_reason,
        error=prediction.error,
        buckets=table_buckets(case.truth_html) if is_table else {},
        task=case.task,
        question=case.question,
        truth_text="" if is_table else "\n".join(case.truths),
        prediction_text=prediction.text if is_table else compared_text(prediction),
    )


def _pair(example: Example) -> tuple[str, str]:
    if example.task == "table":
        return example.prediction_html, example.truth_html
    return example.prediction_text, example.truth_text


def _of_answers(example: Example, truths: tuple[str, ...], names: tuple[str, ...]) -> dict[str, float]:
    """The scores of an answer against several right ones."""
    given = example.prediction_text
    known = {
        "anls": lambda: anls(given, truths),
        "exact_match": lambda: max(exact_match(given, truth) for truth in truths),
    }
    return {name: known[name]() for name in names}


def _values(examples: Sequence[Example]) -> dict[str, list[float]]:
    """The scores of examples by metric, in the order of METRICS' importance."""
    present = {name for example in examples for name in example.scores}
    names = [name for name in ALL_METRICS if name in present]
    return {name: [example.scores[name] for example in examples if name in example.scores] for name in names}


def _means(examples: Sequence[Example]) -> dict[str, dict[str, float]]:
    means = {}
    for name, values in _values(examples).items():
        low, high = bootstrap_interval(values)
        means[name] = {
            "mean": round(statistics.fmean(values), 6),
            "low": round(low, 6),
            "high": round(high, 6),
            "n": len(values),
        }
    return means


def _bucket(examples: Sequence[Example]) -> dict[str, Any]:
    means = _means(examples)
    return {
        "n": len(examples),
        **{name: values["mean"] for name, values in means.items()},
        "intervals": {name: [values["low"], values["high"]] for name, values in means.items()},
    }


def _may_be_stuck(example: Example) -> str:
    """The text in which to look for a loop: none where the model itself came to an end."""
    ended = example.finish_reason in ("stop", "error")
    return "" if ended else example.prediction_text or example.prediction_html


def _rates(examples: Sequence[Example]) -> dict[str, float]:
    """Shares of all examples; "valid" is of tables alone."""
    reasons = [example.finish_reason for example in examples]
    outputs = [_pair(example)[0] for example in examples]
    texts = [_may_be_stuck(example) for example in examples]
    found = rates(outputs, reasons, texts)._asdict()
    if any(example.task != "table" for example in examples):
        del found["valid"]
        found["empty"] = sum(not output.strip() for output in outputs) / len(outputs)
    found["errors"] = sum(example.error is not None for example in examples) / len(examples)
    return {name: round(rate, 6) for name, rate in found.items()}
