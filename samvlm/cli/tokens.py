"""Counting the tokens of texts as a checkpoint does, without loading its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from transformers import AutoConfig, AutoTokenizer
from transformers.utils import logging

from ..adapters import SHIPPED, folder_of


@dataclass
class TokenCounter:
    """Counts tokens; it can be sent to other processes. `context` is the model's, None where it does not say."""

    tokenizer: Any
    context: int | None

    def __call__(self, text: str) -> int:
        """The number of tokens of a text, none added around it."""
        return len(self.tokenizer(text, add_special_tokens=False)["input_ids"])


def load_counter(name: str | None = None) -> TokenCounter:
    """Load the tokenizer of a checkpoint folder or hub name; None: of the checkpoint that ships.

    Raises ValueError if there is none that can be loaded.
    """
    logging.set_verbosity_error()
    source = folder_of(name) if name else SHIPPED
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
    except Exception as problem:  # what the many loaders raise on bad files has no common type
        reason = (
            str(problem).strip().splitlines()[0][:200] if str(problem).strip() else type(problem).__name__
        )
        raise ValueError(f"{source}: no tokenizer that can be loaded ({reason})") from problem
    tokenizer.model_max_length = int(1e30)  # its warnings about long texts are our findings
    try:
        config = AutoConfig.from_pretrained(source).get_text_config()
    except Exception:  # a tokenizer alone: its model's context is not known
        config = None
    return TokenCounter(tokenizer, getattr(config, "max_position_embeddings", None))
