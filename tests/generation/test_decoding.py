"""samvlm/generation/decoding.py and cache.py: what is noted and stopped at each step, row by row."""

import pytest
import torch
from transformers import DynamicCache, LlamaConfig, Qwen2Config
from transformers.cache_utils import DynamicLayer

from samvlm.generation.cache import ROOM, GrowingLayer, growing_cache
from samvlm.generation.decoding import CHECK_EVERY, RepetitionStop, TokenProbabilities

END, PAD, PROMPT = 500, 501, 4


def noise(length: int) -> torch.Tensor:
    return torch.randint(0, 300, (PROMPT + length,), generator=torch.Generator().manual_seed(0))


def loop(length: int) -> torch.Tensor:
    return torch.arange(PROMPT + length) % 5


def test_repetition_stop_needs_a_loop():
    for ids, expected in ((noise(320), False), (loop(32), False), (loop(320), True)):
        stopped = RepetitionStop(PROMPT, [END])(ids[None], None)
        assert stopped.tolist() == [expected]


def test_each_row_is_stopped_for_itself():
    ended = torch.cat([noise(20), torch.tensor([END]), torch.full((299,), PAD)])
    looped_then_ended = torch.cat([loop(317), torch.tensor([END, PAD, PAD])])
    stop = RepetitionStop(PROMPT, [END])
    ids = torch.stack([noise(320), loop(320), ended, looped_then_ended])
    assert stop(ids, None).tolist() == [False, True, False, False]
    longer = torch.cat([ids, torch.full((4, CHECK_EVERY), PAD)], dim=1)
    assert stop(longer, None).tolist() == [False, True, False, False]
    assert stop(longer[:, :-1], None).tolist() == [False, True, False, False]  # also between two looks
    generated = longer[1, PROMPT:].tolist()
    assert stop.without_loop(1, generated) == generated[:5] and stop.without_loop(0, generated) == generated
    assert RepetitionStop(PROMPT, [])(ids[2:3], None).tolist() == [True]  # or PAD would be a loop here


def test_probabilities_are_those_before_the_grammar():
    noted = TokenProbabilities()
    ids, logits = torch.tensor([[7], [7]]), torch.tensor([[0.0, 2.0, 1.0], [1.0, 1.0, 5.0]])
    generated = torch.tensor([[2, 0, 1], [0, 1, 2]])
    for chosen in generated.T:
        assert noted(ids, logits) is logits
        ids = torch.cat([ids, chosen[:, None]], dim=1)
    expected = logits.softmax(-1).gather(1, generated)
    assert torch.equal(noted.of(generated), expected)
    assert torch.equal(noted.of(generated[:, :2]), expected[:, :2])  # once more than was kept


@pytest.mark.parametrize("rows", [1, 3])
def test_the_growing_cache_is_the_dynamic_one(rows):
    torch.manual_seed(0)
    grown, plain = GrowingLayer(), DynamicLayer()
    for length in (7, 1, 1, ROOM, 1, 2 * ROOM, 1, 1):
        keys, values = torch.randn(rows, 2, length, 8), torch.randn(rows, 2, length, 8)
        pairs = zip(grown.update(keys, values), plain.update(keys, values), strict=True)
        assert all(torch.equal(ours, theirs) for ours, theirs in pairs)
        assert grown.get_seq_length() == plain.get_seq_length()
    for layer in (grown, plain):
        layer.reorder_cache(torch.arange(rows).flip(0))  # as beams do: other tensors from here on
        layer.keys, layer.values = layer.keys[..., :-3, :], layer.values[..., :-3, :]  # as `crop` does
    keys = torch.randn(rows, 2, 1, 8)
    assert torch.equal(grown.update(keys, keys)[1], plain.update(keys, keys)[1])


def test_a_new_token_moves_no_other():
    layer = GrowingLayer()
    places = {layer.update(new, new)[0].data_ptr() for new in torch.randn(20, 1, 2, 1, 8)}
    assert len(places) == 1


def test_layers_with_a_window_stay_as_they_are():
    sizes = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "num_key_value_heads": 2}
    windowed = Qwen2Config(**sizes, use_sliding_window=True, sliding_window=8, max_window_layers=2)
    kinds = [type(layer) for layer in growing_cache(windowed).layers]
    assert kinds[0] is GrowingLayer and kinds[2:] == [type(DynamicCache(config=windowed).layers[2])] * 2
    assert [type(layer) for layer in growing_cache(LlamaConfig(**sizes)).layers] == [GrowingLayer] * 4
