"""The tasks of samvlm: what the model is asked and the form of its answer. Training and use ask the same words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Task:
    """One task: its name, the instruction that the model sees and the form of the answer.

    `output`: "otsl" (a table, see `otsl.py`), "text" (lines) or "json".
    """

    name: str
    instruction: str
    output: Literal["otsl", "text", "json"]


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task("table", "Parse this table.", "otsl"),
        Task("text", "Read the text.", "text"),
        Task("form", "Extract the fields.", "text"),  # the answer has a line "key: value" for each field
        Task("question", "", "text"),  # the instruction is the question itself
    )
}


def messages(task: str, answer: str | None = None, question: str | None = None) -> list[dict[str, Any]]:
    """Return a chat about one image: the user's turn and, if `answer` is given, the assistant's.

    Raises ValueError for an unknown task, a "question" task without a question, or a question to another task.
    """
    if task not in TASKS:
        raise ValueError(f"unknown task {task!r}; use one of {', '.join(TASKS)}")
    asks = task == "question"
    if asks and not (question and question.strip()):
        raise ValueError("the task 'question' needs a question; give question='…'")
    if question and not asks:
        raise ValueError(f"the task {task!r} takes no question; use the task 'question'")
    instruction = question.strip() if asks and question else TASKS[task].instruction
    chat: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": instruction}]}
    ]
    if answer is not None:
        chat.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
    return chat
