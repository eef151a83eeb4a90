"""DocumentParser: a page or table image in, tables and text out.

from samvlm import DocumentParser
print(DocumentParser.from_pretrained()("table.png").to_markdown())
"""

from __future__ import annotations

import inspect
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    ProcessorMixin,
    StoppingCriteria,
    StoppingCriteriaList,
)

from ..data.images import DocumentError, Source, open_pages
from ..data.otsl import NL, ORIGIN_TOKENS
from ..data.tables import Table
from ..data.tasks import TASKS
from ..data.tasks import messages as task_messages
from ..grammar import OTSLGrammar, close_otsl
from ..model import modeling_samvlm, processing_samvlm  # noqa: F401  (register the Auto classes)
from .decoding import AnswerDecoder, CancelStop, PieceStreamer, RepetitionStop, TokenProbabilities
from .prompts import encode_chat
from .results import FinishReason, ParseResult

SHIPPED = Path(__file__).parents[1] / "assets" / "samvlm-tiny"
MAX_NEW_TOKENS = 2048


@dataclass
class Answer:
    """What the model generated: ids without the prompt, their text, and how sure it was of each (0 to 1)."""

    ids: list[int]
    text: str
    finish_reason: FinishReason
    probabilities: list[float]


class DocumentParser:
    """Parses images and PDF pages with a document VLM; load one with `from_pretrained`."""

    def __init__(self, model: PreTrainedModel, processor: ProcessorMixin):
        self.model = model.eval()
        self.processor = processor
        self.decoder = AnswerDecoder(processor.tokenizer)

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path | None = None,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
    ) -> DocumentParser:
        """Load a model and its processor.

        Args:
            folder: a checkpoint folder, a LoRA adapter's folder (with peft installed) or a Hugging Face hub name;
                None: the checkpoint that ships with samvlm.
            device: "cpu", "cuda", …; None: a GPU if there is one.
            dtype: of the weights, such as "bfloat16"; None: bfloat16 on a GPU that has it, else float32.

        Raises:
            ValueError: there is no such checkpoint or device, or it cannot be loaded whole. Code that comes
                with a checkpoint is never run.
        """
        name = _checkpoint(folder)
        device = _usable_device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        if dtype is None:
            has_bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported()
            dtype = torch.bfloat16 if has_bf16 else torch.float32
        try:
            model, report = AutoModelForImageTextToText.from_pretrained(
                name, dtype=dtype, output_loading_info=True
            )
            processor = AutoProcessor.from_pretrained(name)
        except Exception as problem:  # what the many loaders raise on bad files has no common type
            reason = str(problem).strip().splitlines()[0][:200] if str(problem).strip() else "unknown reason"
            raise ValueError(f"{name}: not a document model that can be loaded ({reason})") from problem
        if lacking := sorted(report["missing_keys"]) + sorted(map(str, report["mismatched_keys"])):
            raise ValueError(
                f"{name}: {len(lacking)} weights are missing or of another shape, such as {lacking[0]}; "
                "get a complete copy of the checkpoint"
            )
        return cls(model.to(device), processor)

    def __call__(
        self,
        source: Source,
        task: str = "table",
        question: str | None = None,
        max_new_tokens: int | None = None,
        grammar: bool = True,
        stream: Callable[[str], None] | None = None,
        password: str | None = None,
        max_pages: int | None = None,
    ) -> ParseResult:
        """Parse an image, or all pages of a PDF or TIFF.

        Args:
            source: a path, the bytes of a file, or a PIL image.
            task: "table", "text", "form" or "question".
            question: for the task "question".
            max_new_tokens: limit of an answer; None: the checkpoint's own, at most what its context holds.
            grammar: let the task "table" emit valid tables only.
            stream: called with every new piece of text, as it is generated.
            password: of an encrypted PDF.
            max_pages: of a document, from the first.

        Returns:
            The result of the page, or of the document with its `pages`; a page that could not be read is among
            them with its `error`.

        Raises:
            DocumentError: nothing of the source can be read.
        """
        pages = list(
            self.parse_pages(source, task, question, max_new_tokens, grammar, stream, password, max_pages)
        )
        if all(page.error for page in pages):
            raise DocumentError(pages[0].error)
        return pages[0] if len(pages) == 1 else ParseResult.merge(pages)

    def parse_pages(
        self,
        source: Source,
        task: str = "table",
        question: str | None = None,
        max_new_tokens: int | None = None,
        grammar: bool = True,
        stream: Callable[[str], None] | None = None,
        password: str | None = None,
        max_pages: int | None = None,
    ) -> Iterator[ParseResult]:
        """Yield the result of each page as soon as it is parsed; the arguments are those of a call."""
        task_messages(task, question=question)  # complain about a bad task before reading anything
        for page in open_pages(source, password=password, max_pages=max_pages):
            if page.image is None:
                yield ParseResult(task, finish_reason="error", page=page.index + 1, error=page.error)
                continue
            result = self._parse(page.image, task, question, max_new_tokens, grammar, stream)
            result.page = page.index + 1
            yield result

    def _parse(
        self,
        image: Image.Image,
        task: str,
        question: str | None,
        max_new_tokens: int | None,
        grammar: bool,
        stream: Callable[[str], None] | None,
    ) -> ParseResult:
        start = time.perf_counter()
        is_table = TASKS[task].output == "otsl"
        answer = self.answer(
            task_messages(task, question=question),
            image,
            max_new_tokens,
            grammar=grammar and is_table,
            stream=stream,
        )
        tables = _read_table(answer, self.decoder) if is_table else []
        return ParseResult(
            task=task,
            text=answer.text,
            tables=tables,
            finish_reason=answer.finish_reason,
            seconds=time.perf_counter() - start,
            image_size=image.size,
            tokens=len(answer.ids),
        )

    def answer(
        self,
        messages: list[dict[str, Any]],
        image: Image.Image,
        max_new_tokens: int | None = None,
        grammar: bool = False,
        stream: Callable[[str], None] | None = None,
        features: Any = None,
        cancelled: threading.Event | None = None,
    ) -> Answer:
        """Generate (greedily) the next turn of a chat about an image.

        Args:
            features: what `encode` gave for this image, so that it is not encoded again.
            cancelled: generation ends soon after it is set.

        Raises:
            ValueError: the chat does not fit into the model's context.
        """
        inputs = self._inputs(messages, image)
        if features is not None:
            for name in self._image_inputs(inputs):
                inputs.pop(name)
            inputs["mm_encoder_outputs"] = {"image": features}
        prompt = inputs["input_ids"].shape[1]
        budget = self._budget(prompt, max_new_tokens)
        probabilities = TokenProbabilities()
        processors: list[LogitsProcessor] = [probabilities]
        ends = self.model.generation_config.eos_token_id
        rules = None
        if grammar:
            rules = OTSLGrammar.from_tokenizer(self.processor.tokenizer, prompt, ends, budget)
            processors.append(rules)
        repetition = RepetitionStop(prompt)
        stops: list[StoppingCriteria] = [repetition]
        if cancelled is not None:
            stops.append(CancelStop(cancelled))
        output = self.model.generate(
            **inputs,
            do_sample=False,
            num_beams=1,
            max_new_tokens=budget,
            logits_processor=LogitsProcessorList(processors),
            stopping_criteria=StoppingCriteriaList(stops),
            streamer=PieceStreamer(self.decoder, stream) if stream else None,
        )
        ids = output[0, prompt:].tolist()
        certainty = probabilities.of(ids)
        ended = bool(ids) and ids[-1] in (ends if isinstance(ends, list) else [ends])
        reason = "stop" if ended and not (rules and rules.truncated(output[0])) else "length"
        if repetition.found is not None:
            reason = "repetition"
            ids = repetition.without_loop(ids)
        return Answer(ids, self.decoder.decode(ids, escape=grammar), reason, certainty)

    def encode(self, image: Image.Image) -> Any:
        """Encode an image once for several calls of `answer`; None if the model takes only pixels."""
        if "mm_encoder_outputs" not in inspect.signature(self.model.forward).parameters:
            return None
        inputs = self._inputs(task_messages("question", question="?"), image)
        image_inputs = {name: inputs[name] for name in self._image_inputs(inputs)}
        with torch.no_grad():
            return self.model.base_model.get_image_features(**image_inputs, return_dict=True)

    def _inputs(self, messages: list[dict[str, Any]], image: Image.Image) -> dict[str, Any]:
        inputs = encode_chat(self.processor, messages, image)
        return dict(inputs.to(self.model.device, dtype=self.model.dtype))

    def _image_inputs(self, inputs: dict[str, Any]) -> list[str]:
        taken = inspect.signature(self.model.base_model.get_image_features).parameters
        return [name for name in inputs if name in taken]

    def _budget(self, prompt: int, max_new_tokens: int | None) -> int:
        """How many tokens may be generated behind a prompt of so many."""
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


