"""samvlm/generation/chat.py: streaming, several turns, one encoding, errors and early ends."""

import threading
import time

import pytest
from documents import drawing, pdf

import samvlm
from samvlm.data.images import DocumentError
from samvlm.generation import ChatSession


@pytest.fixture
def encoded(parser, monkeypatch) -> list[int]:
    """Grows by one each time that the tower runs."""
    calls, tower = [], parser.model.model.vision_tower
    forward = tower.forward
    monkeypatch.setattr(tower, "forward", lambda *a, **k: (calls.append(1), forward(*a, **k))[1])
    return calls


def test_three_turns_encode_once_and_match_uncached_answers(parser, encoded):
    session = ChatSession(parser, drawing())
    said = [
        "".join(session.ask(question, max_new_tokens=12)) for question in ("Rows?", "Columns?", "<image>?")
    ]
    assert len(encoded) == 1
    assert [turn["role"] for turn in session.messages] == ["user", "assistant"] * 3
    assert session.messages[3]["content"] == [{"type": "text", "text": said[1]}]
    assert session.finish_reason == "length"
    again = parser.answer(session.messages[:3], drawing(), 12)  # from the pixels
    assert again.text == said[1] and len(encoded) == 2


def test_history_matters_and_reset_forgets_it(parser):
    session = ChatSession(parser, drawing())
    first = "".join(session.ask("Rows?", max_new_tokens=12))
    second = "".join(session.ask("Rows?", max_new_tokens=12))
    session.reset()
    assert "".join(session.ask("Rows?", max_new_tokens=12)) == first != second


def test_answers_come_in_pieces(parser, monkeypatch):
    pieces = list(ChatSession(parser, drawing()).ask("Rows?", max_new_tokens=12))
    assert len(pieces) > 3


def test_errors_arrive_where_the_answer_is_read(parser, monkeypatch):
    session = ChatSession(parser, drawing())
    with pytest.raises(ValueError, match="needs a question"):
        session.ask("  ")
    with pytest.raises(ValueError, match="context holds"):
        list(session.ask("x" * 5000))

    def fail(*args, **kwargs):
        raise RuntimeError("out of luck")

    monkeypatch.setattr(parser.model, "generate", fail)
    with pytest.raises(RuntimeError, match="out of luck"):
        list(session.ask("Rows?"))
    assert session.messages == []
    monkeypatch.undo()
    assert list(session.ask("Rows?", max_new_tokens=5))


def test_an_answer_that_is_left_early_ends(parser):
    session = ChatSession(parser, drawing())
    before = threading.active_count()
    start = time.monotonic()
    answer = session.ask("Rows?", max_new_tokens=3000)
    first = next(answer)
    answer.close()
    assert threading.active_count() == before and time.monotonic() - start < 5
    assert session.messages[1]["content"][0]["text"] == first


def test_pages_of_documents(parser):
    document = pdf("0 0 200 100 re f", "", box="0 0 200 100")
    assert ChatSession(parser, document).image.getpixel((0, 0)) == (0, 0, 0)
    assert ChatSession(parser, document, page=2).image.getpixel((0, 0)) == (255, 255, 255)
    with pytest.raises(DocumentError, match="page 3 does not exist; the document has 2"):
        ChatSession(parser, document, page=3)
    with pytest.raises(ValueError, match="at least 1"):
        ChatSession(parser, document, page=0)


def test_public_name():
    assert samvlm.ChatSession is ChatSession
