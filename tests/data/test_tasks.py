"""The chat that each task asks with."""

import pytest

from samvlm.data.tasks import TASKS, messages


def test_messages():
    assert messages("table", answer="<fcel>a<nl>") == [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Parse this table."}]},
        {"role": "assistant", "content": [{"type": "text", "text": "<fcel>a<nl>"}]},
    ]
    assert len(messages("text")) == 1
    assert messages("question", question=" How many rows? ")[0]["content"][1]["text"] == "How many rows?"
    assert set(TASKS) == {"table", "text", "form", "question"}
    assert TASKS["table"].output == "otsl"


@pytest.mark.parametrize(
    ("task", "question"), [("tables", None), ("question", None), ("question", " "), ("table", "Why?")]
)
def test_what_makes_no_sense_is_refused(task, question):
    with pytest.raises(ValueError, match="use" if task != "question" else "needs a question"):
        messages(task, question=question)
