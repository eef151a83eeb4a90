"""The grammar of OTSL while generating: a logits processor under which every output is a valid table.

    grammar = OTSLGrammar.from_tokenizer(tokenizer, prompt_length=inputs["input_ids"].shape[1],
                                         eos_token_id=tokenizer.eos_token_id, max_new_tokens=1024)
    ids = model.generate(**inputs, max_new_tokens=1024, logits_processor=[grammar])
    grammar.truncated(ids[0])  # whether a limit ended the table rather than the model

The rules stand in data/otsl_grammar.py; they look back only, so masking one token at a time is enough.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from weakref import WeakKeyDictionary

import numpy as np
import torch
from transformers import LogitsProcessor, PreTrainedTokenizerBase

from .data.otsl import TOKENS
from .data.otsl_grammar import END, TEXT, GrammarLimits, GrammarState, close_otsl

__all__ = ["GrammarLimits", "OTSLGrammar", "OTSLVocabulary", "close_otsl"]

_LITERAL = re.compile("|".join(map(re.escape, TOKENS)))
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class OTSLVocabulary:
    """What each token id of a tokenizer means to the grammar.

    `names[id]` is an OTSL token, TEXT, or None for what is never allowed (special tokens and texts that contain an
    OTSL token); `texts[id]` are the characters of a text.
    """

    def __init__(self, names: list[str | None], texts: list[str]) -> None:
        missing = [token for token in TOKENS if token not in names]
        if missing:
            raise ValueError(
                f"the tokenizer lacks {', '.join(missing)}; add them with tokenizer.add_tokens(...) and resize the "
                "model's embeddings, or use a checkpoint that has them"
            )
        self.names = names
        self.texts = texts
        self.ids = {token: names.index(token) for token in TOKENS}
        self.text_ids = torch.tensor(
            [number for number, name in enumerate(names) if name == TEXT], dtype=torch.long
        )
        self._closing_ids = [number for number in self.text_ids.tolist() if ">" in texts[number]]

    @classmethod
    def from_tokenizer(cls, tokenizer: PreTrainedTokenizerBase) -> OTSLVocabulary:
        """Read a tokenizer's vocabulary. Raises ValueError if an OTSL token is not one id."""
        special = set(tokenizer.all_special_ids)
        special |= {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
        names: list[str | None] = []
        texts = []
        for number, piece in enumerate(tokenizer.convert_ids_to_tokens(range(len(tokenizer)))):
            # only "<", ">" and letters matter for literal tokens; no scheme of bytes or blanks touches those
            text = _BYTE.sub(lambda match: chr(int(match[1], 16)), piece or "")
            if piece in TOKENS:
                names.append(piece)
            else:
                names.append(None if not piece or number in special or _LITERAL.search(text) else TEXT)
            texts.append(text)
        return cls(names, texts)

    def completing(self, tail: str) -> list[int]:
        """Text ids that would complete a literal OTSL token after the text `tail`."""
        return (
            [number for number in self._closing_ids if _LITERAL.search(tail + self.texts[number])]
            if tail
            else []
        )


_VOCABULARIES: WeakKeyDictionary[PreTrainedTokenizerBase, tuple[int, OTSLVocabulary]] = WeakKeyDictionary()


class OTSLGrammar(LogitsProcessor):
    """Masks the logits of each sequence to what OTSL and the limits allow after its tokens so far.

    Works for batches (left-padded), sampling and beams. Serves one call of `generate`; `prompt_length` is the width
    of its `input_ids`, 0 if it is given `inputs_embeds` alone.
    """

    def __init__(
        self,
        vocabulary: OTSLVocabulary,
        prompt_length: int,
        eos_token_id: int | Iterable[int],
        limits: GrammarLimits,
    ) -> None:
        self.vocabulary = vocabulary
        self.prompt_length = prompt_length
        self.eos_ids = [eos_token_id] if isinstance(eos_token_id, int) else list(eos_token_id)
        if not self.eos_ids:
            raise ValueError("the grammar needs an end token; give eos_token_id")
        self.limits = limits
        # The rows of the last step: the ids generated so far, and where the table stands behind them.
        self._rows: list[tuple[bytes, GrammarState]] | None = None
        self._masks: dict[tuple[frozenset[str], str], torch.Tensor] = {}

    @classmethod
    def from_tokenizer(
        cls,
        tokenizer: PreTrainedTokenizerBase,
        prompt_length: int,
        eos_token_id: int | Iterable[int] | None = None,
        max_new_tokens: int | None = None,
        **limits: float,
    ) -> OTSLGrammar:
        """Make a grammar for one call of `generate`.

        tokenizer: has each OTSL token as one id. eos_token_id: the tokenizer's by default.
        limits: the others of `GrammarLimits`.
        """
        size, vocabulary = _VOCABULARIES.get(tokenizer, (-1, None))
        if vocabulary is None or size != len(tokenizer):
            vocabulary = OTSLVocabulary.from_tokenizer(tokenizer)
            _VOCABULARIES[tokenizer] = len(tokenizer), vocabulary
        eos = tokenizer.eos_token_id if eos_token_id is None else eos_token_id
        if eos is None:
            raise ValueError("the tokenizer has no end token; give eos_token_id")
        return cls(vocabulary, prompt_length, eos, GrammarLimits(max_new_tokens=max_new_tokens, **limits))

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Mask scores (rows, vocabulary) by the tokens after the prompt in input_ids (rows, length)."""
        if self._rows is None:
            if input_ids.shape[1] != self.prompt_length:
                raise ValueError(
                    f"prompt_length={self.prompt_length}, but generation starts after {input_ids.shape[1]} tokens; "
                    "give the width of the input_ids, and make a new grammar for each call of generate"
                )
            self._rows = [(b"", GrammarState())]
        generated = input_ids[:, self.prompt_length :].cpu().numpy()
        self._rows = [self._follow(place, ids) for place, ids in enumerate(generated)]
        masks = [self._mask(state, scores) for _, state in self._rows]
        banned = masks[0][None] if len(masks) == 1 else torch.stack(masks)
        masked = scores.masked_fill(banned, -torch.inf)
        if all(map(math.isfinite, masked.amax(dim=-1).tolist())):
            return masked
        # NaN or infinite logits, or other processors banned all that the grammar allows
        masked = masked.nan_to_num(nan=-torch.inf, posinf=torch.finfo(scores.dtype).max, neginf=-torch.inf)
        hopeless = masked.isneginf().all(dim=-1, keepdim=True)
        return masked.masked_fill(hopeless & ~banned, 0.0)

    def _follow(self, place: int, ids: np.ndarray) -> tuple[bytes, GrammarState]:
        """The ids of a row, and the state behind them, from the row of the last step that they continue: mostly the one
        at the same place, but beams change theirs."""
        key = ids.tobytes()
        before = key[: -ids.itemsize]
        for known, state in self._rows[place : place + 1] + self._rows:
            if known == before and key:
                return key, self._advance(state, int(ids[-1]))
            if known == key:
                return key, state
        return key, self._replay(ids.tolist())

    def truncated(self, ids: torch.Tensor | Iterable[int]) -> bool:
        """Whether a limit, not the model, ended the table or one of its cells. `ids`: one sequence, prompt included."""
        numbers = ids.tolist() if isinstance(ids, torch.Tensor) else list(ids)
        state = self._replay(numbers[self.prompt_length :])
        return state.limited or state.last != END

    def _replay(self, ids: list[int]) -> GrammarState:
        state = GrammarState()
        for number in ids:
            state = self._advance(state, number)
        return state

    def _advance(self, state: GrammarState, number: int) -> GrammarState:
        if state.last == END:
            return state  # padding after the end
        known = number < len(self.vocabulary.names)
        name = END if number in self.eos_ids else self.vocabulary.names[number] if known else None
        allowed, limited = state.allowed(self.limits)
        if name not in allowed:  # a beam that died: its score is -inf, but beam search may carry it on
            return state.after(END, limited=True)
        return state.after(name, self.vocabulary.texts[number] if name == TEXT else "", limited)

    def _mask(self, state: GrammarState, scores: torch.Tensor) -> torch.Tensor:
        """Return the banned ids, bool (vocabulary,), for what may follow `state`."""
        allowed, _ = state.allowed(self.limits)
        tail = state.tail[state.tail.rfind("<") :] if TEXT in allowed and "<" in state.tail else ""
        if tail and not any(token.startswith(tail) for token in TOKENS):
            tail = ""
        key = (allowed, tail)
        if key not in self._masks:
            banned = torch.ones(scores.shape[-1], dtype=torch.bool)
            banned[[self.vocabulary.ids[token] for token in allowed if token not in (TEXT, END)]] = False
            if TEXT in allowed:
                banned[self.vocabulary.text_ids] = False
                banned[self.vocabulary.completing(tail)] = True
            banned[self.eos_ids] = END not in allowed
            self._masks[key] = banned.to(scores.device)
        return self._masks[key]
