"""Scoring, tried before the first step: the held-out examples named, none of them trained on, one of them read."""

import math
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from training.held_out import overlap
from training.scoring import is_about_memory

TOKENS = 64  # of the answer
TRIES = 10  # examples whose image may be broken


def rehearse(trainer: Any, say: Callable[..., None], warn: Callable[..., None]) -> None:
    """Look the scoring of a trainer over, if it has one. Raises ValueError for what would spoil or end it later.

    Args:
        say, warn: take a text and its values.
    """
    scoring = trainer.scoring
    if scoring is None:
        return
    recipe, benchmark = scoring.recipe, scoring.benchmark
    say(
        "held out: %s, scored every %d steps and behind the last; the best by %s%s",
        scoring.told, recipe.every, recipe.metric, " is kept" if recipe.keep_best else "",
    )  # fmt: skip
    if benchmark.left_out:
        first = benchmark.left_out[0]
        told = (len(benchmark.left_out), first.where, first.reason)
        warn("%d entries of scoring.data cannot be scored, the first: %s: %s", *told)
    check_overlap(trainer, warn)
    broken = 0
    for case in sorted(benchmark.cases, key=lambda case: -case.pixels())[:TRIES]:
        try:
            case.open()
        except Exception as error:  # the run scores it as not read, each time
            broken += 1
            warn("held-out example %s cannot be read: %s", case.id, error)
            continue
        start = time.monotonic()
        (prediction,) = scoring.predict(trainer, [case], min(TOKENS, recipe.max_new_tokens))
        scoring.compare([case], [prediction])
        seconds = time.monotonic() - start
        if prediction.error is not None:
            remedy = (
                "lower scoring.max_new_tokens or data.max_pixels"
                if is_about_memory(prediction.error)
                else ("choose other examples in scoring.data")
            )
            raise ValueError(
                f"pre-flight: the model cannot read held-out example {case.id}: {prediction.error}; {remedy}."
            )
        count = math.ceil(len(benchmark.cases) / scoring.world)
        longest = seconds * count * recipe.max_new_tokens / max(1, prediction.tokens or 1)
        say(
            "held-out example %s: %d tokens in %.2f s; a scoring takes %s at the most",
            case.id, prediction.tokens or 0, seconds, timedelta(seconds=math.ceil(longest)),
        )  # fmt: skip
        return
    raise ValueError(
        f"scoring.data={recipe.data}: the images of the first {broken} examples cannot be read: mend them."
    )


def check_overlap(trainer: Any, warn: Callable[..., None]) -> None:
    """Raise ValueError where held-out images are trained on too, unless there is force."""
    scoring = trainer.scoring
    found, unknown = overlap(scoring.benchmark, trainer.mixture)
    if unknown:
        warn("whether held-out images are among those of %s is not known", ", ".join(unknown))
    if not found:
        return
    told = (
        f"{len(found)} of the {len(scoring.benchmark.cases)} held-out images are in data.sources too, the first is "
        f"that of {found[0]}: their scores would tell what was learnt by heart"
    )
    if not trainer.recipe.trainer.force:
        raise ValueError(
            f"scoring.data={scoring.recipe.data}: {told}. Part the records with samvlm data split, or go on all the "
            "same with --force (trainer.force=true)."
        )
    warn("--force: %s", told)
