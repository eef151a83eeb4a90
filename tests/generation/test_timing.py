"""DocumentParser.timing: the parts add up, a batch shares one object, and nothing else changes."""

import pytest
from documents import drawing

from samvlm.generation import DocumentParser


@pytest.fixture
def timed(tiny_checkpoint) -> DocumentParser:
    parser = DocumentParser.from_pretrained(tiny_checkpoint, device="cpu")
    parser.timing = True
    return parser


def test_off_at_first(parser):
    result = parser(drawing(), max_new_tokens=5)
    assert result.timing is None and "timing" not in result.to_dict()


@pytest.mark.parametrize("grammar", [True, False])
def test_parts_add_up(timed, grammar):
    result = timed(drawing(), max_new_tokens=20, grammar=grammar)
    timing = result.timing
    assert (timing.pages, timing.tokens, timing.total) == (1, result.tokens, result.seconds)
    assert min(timing.image, timing.tower, timing.prefill, timing.decoding) > 0
    assert timing.first_token + timing.decoding <= timing.total
    assert 0 < timing.grammar < timing.decoding if grammar else timing.grammar == 0
    assert timing.ms_a_token == 1000 * timing.decoding / timing.tokens
    known = result.to_dict()["timing"]
    assert known["tokens"] == result.tokens and known["tower"] == pytest.approx(timing.tower, abs=1e-6)
    assert not timed.model.model.vision_tower._forward_hooks
    timed.timing = False
    assert timed(drawing(), max_new_tokens=20, grammar=grammar).text == result.text


def test_a_batch_shares_its_timing(timed):
    results = timed.parse_batch([drawing(), drawing(60, 200)], max_new_tokens=8)
    timing = results[0].timing
    assert timing is results[1].timing and timing.pages == 2
    assert timing.tokens == sum(result.tokens for result in results)
    assert timing.total == pytest.approx(sum(result.seconds for result in results))


def test_known_features_need_no_tower(timed):
    image = drawing()
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "?"}]}]
    answer = timed.answer(messages, image, max_new_tokens=3, features=timed.encode(image))
    assert answer.timing.tower == 0 and answer.timing.prefill > 0
