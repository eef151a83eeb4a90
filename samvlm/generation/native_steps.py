"""Greedy decoding of a small model on a CPU, a step of a few operators: what `generate` does there instead of its loop.

`generate` prepares everything, calls this in place of its own loop (`custom_generate`) and gives the same tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import Cache, LogitsProcessorList, PreTrainedModel, StoppingCriteriaList
from transformers.generation import GenerationConfig
from transformers.generation.logits_process import SuppressTokensLogitsProcessor
from transformers.generation.streamers import BaseStreamer

from ..model.modeling_samvlm import SamVlmForConditionalGeneration
from ..model.native_decoder import NativeDecoder, takes


class NativeSteps:
    """The loop of one generation, which may go on in several calls of `generate` with one growing cache.

    Args:
        model: one for which `usable` is true.
        streamer: for a batch of one.
    """

    def __init__(self, model: SamVlmForConditionalGeneration, streamer: BaseStreamer | None = None):
        self.decoder = NativeDecoder(model.model.language_model, model.lm_head)
        self.streamer = streamer

    def __call__(
        self,
        model: PreTrainedModel,
        input_ids: torch.Tensor,
        logits_processor: LogitsProcessorList,
        stopping_criteria: StoppingCriteriaList,
        generation_config: GenerationConfig,
        **inputs: Any,
    ) -> torch.Tensor:
        """Return the ids (B, T) with what follows them; the arguments are those that `generate` has prepared."""
        rows, width = input_ids.shape
        cache, attention_mask = inputs["past_key_values"], inputs.get("attention_mask")
        first = torch.zeros(rows, dtype=torch.long)  # the place of each row that is no padding
        if attention_mask is not None:
            first = attention_mask.argmax(1)
        if cache.get_seq_length():  # it goes on
            scores = self._step(input_ids[:, -1], width - 1, first, cache)
        else:
            scores = model(input_ids=input_ids, **inputs, return_dict=True).logits[:, -1]
        padding = generation_config._pad_token_tensor
        # transformers' own way to suppress tokens looks each token of the vocabulary up in their list, at each step.
        processors = [made for made in logits_processor if type(made) is not SuppressTokensLogitsProcessor]
        suppressed = torch.tensor(generation_config.suppress_tokens or [], dtype=torch.long)
        running = torch.ones(rows, dtype=torch.bool)
        room = input_ids.new_empty(rows, generation_config.max_length)
        room[:, :width] = input_ids
        while True:
            so_far = room[:, :width]
            scores = scores.index_fill(1, suppressed, -torch.inf)
            for processor in processors:
                scores = processor(so_far, scores)
            tokens = scores.argmax(-1)
            if rows > 1 and padding is not None:
                tokens = torch.where(running, tokens, padding)
            room[:, width] = tokens
            width += 1
            so_far = room[:, :width]
            if self.streamer is not None:
                self.streamer.put(tokens)
            running &= ~stopping_criteria(so_far, None)
            if not running.any():
                break
            scores = self._step(tokens, width - 1, first, cache)
        if self.streamer is not None:
            self.streamer.end()
        return so_far

    def _step(self, tokens: torch.Tensor, place: int, first: torch.Tensor, cache: Cache) -> torch.Tensor:
        return self.decoder.step(tokens, place - first, first, cache)


def usable(model: PreTrainedModel) -> bool:
    """Whether the kernel does what this model's decoder does, and `generate` is asked for nothing else."""
    return isinstance(model, SamVlmForConditionalGeneration) and takes(
        model.model.language_model, model.lm_head
    )
