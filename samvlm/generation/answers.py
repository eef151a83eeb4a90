"""From chats about images to answers, in one batch; a single chat is a batch of one."""

from __future__ import annotations

import contextlib
import inspect
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from transformers import PreTrainedModel, ProcessorMixin

from ..data.otsl import NL, ORIGIN_TOKENS
from ..data.otsl import TOKENS as OTSL_TOKENS
from ..data.tables import Table
from ..data.tasks import messages as task_messages
from ..grammar import OTSLGrammar, close_otsl
from .batch import generate_rows
from .decoding import AnswerDecoder, PieceStreamer
from .prompts import encode_chats
from .results import FinishReason
from .timing import Stopwatch, Timing

MAX_NEW_TOKENS = 2048


@dataclass
class Answer:
    """What the model generated: ids without the prompt, their text, and how sure it was of each (0 to 1)."""

    ids: list[int]
    text: str
    finish_reason: FinishReason
    probabilities: list[float]
    timing: Timing | None = None  # where it was asked for


class AnswerGenerator:
    """Generates (greedily) the next turns of chats about images.

    Args:
        model: of any kind that `AutoModelForImageTextToText` loads.
        processor: its own.
    """

    def __init__(self, model: PreTrainedModel, processor: ProcessorMixin):
        self.model, self.processor = model, processor
        self.decoder = AnswerDecoder(processor.tokenizer)
        self.timing = False  # whether answers come with their `timing`
        self.writes_otsl = len(self.decoder.otsl_ids) == len(OTSL_TOKENS)  # else tables come as LaTeX, HTML …

    def answer(
        self,
        chats: Sequence[list[dict[str, Any]]],
        images: Sequence[Image.Image],
        max_new_tokens: int | None = None,
        grammar: bool = False,
        stream: Callable[[str], None] | None = None,
        features: Any = None,
        cancelled: threading.Event | None = None,
    ) -> list[Answer]:
        """Answer chats, each about its own image.

        Each row of the batch ends for itself; all share the limit that the context leaves to the longest prompt.

        Args:
            stream: called with every new piece of text; for one chat only.
            features: what `encode` gave for the image of one chat, so that it is not encoded again.
            cancelled: generation ends soon after it is set.

        Raises:
            ValueError: a chat does not fit into the model's context.
        """
        watch = Stopwatch(self.model, len(images)) if self.timing else None
        inputs = self._inputs(chats, images)
        if features is not None:
            for name in self._image_inputs(inputs):
                inputs.pop(name)
            inputs["mm_encoder_outputs"] = {"image": features}
        prompt = inputs["input_ids"].shape[1]
        budget = self.budget(prompt, max_new_tokens)
        ends = self.end_tokens()
        rules = None
        if grammar:
            rules = OTSLGrammar.from_tokenizer(self.processor.tokenizer, prompt, ends or None, budget)
        streamer = PieceStreamer(self.decoder, stream) if stream else None
        prompts = inputs["input_ids"].tolist()
        with watch or contextlib.nullcontext():
            rows = generate_rows(self.model, inputs, budget, ends, rules, cancelled, streamer, watch)
        timing = watch.timing if watch else None
        if timing:
            timing.tokens = sum(len(row.ids) for row in rows)
        answers = []
        for ids, row in zip(prompts, rows, strict=True):
            reason: FinishReason = "length"
            if row.looped:
                reason = "repetition"
            elif row.ended and not (rules and rules.truncated(ids + row.ids)):
                reason = "stop"
            text = self.decoder.decode(row.ids, escape=grammar)
            answers.append(Answer(row.ids, text, reason, row.probabilities, timing))
        return answers

    def encode(self, image: Image.Image) -> Any:
        """Encode an image once for several calls of `answer`; None if the model takes only pixels."""
        if "mm_encoder_outputs" not in inspect.signature(self.model.forward).parameters:
            return None
        inputs = self._inputs([task_messages("question", question="?")], [image])
        image_inputs = {name: inputs[name] for name in self._image_inputs(inputs)}
        with torch.no_grad():
            return self.model.base_model.get_image_features(**image_inputs, return_dict=True)

    def budget(self, prompt: int, max_new_tokens: int | None = None) -> int:
        """How many tokens may be generated behind a prompt of so many. Raises ValueError if none."""
        if max_new_tokens is not None and max_new_tokens < 1:
            raise ValueError(f"max_new_tokens must be at least 1, got {max_new_tokens}")
        wanted = max_new_tokens or self.model.generation_config.max_new_tokens or MAX_NEW_TOKENS
        text_config = self.model.config.get_text_config()
        context = getattr(text_config, "max_position_embeddings", None)
        if context is not None and prompt >= context:
            raise ValueError(
                f"the prompt has {prompt} tokens, the model's context holds {context}; "
                "shorten the question or start a new chat"
            )
        return wanted if context is None else min(wanted, context - prompt)

    def end_tokens(self) -> list[int]:
        """The tokens that end an answer: the checkpoint's, else the tokenizer's."""
        ends = self.model.generation_config.eos_token_id
        if ends is None:
            ends = self.processor.tokenizer.eos_token_id
        return list(ends) if isinstance(ends, list | tuple) else [] if ends is None else [ends]

    def _inputs(self, chats: Sequence[list[dict[str, Any]]], images: Sequence[Image.Image]) -> dict[str, Any]:
        inputs = encode_chats(self.processor, chats, images)
        return dict(inputs.to(self.model.device, dtype=self.model.dtype))

    def _image_inputs(self, inputs: dict[str, Any]) -> list[str]:
        taken = inspect.signature(self.model.base_model.get_image_features).parameters
        return [name for name in inputs if name in taken]


def read_table(answer: Answer, decoder: AnswerDecoder) -> list[Table]:
    """The table of an answer, closed where it was cut off, each cell with the confidence of its worst token."""
    text, _ = close_otsl(answer.text)
    try:
        table = Table.from_otsl(text)
    except ValueError:  # without the grammar, an answer may hold no table
        return []
    worst: dict[tuple[int, int], float] = {}
    row, col, here = 0, 0, None
    for token, probability in zip(answer.ids, answer.probabilities, strict=True):
        name = decoder.otsl_ids.get(token)
        if name == NL:
            row, col, here = row + 1, 0, None
            continue
        if name is not None:
            here = (row, col) if name in ORIGIN_TOKENS else None
            col += 1
        if here is not None and token not in decoder.dropped:
            worst[here] = min(worst.get(here, 1.0), probability)
    for cell in table.cells:
        value = worst.get((cell.row, cell.col))
        cell.confidence = round(value, 4) if value is not None else None
    return [table]
