"""DocumentParser: a page or table image in, tables and text out.

from samvlm import DocumentParser
print(DocumentParser.from_pretrained()("table.png").to_markdown())
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor, PreTrainedModel, ProcessorMixin

from ..adapters import (
    SHIPPED,
    base_of,
    check_whole,
    folder_of,
    is_adapter,
    loading,
    processor_of,
    require_peft,
)
from ..data.images import DocumentError, Source, open_image, open_pages
from ..data.tables import Table
from ..data.tasks import TASKS
from ..data.tasks import messages as task_messages
from ..data.written_tables import written_tables
from ..model import modeling_samvlm, processing_samvlm  # noqa: F401  (register the Auto classes)
from .answers import Answer, AnswerGenerator, read_table
from .native_steps import usable
from .results import ParseResult

BATCH_SIZE = 8  # pages


class DocumentParser:
    """Parses images and PDF pages with a document VLM; load one with `from_pretrained`.

    With `timing` set, each result says in its `timing` what took how long.
    """

    def __init__(self, model: PreTrainedModel, processor: ProcessorMixin):
        self.model = model.eval()
        self.processor = processor
        self.generator = AnswerGenerator(self.model, processor)

    @property
    def timing(self) -> bool:
        """Whether results come with their `timing`; False at first, when nothing is measured."""
        return self.generator.timing

    @timing.setter
    def timing(self, wanted: bool) -> None:
        self.generator.timing = wanted

    @property
    def batch_size(self) -> int:
        """How many pages to parse at once where there are many: one where compiled steps are bound by memory, else 8."""
        return 1 if usable(self.model) else BATCH_SIZE

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
                None or "samvlm-tiny": the checkpoint that ships with samvlm.
            device: "cpu", "cuda", …; None: a GPU if there is one.
            dtype: of the weights, such as "bfloat16"; None: bfloat16 on a GPU that has it, else float32.

        Raises:
            ValueError: there is no such checkpoint or device, or it cannot be loaded whole. Code that comes
                with a checkpoint is never run.
        """
        name = find_checkpoint(folder)
        base = name
        if is_adapter(name):
            require_peft(name)
            base = base_of(name)
        device = _usable_device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        if dtype is None:
            has_bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported()
            dtype = torch.bfloat16 if has_bf16 else torch.float32
        dtype = _usable_dtype(dtype)
        with loading(name):
            model, report = AutoModelForImageTextToText.from_pretrained(
                base, dtype=dtype, output_loading_info=True
            )
            if base != name:
                added = model.load_adapter(name, dtype=dtype)
                report = {
                    key: {*report[key], *getattr(added, key)} for key in ("missing_keys", "mismatched_keys")
                }
            processor = AutoProcessor.from_pretrained(processor_of(name, base))
        if model.config.model_type == "got_ocr2":
            raise ValueError(
                f"{name}: transformers' GOT-OCR2 knows no chat; samvlm convert {name} FOLDER makes a model of it that reads"
            )
        check_whole(name, report)
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
            grammar: let the task "table" emit valid tables only, where the tokenizer has the OTSL tokens.
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
        chat = task_messages(task, question=question)  # complains about a bad task before reading anything
        for page in open_pages(source, password=password, max_pages=max_pages):
            if page.image is None:
                yield ParseResult(task, finish_reason="error", page=page.index + 1, error=page.error)
                continue
            (result,) = self._parse([page.image], task, [chat], max_new_tokens, grammar, stream)
            result.page = page.index + 1
            yield result

    def parse_batch(
        self,
        images: Sequence[Source],
        task: str = "table",
        question: str | Sequence[str] | None = None,
        max_new_tokens: int | None = None,
        grammar: bool = True,
    ) -> list[ParseResult]:
        """Parse several images at once: what single calls give, in less time where there is memory for it.

        Rows that have ended are left behind from time to time; images of similar size still go best together.

        Args:
            images: paths, the bytes of files, or PIL images, of one page each.
            question: one for all images, or one for each.
            task, max_new_tokens, grammar: as in a call.

        Returns:
            A result for each image, in order; `seconds` are its share of the whole.

        Raises:
            DocumentError: one of the images cannot be read.
        """
        one = question is None or isinstance(question, str)
        chats = [task_messages(task, question=asked) for asked in ([question] if one else question)]
        chats = chats * len(images) if one else chats
        if len(chats) != len(images):
            raise ValueError(f"{len(chats)} questions for {len(images)} images; give one, or one for each")
        opened = [open_image(image) for image in images]
        return self._parse(opened, task, chats, max_new_tokens, grammar) if opened else []

    def _parse(
        self,
        images: list[Image.Image],
        task: str,
        chats: list[list[dict[str, Any]]],
        max_new_tokens: int | None,
        grammar: bool,
        stream: Callable[[str], None] | None = None,
    ) -> list[ParseResult]:
        start = time.perf_counter()
        is_table = TASKS[task].output == "otsl"
        ruled = grammar and is_table and self.generator.writes_otsl
        answers = self.generator.answer(chats, images, max_new_tokens, ruled, stream)
        results = [
            ParseResult(
                task=task,
                text=answer.text,
                tables=self._tables(answer) if is_table else [],
                finish_reason=answer.finish_reason,
                image_size=image.size,
                tokens=len(answer.ids),
                timing=answer.timing,
            )
            for image, answer in zip(images, answers, strict=True)
        ]
        seconds = time.perf_counter() - start
        for result in results:
            result.seconds = seconds / len(results)
        if timing := results[0].timing:
            timing.total = seconds
        return results

    def _tables(self, answer: Answer) -> list[Table]:
        """The table in OTSL; of a model that has no tokens for it, the tables that it wrote in other forms."""
        if self.generator.writes_otsl:
            return read_table(answer, self.generator.decoder)
        return written_tables(answer.text)

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
        """Generate the next turn of a chat about an image; the arguments are those of `AnswerGenerator.answer`."""
        (answer,) = self.generator.answer(
            [messages], [image], max_new_tokens, grammar, stream, features, cancelled
        )
        return answer

    def encode(self, image: Image.Image) -> Any:
        """Encode an image once for several calls of `answer`; None if the model takes only pixels."""
        return self.generator.encode(image)


def _usable_device(device: str | torch.device) -> torch.device:
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as problem:  # AssertionError: a build of torch without CUDA
        reason = str(problem).splitlines()[0]
        raise ValueError(f"device {str(device)!r} cannot be used here ({reason}); use 'cpu'") from None


def _usable_dtype(dtype: str | torch.dtype) -> torch.dtype:
    found = dtype if isinstance(dtype, torch.dtype) else getattr(torch, dtype, None)
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ValueError(f"dtype {str(dtype)!r} is none for weights; use 'float32', 'bfloat16' or 'float16'")
    return found


def find_checkpoint(folder: str | Path | None = None) -> str:
    """The folder or hub name of a checkpoint or an adapter, once it is sure to be one.

    Args:
        folder: a folder, a hub name, or "samvlm-tiny", the checkpoint that ships, as None is.

    Raises ValueError for what is neither.
    """
    if folder is None or folder_of(folder) != str(folder):  # by its name
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
    is_name = isinstance(folder, str) and re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", folder)
    if is_name and not path.parent.is_dir():  # in a folder that is here, it is a path with a mistake
        return folder
    raise ValueError(f"{folder}: no such folder; give a checkpoint folder or a hub name such as user/model")
