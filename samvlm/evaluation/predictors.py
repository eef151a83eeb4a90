"""What makes predictions; here a checkpoint, in batches of similar size (see endpoint.py and predictions.py too)."""

from __future__ import annotations

import gc
import hashlib
import re
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image

from ..adapters import base_of, is_adapter
from ..generation import DocumentParser
from ..generation.parser import SHIPPED
from .cases import Case
from .predictions import Prediction

NEARLY = 0.8  # of the pixels that found no memory, more will hardly find it
_BLOCKS, _BLOCK = 64, 65536  # how many samples of a file of weights tell it from another, bytes of one


class Predictor(Protocol):
    """Reads cases. `identity` is what tells it from another, as it is written to run.json."""

    identity: dict[str, Any]

    def predict(self, cases: Sequence[Case]) -> Generator[Prediction, None, None]:
        """Yield one prediction for each case, in any order; one that fails has its `error`."""
        ...


class ModelPredictor:
    """A checkpoint or LoRA adapter behind a DocumentParser.

    Cases of one task go in batches of similar size, the largest first, so that a lack of memory shows at once. A
    batch that does not fit is halved, and so is every later one of nearly its size. The images of the next batch are
    opened while one is read.
    """

    def __init__(
        self,
        parser: DocumentParser,
        name: str | Path,
        batch_size: int | None = None,
        max_new_tokens: int | None = None,
    ):
        self.parser, self.batch_size, self.max_new_tokens = (
            parser,
            batch_size or parser.batch_size,
            max_new_tokens,
        )
        self.too_large: float = float("inf")  # pixels of batches that are not tried any more
        self.identity = {
            "kind": "model",
            "name": SHIPPED.name if Path(name) == SHIPPED else str(name),
            "fingerprint": fingerprint(Path(name)),
            "dtype": str(getattr(parser.model, "dtype", "unknown")).removeprefix("torch."),
            "max_new_tokens": max_new_tokens,
        }

    def predict(self, cases: Sequence[Case]) -> Generator[Prediction, None, None]:
        """Yield the predictions batch by batch."""
        ordered = sorted(cases, key=lambda case: (case.task, -case.pixels()))
        batches: list[list[Case]] = []
        for case in ordered:
            if not batches or len(batches[-1]) == self.batch_size or batches[-1][0].task != case.task:
                batches.append([])
            batches[-1].append(case)
        with ThreadPoolExecutor(1) as ahead:
            waiting = ahead.submit(_open_all, batches[0]) if batches else None
            for number, batch in enumerate(batches):
                opened = waiting.result()
                if number + 1 < len(batches):
                    waiting = ahead.submit(_open_all, batches[number + 1])
                pairs = list(zip(batch, opened, strict=True))
                yield from (
                    Prediction.failed(case, image) for case, image in pairs if isinstance(image, Exception)
                )
                yield from self._read([pair for pair in pairs if not isinstance(pair[1], Exception)])

    def _read(self, pairs: list[tuple[Case, Image.Image]]) -> list[Prediction]:
        """Read one batch, in parts where it has to be."""
        if not pairs:
            return []
        cases, images = zip(*pairs, strict=True)
        pixels = len(pairs) * max(image.width * image.height for image in images)
        halves = [pairs[: len(pairs) // 2], pairs[len(pairs) // 2 :]]
        if len(pairs) > 1 and pixels >= self.too_large:
            return [prediction for half in halves for prediction in self._read(half)]
        questions = [case.question for case in cases] if cases[0].task == "question" else None
        try:
            results = self.parser.parse_batch(
                images, task=cases[0].task, question=questions, max_new_tokens=self.max_new_tokens
            )
        except (RuntimeError, ValueError, MemoryError) as problem:
            reason, no_memory = _first_line(problem), lacks_memory(problem)
        else:
            return [_prediction(case, result) for case, result in zip(cases, results, strict=True)]
        if no_memory:  # outside of the except block, which holds on to the tensors
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        if len(pairs) == 1:
            return [Prediction.failed(cases[0], reason)]
        if no_memory:
            self.too_large = min(self.too_large, NEARLY * pixels)
        parts = halves if no_memory else [[pair] for pair in pairs]
        return [prediction for part in parts for prediction in self._read(part)]


def lacks_memory(problem: BaseException) -> bool:
    """Whether an error of torch or Python says that there is not enough memory."""
    words = str(problem).lower()
    return isinstance(problem, MemoryError | torch.OutOfMemoryError) or (
        "out of memory" in words or "allocate memory" in words or "alloc_failed" in words
    )


def fingerprint(folder: Path) -> str | None:
    """A hash of a checkpoint folder: its configuration and evenly spread samples of its weights; None for a hub name.

    Copies have the same; training on gives another, and so does another base of an adapter.
    """
    if not folder.is_dir():
        return None
    digest = hashlib.sha256()
    if is_adapter(folder):
        base = base_of(folder)
        digest.update(f"base {fingerprint(Path(base)) or base}\n".encode())
    for path in sorted(folder.iterdir()):
        if not path.is_file() or not re.search(r"\.(safetensors|bin|json|jinja|model|txt)$", path.name):
            continue
        size = path.stat().st_size
        digest.update(f"{path.name} {size}\n".encode())
        step = max(size // _BLOCKS, _BLOCK)
        with path.open("rb") as file:
            for start in range(0, size, step):
                file.seek(start)
                digest.update(file.read(_BLOCK))
    return digest.hexdigest()[:16]


def _prediction(case: Case, result: Any) -> Prediction:
    html = result.tables[0].to_html() if result.tables else ""
    return Prediction(
        case.id, html, result.text, result.finish_reason, round(result.seconds, 4), result.tokens
    )


def _open_all(cases: Sequence[Case]) -> list[Image.Image | Exception]:
    return [_open(case) for case in cases]


def _open(case: Case) -> Image.Image | Exception:
    try:
        return case.open()
    except Exception as problem:  # a picture may be drawn by any code, and must not cost the others
        return problem


def _first_line(problem: BaseException) -> str:
    return (str(problem).strip().splitlines() or [type(problem).__name__])[0]
