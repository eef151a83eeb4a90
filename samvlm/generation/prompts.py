"""From chats and their images to model inputs.

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
from torch.nn.utils.rnn import pad_sequence
from transformers import BatchFeature, PreTrainedTokenizerBase, ProcessorMixin

from ..data.otsl import TOKENS as OTSL_TOKENS


def encode_chats(
    processor: ProcessorMixin, chats: Sequence[list[dict[str, Any]]], images: Sequence[Image.Image]
) -> BatchFeature:
    """Return the inputs of `generate` for a batch of chats, each about one image.

    Args:
        processor: its chat template writes one image placeholder, in the first turn of a chat.
        chats: turns as `samvlm.data.tasks.messages` writes them; texts are taken literally.
        images: RGB, one a chat.

    Returns:
        `input_ids` and `attention_mask` (B, T), padded on the left, and the processor's image inputs.
    """
    tokenizer = processor.tokenizer
    starts, ends = zip(*(_prompt(processor, chat) for chat in chats), strict=True)
    adds_start = not (tokenizer.bos_token and starts[0].startswith(tokenizer.bos_token))
    inputs = processor(
        images=[[image] for image in images],
        text=list(starts),
        add_special_tokens=adds_start,
        padding=len(chats) > 1,  # some tokenizers have nothing to pad with
        padding_side="left",
        return_tensors="pt",
    )
    if any(ends):
        pairs = zip(inputs["input_ids"], inputs["attention_mask"].bool(), ends, strict=True)
        rows = [torch.cat([ids[real], torch.tensor(end, dtype=ids.dtype)]) for ids, real, end in pairs]
        inputs["input_ids"] = pad_left(rows, tokenizer.pad_token_id or 0)
        inputs["attention_mask"] = pad_left([torch.ones_like(row) for row in rows], 0)
    for extra in ("token_type_ids", "mm_token_type_ids"):
        inputs.pop(extra, None)
    return inputs


def pad_left(rows: Sequence[torch.Tensor], value: int) -> torch.Tensor:
    """Rows of any lengths as one tensor (B, T), their ends aligned."""
    return pad_sequence(list(rows), batch_first=True, padding_value=value, padding_side="left")


def _prompt(processor: ProcessorMixin, messages: list[dict[str, Any]]) -> tuple[str, list[int]]:
    """The text of a chat up to the first reserved spelling that was typed in it, and the ids of what follows."""
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
    start, *pieces = prompt.split(marker)
    end: list[int] = []
    for typed, piece in zip(literal, pieces, strict=True):
        end += typed + tokenizer(piece, add_special_tokens=False)["input_ids"]
    return start, end


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
