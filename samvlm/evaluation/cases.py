"""What a model is asked to read, with the truth: made of records and of the readers' items, one form for all tasks."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from ..data.conversations import read_conversation, text_of
from ..data.images import DocumentError, open_image
from ..data.readers import Item, Picture
from ..data.readers.folder import PageOf
from ..data.records import Record, target_text
from ..data.tables import Table
from ..data.tasks import TASKS
from ..metrics.teds import has_official_table
from .answers import table_html


@dataclass
class Case:
    """One thing to read.

    id:             unique within its benchmark
    task:           one of TASKS
    image:          see `Picture`; None where only given predictions can be scored
    truth_html:     of a table, as the data have it, inline tags included; within `<html><body>`, where the official
                    TEDS looks for it
    truths:         of the other tasks, the accepted texts
    question:       of the task "question"
    area:           pixels of the image where known beforehand; None: `pixels` looks
    structure_only: the truth holds no texts
    """

    id: str
    task: str
    image: Picture | None
    truth_html: str = ""
    truths: tuple[str, ...] = ()
    question: str | None = None
    area: int | None = None
    structure_only: bool = False

    @property
    def key(self) -> str:
        """A short hash of what is asked and what is true; the image takes no part."""
        parts = (self.id, self.task, self.question or "", self.truth_html, *self.truths)
        return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:16]

    def pixels(self) -> int:
        """Pixels of the image as its header says; 0 where that is not known without drawing it."""
        if self.area is None:
            self.area = _pixels(self.image)
        return self.area

    def open(self) -> Image.Image:
        """The image, upright RGB; of a PDF or TIFF the first page. Raises DocumentError."""
        if self.image is None:
            raise DocumentError(f"{self.id}: no image is given")
        if callable(self.image):
            return open_image(self.image())
        if isinstance(self.image, Path) and self.image.suffix.lower() == ".pdf":
            return open_image(PageOf(self.image, 0, 144)())
        return open_image(self.image)


def case_of_record(record: Record) -> Case:
    """A case for a record. Raises ValueError where there is no truth to compare with."""
    return _case(record.id, record.image, record.task, record.target, record.messages, record.extra)


def case_of_item(item: Item) -> Case:
    """A case for what a reader yields. Raises ValueError where there is no truth to compare with."""
    chat = read_conversation(item.messages, item.image is not None) if item.messages else []
    return _case(item.id, item.image, item.task, item.target or {}, chat, item.extra)


def _case(
    name: str,
    image: Picture | None,
    task: str | None,
    target: dict[str, Any],
    chat: Sequence[dict[str, Any]],
    extra: dict[str, Any],
) -> Case:
    """Of a conversation of several turns the first question and its answer count."""
    answer = next((text_of(turn) for turn in chat if turn["role"] == "assistant"), None)
    if task == "table":
        html = _truth_html(target, answer)
        return Case(name, task, image, truth_html=html, structure_only=bool(extra.get("structure_only")))
    if task is None or task == "question":
        asked = next((text_of(turn) for turn in chat if turn["role"] == "user"), None)
        question = (target.get("question") or asked or "").strip()
        if not question:
            raise ValueError("there is no question; give target {'question': …, 'answer': …} or messages")
        return Case(name, "question", image, truths=_accepted(target, extra, answer), question=question)
    if task not in TASKS:
        raise ValueError(f"unknown task {task!r}; use one of {', '.join(TASKS)}")
    truth = target_text(task, target) if target else answer
    if not truth:
        raise ValueError(f"there is no true answer to the task {task!r}; give a 'target'")
    return Case(name, task, image, truths=(truth,))


def _truth_html(target: dict[str, Any], answer: str | None) -> str:
    html = target.get("html")
    if not html:
        otsl = target.get("otsl") or answer
        if not otsl:
            raise ValueError("there is no true table; give target {'html': …} or {'otsl': …}")
        html = otsl if "<table" in otsl else Table.from_otsl(otsl).to_html()
    Table.from_html(html)  # complains where there is no table in it
    return html if has_official_table(html) else table_html(html)


def _accepted(target: dict[str, Any], extra: dict[str, Any], answer: str | None) -> tuple[str, ...]:
    for given in (target.get("answers"), extra.get("answers"), target.get("answer"), answer):
        texts = [given] if isinstance(given, str) else given if isinstance(given, list) else []
        texts = [text for text in texts if isinstance(text, str) and text.strip()]
        if texts:
            return tuple(dict.fromkeys(texts))
    raise ValueError(
        "there is no true answer; give target {'answer': …}, or 'answers' where several are right"
    )


def _pixels(image: Picture | None) -> int:
    if image is None or callable(image):
        return 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(image) if isinstance(image, bytes) else image) as header:
                return header.width * header.height
        except Exception:  # whatever is wrong with the file is told when it is read
            return 0
