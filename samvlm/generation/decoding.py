"""What happens at each step of generation: text from ids, pieces for a stream, probabilities, early stops."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from transformers import LogitsProcessor, PreTrainedTokenizerBase, StoppingCriteria
from transformers.generation.streamers import BaseStreamer

from ..data.otsl import TOKENS as OTSL_TOKENS
from ..metrics.repetition import Repetition, find_repetition

CHECK_EVERY = 16  # tokens between two looks for a repetition


class AnswerDecoder:
    """Token ids of an answer to text: OTSL tokens are kept, other special ones dropped."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase):
        self.tokenizer = tokenizer
        vocabulary = tokenizer.get_vocab()
        self.otsl_ids = {vocabulary[token]: token for token in OTSL_TOKENS if token in vocabulary}
        special = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
        self.dropped = (special | set(tokenizer.all_special_ids)) - self.otsl_ids.keys()

    def decode(self, ids: Sequence[int], escape: bool = False) -> str:
        """Return the text of an answer, or of a part of it that starts and ends between characters.

        `escape` marks where ordinary characters only spell an OTSL token (see `samvlm.data.otsl`), so that the
        text reads back as the tokens that the model gave.
        """
        pieces: list[str] = []
        for is_otsl, run in itertools.groupby(ids, key=self.otsl_ids.__contains__):
            if is_otsl:
                pieces += [self.otsl_ids[token] for token in run]
            elif kept := [token for token in run if token not in self.dropped]:
                text = self.tokenizer.decode(
                    kept, skip_special_tokens=False, clean_up_tokenization_spaces=False
                )
                if escape and "<" in text:
                    for token in OTSL_TOKENS:
                        text = text.replace(token, f"<\\{token[1:]}")
                pieces.append(text)
        return "".join(pieces)


class TokenProbabilities(LogitsProcessor):
    """Notes how probable each chosen token was before any grammar; changes nothing."""

    def __init__(self):
        self.last: torch.Tensor | None = None  # (B, vocabulary), of the step that is not chosen yet
        self.noted: list[torch.Tensor] = []  # (B,) a step

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if self.last is not None:
            self._note(input_ids[:, -1])
        self.last = scores.float().softmax(-1)
        return scores

    def of(self, generated: torch.Tensor) -> torch.Tensor:
        """The probabilities (B, T) of the ids (B, T) that were generated, meaningless behind the end of a row."""
        if self.last is not None and len(self.noted) < generated.shape[1]:
            self._note(generated[:, -1])
        return torch.stack(self.noted[: generated.shape[1]], dim=1) if self.noted else generated.float()

    def _note(self, chosen: torch.Tensor) -> None:
        self.noted.append(self.last.gather(1, chosen[:, None])[:, 0])


class RepetitionStop(StoppingCriteria):
    """Stops each row of a batch whose answer goes in circles; `found[row]` says where.

    Args:
        prompt: width of the prompts, padding included.
        ends: the end tokens. What stands behind one is padding, not a loop.
    """

    def __init__(self, prompt: int, ends: Iterable[int]):
        self.prompt = prompt
        self.ends = frozenset(ends)
        self.found: dict[int, Repetition] = {}

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        if (input_ids.shape[1] - self.prompt) % CHECK_EVERY == 0:
            for row, ids in enumerate(input_ids[:, self.prompt :].tolist()):
                goes_on = row not in self.found and self.ends.isdisjoint(ids)
                if goes_on and (repetition := find_repetition(ids)):
                    self.found[row] = repetition
        return torch.tensor([row in self.found for row in range(len(input_ids))], device=input_ids.device)

    def without_loop(self, row: int, ids: list[int]) -> list[int]:
        """The ids generated for a row up to where its loop starts, and the unit that it repeats once."""
        if row not in self.found:
            return ids
        start, length, _ = self.found[row]
        while start > 0 and ids[start - 1] == ids[start - 1 + length]:  # it may start within a unit
            start -= 1
        return ids[: start + length]


class CancelStop(StoppingCriteria):
    """Stops once the event is set."""

    def __init__(self, event: threading.Event):
        self.event = event

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        return torch.full((input_ids.shape[0],), self.event.is_set(), device=input_ids.device)


class PieceStreamer(BaseStreamer):
    """Hands on the text of new tokens as soon as it is whole characters."""

    def __init__(self, decoder: AnswerDecoder, receive: Callable[[str], None]):
        self.decoder, self.receive = decoder, receive
        self.ids: list[int] = []
        self.prompt_seen = False
        self.start = self.read = 0  # ids before `read` were handed on; `start` leaves them some context

    def put(self, value: torch.Tensor) -> None:
        """Take the prompt (first) or a new token."""
        if not self.prompt_seen:
            self.prompt_seen = True
            return
        self.ids += value.flatten().tolist()
        self._hand_on(final=False)

    def end(self) -> None:
        """Hand on what is left."""
        self._hand_on(final=True)

    def _hand_on(self, final: bool) -> None:
        before = self.decoder.decode(self.ids[self.start : self.read])
        text = self.decoder.decode(self.ids[self.start :])
        if len(text) > len(before) and (final or not text.endswith("\ufffd")):  # half of a character
            self.receive(text[len(before) :])
            self.start, self.read = self.read, len(self.ids)
