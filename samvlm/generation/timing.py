"""Where the time of parsing goes: `DocumentParser.timing = True`, `samvlm parse --timing`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from transformers import LogitsProcessor, PreTrainedModel


@dataclass
class Timing:
    """Seconds of wall clock that pages parsed together took; all of them have the same object.

    `total` is `image`, `tower`, `prefill`, `decoding` and what is left for reading the answers.
    """

    pages: int = 1
    tokens: int = 0  # generated, of all pages
    image: float = 0.0  # from opened images and chats to the model's inputs
    tower: float = (
        0.0  # the vision tower; 0 where the features were known, or the model calls it something else
    )
    prefill: float = 0.0  # the rest of the way to the first token's scores
    decoding: float = 0.0  # from there to the last token
    grammar: float = 0.0  # what the grammar took of it
    total: float = 0.0

    @property
    def first_token(self) -> float:
        """Seconds to the first token's scores."""
        return self.image + self.tower + self.prefill

    @property
    def ms_a_token(self) -> float:
        """Milliseconds of decoding a token; pages that are parsed together share their steps."""
        return 1000 * self.decoding / max(self.tokens, 1)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        seconds = asdict(self) | {"first_token": self.first_token, "ms_a_token": self.ms_a_token}
        return {name: round(value, 6) for name, value in seconds.items()}


class Stopwatch:
    """Measures one call of `generate`, or several that go on with each other, as the context around them.

    Args:
        model: what generates.
        pages: how many images.
    """

    def __init__(self, model: PreTrainedModel, pages: int = 1):
        self.timing = Timing(pages)
        self.device = model.device
        self.tower = getattr(model.base_model, "vision_tower", None)
        self.start = self.now()
        self._tower_start = 0.0
        self._hooks: list[Any] = []

    def now(self) -> float:
        """Seconds, once the device has done what it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def __enter__(self) -> Stopwatch:
        """The inputs are ready; generation starts."""
        self.timing.image = self.now() - self.start
        if self.tower is not None:
            self._hooks = [
                self.tower.register_forward_pre_hook(self._enter_tower),
                self.tower.register_forward_hook(self._leave_tower),
            ]
        return self

    def __exit__(self, *problem: object) -> None:
        """Generation has ended."""
        for hook in self._hooks:
            hook.remove()
        self.timing.decoding = self.now() - self.start - self.timing.first_token

    def processor(self, rules: LogitsProcessor | None) -> LogitsProcessor:
        """A logits processor that notes the first scores, and what `rules` take, if there are any."""
        return TimedProcessor(self, rules)

    def first_scores(self) -> None:
        """The first token's scores are there."""
        if not self.timing.prefill:
            self.timing.prefill = self.now() - self.start - self.timing.first_token

    def _enter_tower(self, *call: Any) -> None:
        self._tower_start = self.now()

    def _leave_tower(self, *call: Any) -> None:
        self.timing.tower += self.now() - self._tower_start


class TimedProcessor(LogitsProcessor):
    """Calls another logits processor, if any, and notes on a Stopwatch how long it took."""

    def __init__(self, watch: Stopwatch, inner: Callable[..., torch.Tensor] | None):
        self.watch, self.inner = watch, inner

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.watch.first_scores()
        if self.inner is None:
            return scores
        start = self.watch.now()
        scores = self.inner(input_ids, scores)
        self.watch.timing.grammar += self.watch.now() - start
        return scores
