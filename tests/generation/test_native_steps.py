"""Decoding by the kernel library: the tokens of transformers' own loop, alone, in batches and as a stream."""

import pytest
from documents import drawing

from samvlm.generation import ChatSession, DocumentParser, batch
from samvlm.generation.native_steps import NativeSteps, usable
from samvlm.model import native_attention

pytestmark = pytest.mark.skipif(native_attention.library() is None, reason="no compiled kernel here")


def facts(results) -> list[tuple]:
    return [(result.text, result.finish_reason, result.tokens) for result in results]


@pytest.fixture(scope="module")
def shipped() -> DocumentParser:
    return DocumentParser.from_pretrained(device="cpu", dtype="float32")


@pytest.fixture
def plain(monkeypatch):
    """Call it, and transformers' own loop runs from there."""
    return lambda: monkeypatch.setattr(batch, "usable", lambda model: False)


def test_it_is_used_for_the_checkpoint_that_ships(shipped, parser, monkeypatch):
    assert usable(shipped.model) and not usable(parser.model)  # a head of 16 numbers
    assert (shipped.batch_size, parser.batch_size) == (1, 8)
    calls = []
    right = NativeSteps._step
    monkeypatch.setattr(NativeSteps, "_step", lambda *arguments: calls.append(1) or right(*arguments))
    result = shipped(drawing(), max_new_tokens=12)
    assert len(calls) == result.tokens - 1


@pytest.mark.parametrize("grammar", [True, False])
def test_tokens_are_the_same(shipped, plain, grammar):
    images = [drawing(), drawing(60, 200)]
    fast = shipped.parse_batch(images, max_new_tokens=40, grammar=grammar)
    alone = [shipped(image, max_new_tokens=40, grammar=grammar) for image in images]
    plain()
    slow = shipped.parse_batch(images, max_new_tokens=40, grammar=grammar)
    assert facts(fast) == facts(slow)
    assert facts(alone) == facts(slow)
    for one, other in zip(fast, slow, strict=True):
        for cell, same in zip(one.tables[0].cells, other.tables[0].cells, strict=True):
            assert cell.confidence == pytest.approx(same.confidence, abs=2e-3)


def test_pieces_come_one_by_one(shipped, plain):
    pieces: list[str] = []
    result = shipped(drawing(), max_new_tokens=30, stream=pieces.append)
    assert "".join(pieces) == result.text and len(pieces) > 1
    chat = ChatSession(shipped, drawing())
    asked = list(chat.ask("What?", max_new_tokens=10))
    stopped = next(chat.ask("What?", max_new_tokens=10))
    plain()
    chat = ChatSession(shipped, drawing())
    assert list(chat.ask("What?", max_new_tokens=10)) == asked
    assert next(chat.ask("What?", max_new_tokens=10)) == stopped
