"""From a chat and its image to model inputs.

What a user types is text and nothing else: a typed `<image>` or `<|im_end|>` reaches the model as its
characters, never as the special token of that spelling.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from transformers import BatchFeature, PreTrainedTokenizerBase, ProcessorMixin

from ..data.otsl import TOKENS as OTSL_TOKENS


def encode_chat(
    processor: ProcessorMixin, messages: list[dict[str, Any]], image: Image.Image
) -> BatchFeature:
    """Return the inputs of `generate` for a chat about one image.

    Args:
        processor: its chat template writes one image placeholder, in the first turn.
        messages: turns as `samvlm.data.tasks.messages` writes them; texts are taken literally.
        image: RGB.

    Returns:
        `input_ids` and `attention_mask` (1, T), and the processor's image inputs.
    """
    tokenizer = processor.tokenizer
    reserved = reserved_tokens(tokenizer)
    spoken = [token for token in reserved if token not in OTSL_TOKENS]  # answers are full of OTSL
    marker, literal = f"[{uuid.uuid4().hex}]", []

    def guard(text: str, role: str) -> str:
        if not _matcher(spoken if role == "assistant" else reserved).search(text):
            return text
        literal.append(literal_ids(tokenizer, text, spoken if role == "assistant" else reserved))
        return marker

    guarded = [
        {
            **turn,
            "content": [
                {**part, "text": guard(part["text"], turn["role"])} if part["type"] == "text" else part
                for part in turn["content"]
            ],
        }
        for turn in messages
    ]
    prompt = processor.apply_chat_template(guarded, add_generation_prompt=True, tokenize=False)
    first, *rest = prompt.split(marker)
    adds_start = not (tokenizer.bos_token and prompt.startswith(tokenizer.bos_token))
    inputs = processor(images=[image], text=[first], add_special_tokens=adds_start, return_tensors="pt")
    if rest:
        ids = inputs["input_ids"][0].tolist()
        for typed, piece in zip(literal, rest, strict=True):
            ids += typed + tokenizer(piece, add_special_tokens=False)["input_ids"]
        inputs["input_ids"] = torch.tensor([ids])
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    for extra in ("token_type_ids", "mm_token_type_ids"):
        inputs.pop(extra, None)
    return inputs


def reserved_tokens(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Every spelling that the tokenizer reads as one added or special token, longest first."""
    added = {str(token) for token in tokenizer.added_tokens_decoder.values()} | set(
        tokenizer.all_special_tokens
    )
    return sorted((token for token in added if len(token) > 1), key=len, reverse=True)


def literal_ids(tokenizer: PreTrainedTokenizerBase, text: str, reserved: Sequence[str]) -> list[int]:
    """Tokenize a text so that no reserved spelling in it becomes its token: cut each behind its first character."""
    matcher, ids, last, found = _matcher(reserved), [], 0, None
    while found := matcher.search(text, last):
        cut = found.start() + 1
        ids += tokenizer(text[last:cut], add_special_tokens=False)["input_ids"]
        last = cut
    return ids + tokenizer(text[last:], add_special_tokens=False)["input_ids"]


def _matcher(tokens: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, tokens)) or r"(?!)")
