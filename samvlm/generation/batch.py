"""Greedy generation of a batch whose rows end one after the other: those that have ended are left behind."""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import LogitsProcessorList, PreTrainedModel, StoppingCriteria, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

from ..grammar import OTSLGrammar
from ..model.modeling_samvlm import SamVlmForConditionalGeneration
from .cache import growing_cache
from .decoding import CancelStop, RepetitionStop, TokenProbabilities
from .native_steps import NativeSteps, usable
from .timing import Stopwatch


@dataclass
class Row:
    """What was generated for one prompt: ids with the end token, how probable each was, and how it ended."""

    ids: list[int] = field(default_factory=list)
    probabilities: list[float] = field(default_factory=list)
    ended: bool = False  # by an end token
    looped: bool = False  # went in circles; cut behind the first turn


@torch.inference_mode()  # less work a step than under the no_grad of `generate`
def generate_rows(
    model: PreTrainedModel,
    inputs: dict[str, Any],
    budget: int,
    ends: Collection[int] = (),
    rules: OTSLGrammar | None = None,
    cancelled: threading.Event | None = None,
    streamer: BaseStreamer | None = None,
    watch: Stopwatch | None = None,
) -> list[Row]:
    """Generate for a batch of prompts until each row ends.

    A step costs nearly as much for a row that has ended, and answers are of very different lengths. So whenever half
    of the rows have ended, `generate` is called again for the others, with their part of the cache.

    Args:
        inputs: of `generate`: `input_ids` and `attention_mask` (B, T), padded on the left, and the image inputs.
        budget: tokens for each row.
        ends: the end tokens.
        rules: a grammar for prompts of this width.
        cancelled: generation ends soon after it is set.
        streamer: for a batch of one.
        watch: is told of the first scores and of what the rules take.
    """
    prompt = inputs["input_ids"].shape[1]
    rows = [Row() for _ in inputs["input_ids"]]
    running = rows
    masks = watch.processor(rules) if watch else rules
    cache = None
    if model.generation_config.cache_implementation is None:  # else the checkpoint asks for a kind of its own
        cache = growing_cache(model.config.get_text_config())
    steps = NativeSteps(model, streamer) if cache is not None and usable(model) else None
    # Other models may keep more of a batch than the cache, such as the positions of Qwen-VL.
    shrinks = cache is not None and isinstance(model, SamVlmForConditionalGeneration)
    while True:
        start = inputs["input_ids"].shape[1]
        probabilities, repetition = TokenProbabilities(), RepetitionStop(prompt, ends)
        half = HalfEnded(repetition) if shrinks and len(running) > 1 else None
        stops = [repetition, half, CancelStop(cancelled) if cancelled is not None else None]
        output = model.generate(
            **inputs,
            **({"past_key_values": cache} if cache is not None else {}),
            **({"custom_generate": steps} if steps is not None else {}),
            do_sample=False,
            num_beams=1,
            use_cache=True,
            eos_token_id=list(ends) or None,
            max_new_tokens=prompt + budget - start,
            logits_processor=LogitsProcessorList([probabilities, *([masks] if masks else [])]),
            stopping_criteria=StoppingCriteriaList([stop for stop in stops if stop is not None]),
            streamer=streamer,
        )
        certainty = probabilities.of(output[:, start:]).tolist()
        left = []
        for place, (row, ids) in enumerate(zip(running, output[:, start:].tolist(), strict=True)):
            end = next((index for index, token in enumerate(ids, 1) if token in ends), None)
            row.ids += ids[:end]  # padding follows
            row.ended, row.looped = end is not None, place in repetition.found
            if row.looped:
                row.ids = repetition.without_loop(place, row.ids)
            row.probabilities = (row.probabilities + certainty[place])[: len(row.ids)]
            if not (row.ended or row.looped):
                left.append(place)
        if half is None or not half.reached or not left or output.shape[1] == prompt + budget:
            return rows
        running = [running[place] for place in left]
        cache.batch_select_indices(torch.tensor(left, device=output.device))
        mask = inputs["attention_mask"][left]
        inputs = {
            "input_ids": output[left],
            "attention_mask": torch.cat([mask, mask.new_ones(len(left), output.shape[1] - start)], dim=1),
        }


class HalfEnded(StoppingCriteria):
    """Stops a batch once half of its rows have ended; `reached` says so."""

    def __init__(self, repetition: RepetitionStop):
        self.repetition = repetition  # called before
        self.ended: torch.Tensor | None = None  # (B,) bool
        self.reached = False

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        ends = torch.tensor(sorted(self.repetition.ends), device=input_ids.device)
        ended = torch.isin(input_ids[:, -1], ends)
        self.ended = ended if self.ended is None else self.ended | ended
        self.reached = 2 * (int(self.ended.sum()) + len(self.repetition.found)) >= len(input_ids)
        return torch.full((len(input_ids),), self.reached, device=input_ids.device)
