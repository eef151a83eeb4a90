"""Steps by the kernel library: transformers' numbers on every instruction set, and no step where it does not fit."""

import pytest
import torch
from torch import nn
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from samvlm.model import native_attention, native_decoder
from samvlm.model.native import build
from samvlm.model.native_decoder import NativeDecoder, takes, works

pytestmark = pytest.mark.skipif(native_attention.library() is None, reason="no compiled kernel here")
SIZES = {
    "vocab_size": 100,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 512,
    "initializer_range": 0.3,
}


@pytest.fixture
def model() -> LlamaForCausalLM:
    torch.manual_seed(3)
    return LlamaForCausalLM(LlamaConfig(**SIZES)).eval()


@pytest.mark.parametrize("name", build.SETS)
def test_every_instruction_set_of_this_processor_agrees(name, monkeypatch):
    library = native_attention.library()
    kernel = getattr(library, f"decoder_{name}", None)
    order = list(build.SETS)
    if kernel is None or order.index(name) > order.index(native_attention.instruction_set()):
        pytest.skip("not for this processor")

    class Library:
        def samvlm_decode(self, job, threads):
            rows = job._obj.rows
            return kernel(job, 0, 1) or (kernel(job, 1, rows - 1) if rows > 1 else 0)

    monkeypatch.setattr(native_decoder, "library", Library)
    assert works.__wrapped__()


@torch.inference_mode()
def test_it_grows_and_rows_may_leave(model, monkeypatch):
    assert takes(model.model, model.lm_head)
    monkeypatch.setattr(native_decoder, "ROOM", 8)
    ids = torch.randint(0, 100, (5, 41))
    right = model(ids).logits
    cache = DynamicCache(config=model.config)
    model(ids[:, :10], past_key_values=cache)
    steps = NativeDecoder(model.model, model.lm_head)
    for threads in (1, 2, 400):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        for _ in range(10):
            place = cache.get_seq_length()
            rows = len(ids)
            found = steps.step(ids[:, place], torch.full((rows,), place), torch.zeros(rows).long(), cache)
            torch.testing.assert_close(found, right[:, place], atol=2e-4, rtol=1e-4)
        left = torch.arange(1, len(ids))
        cache.batch_select_indices(left)
        ids, right = ids[left], right[left]
    found = model(ids[:, 40:], past_key_values=cache).logits  # transformers goes on from there
    torch.testing.assert_close(found, right[:, 40:], atol=2e-4, rtol=1e-4)


def test_what_it_does_not_take(model):
    decoder, head = model.model, model.lm_head
    assert not takes(decoder, nn.Linear(48, 100))  # a bias
    assert not takes(Qwen2ForCausalLM(Qwen2Config(**SIZES)).model, head)
    assert not takes(LlamaForCausalLM(LlamaConfig(**SIZES | {"head_dim": 16})).model, head)
    assert not takes(LlamaForCausalLM(LlamaConfig(**SIZES | {"hidden_act": "gelu"})).model, head)
    assert not takes(LlamaForCausalLM(LlamaConfig(**SIZES | {"mlp_bias": True})).model, head)

    class Adapted(nn.Linear):
        """Stands for LoRA and quantised layers."""

    own = decoder.layers[1].mlp.down_proj
    decoder.layers[1].mlp.down_proj = Adapted(own.in_features, own.out_features, bias=False)
    assert not takes(decoder, head)
    decoder.layers[1].mlp.down_proj = own
    assert takes(decoder, head)
    assert not takes(decoder.to(torch.bfloat16), head)


def test_wrong_numbers_are_noticed(monkeypatch, caplog):
    right = NativeDecoder.step
    monkeypatch.setattr(NativeDecoder, "step", lambda *arguments: right(*arguments) + 0.1)
    assert not works.__wrapped__() and "wrong numbers" in caplog.text