def _usable_device(device: str | torch.device) -> torch.device:
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as problem:  # AssertionError: a build of torch without CUDA
        reason = str(problem).splitlines()[0]
        raise ValueError(f"device {str(device)!r} cannot be used here ({reason}); use 'cpu'") from None


def _checkpoint(folder: str | Path | None) -> str:
    """The folder or hub name to load, once it is sure to be one."""
    if folder is None:
        if not (SHIPPED / "config.json").is_file():
            raise ValueError(
                f"this installation has no checkpoint at {SHIPPED}; name one, as in --model FOLDER "
                "or DocumentParser.from_pretrained(FOLDER)"
            )
        return str(SHIPPED)
    path = Path(folder).expanduser()
    if any((path / name).is_file() for name in ("config.json", "adapter_config.json")):
        return str(path)
    if path.exists():
        raise ValueError(f"{folder}: not a checkpoint folder, it has no config.json (or adapter_config.json)")
    if isinstance(folder, str) and re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", folder):
        return folder  # a hub name
    raise ValueError(f"{folder}: no such folder; give a checkpoint folder or a hub name such as user/model")


def _read_table(answer: Answer, decoder: AnswerDecoder) -> list[Table]:
    """The table of an answer, closed where it was cut off, each cell with the confidence of its worst token."""
    text, _ = close_otsl(answer.text)
    try:
        table = Table.from_otsl(text)
    except ValueError:  # without the grammar, an answer may hold no table
        return []
    worst: dict[tuple[int, int], float] = {}
    row, col, here = 0, 0, None
    for token, probability in zip(answer.ids, answer.probabilities, strict=False):
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
