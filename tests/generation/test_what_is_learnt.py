"""From training to use: a model that has learnt two tables by heart reads each from its own image."""

import pytest
from lessons import LESSONS, QUESTION, REPLY

from samvlm.data.tables import Table
from samvlm.generation import ChatSession


@pytest.mark.parametrize("lesson", [0, 1])
def test_each_image_gives_its_table(taught, lesson):
    image, otsl = LESSONS[lesson]
    result = taught(image)
    assert result.text == otsl and result.finish_reason == "stop"
    assert result.tables == [Table.from_otsl(otsl)]
    assert all(cell.confidence is None or cell.confidence > 0.5 for cell in result.tables[0].cells)
    assert taught(image, grammar=False).text == otsl


def test_the_chat_asks_with_the_words_of_the_training(taught):
    session = ChatSession(taught, LESSONS[0][0])
    assert "".join(session.ask(QUESTION)) == REPLY and session.finish_reason == "stop"
