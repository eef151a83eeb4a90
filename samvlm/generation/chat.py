"""ChatSession: several questions about one image, which is encoded once; answers stream as they are generated.

chat = ChatSession(DocumentParser.from_pretrained(), "table.png")
for piece in chat.ask("How many rows are there?"):
    print(piece, end="", flush=True)
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any

from PIL import Image

from ..data.images import DocumentError, Source, open_pages
from ..data.tasks import messages as task_messages
from .parser import DocumentParser


class ChatSession:
    """A conversation about an image, or about one page of a document.

    Args:
        parser: the loaded model.
        image: a path, the bytes of a file, or a PIL image.
        page: number of the page, from 1, of a PDF or TIFF.
        password: of an encrypted PDF.

    Raises:
        DocumentError: the image cannot be read, or has no such page.
    """

    def __init__(self, parser: DocumentParser, image: Source, page: int = 1, password: str | None = None):
        self.parser = parser
        self.image = open_page(image, page, password)
        self.messages: list[dict[str, Any]] = []
        self.finish_reason: str | None = None  # of the last answer
        self._features: Any = None
        self._encoded = False

    def ask(self, question: str, max_new_tokens: int | None = None) -> Iterator[str]:
        """Ask a question and yield the answer piece by piece.

        The question is taken literally: `<image>` in it is seven characters. What was said stays in the
        conversation, also if the iterator is closed early, which ends the generation.

        Raises:
            ValueError: the question is empty, or the conversation does not fit into the model's context (start
                anew with `reset`).
        """
        turn = task_messages("question", question=question)[0]
        if self.messages:  # the image stands in the first turn
            turn = {**turn, "content": [part for part in turn["content"] if part["type"] == "text"]}
        return self._stream([*self.messages, turn], max_new_tokens)

    def reset(self) -> None:
        """Forget the conversation; the image stays encoded."""
        self.messages = []

    def _stream(self, messages: list[dict[str, Any]], max_new_tokens: int | None) -> Iterator[str]:
        pieces: queue.SimpleQueue[str | BaseException | None] = queue.SimpleQueue()
        cancelled = threading.Event()

        def generate() -> None:
            try:
                if not self._encoded:
                    self._features, self._encoded = self.parser.encode(self.image), True
                answer = self.parser.answer(
                    messages,
                    self.image,
                    max_new_tokens,
                    stream=pieces.put,
                    features=self._features,
                    cancelled=cancelled,
                )
                self.finish_reason = answer.finish_reason
                pieces.put(None)
            except BaseException as problem:  # raised again where the answer is read
                pieces.put(problem)

        worker = threading.Thread(target=generate, daemon=True)
        worker.start()
        said = ""
        try:
            while (piece := pieces.get()) is not None:
                if isinstance(piece, BaseException):
                    raise piece
                said += piece
                yield piece
            self._remember(messages, said)
        except GeneratorExit:
            self._remember(messages, said)
            raise
        finally:
            cancelled.set()
            worker.join()

    def _remember(self, messages: list[dict[str, Any]], said: str) -> None:
        self.messages = [*messages, {"role": "assistant", "content": [{"type": "text", "text": said}]}]


def open_page(source: Source, number: int = 1, password: str | None = None) -> Image.Image:
    """Open one page, numbered from 1, of a document. Raises DocumentError if it has no such page."""
    if number < 1:
        raise ValueError(f"page must be at least 1, got {number}")
    count = 0
    for page in open_pages(source, password=password):
        count = page.index + 1
        if count == number:
            if page.image is None:
                raise DocumentError(page.error)
            return page.image
    raise DocumentError(f"page {number} does not exist; the document has {count}")
