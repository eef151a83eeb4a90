"""Attention that trains on a CPU with the fused kernel: the definition's numbers and gradients, and little kept."""

import pytest
import torch
from sam_reference import random_tower, randomise, relative_error

from samvlm.model import chunked_attention, native_attention, vision_layers
from samvlm.model.configuration_samvlm import SamVisionTowerConfig
from samvlm.model.vision_layers import SamAttention

GRIDS = [(64, 20), (17, 64), (1, 1), (1, 5), (70, 70), (14, 14)]


@pytest.fixture(autouse=True, scope="module")
def kernel():
    if native_attention.library() is None:
        pytest.skip("samvlm was installed without a C++ compiler")


@pytest.fixture
def calls(monkeypatch) -> list[tuple]:
    """What `trained_attention` was called with."""
    seen, function = [], vision_layers.trained_attention
    monkeypatch.setattr(vision_layers, "trained_attention", lambda *a: seen.append(a) or function(*a))
    return seen


def module(window, dim=32, heads=2, path="auto", **settings) -> SamAttention:
    config = SamVisionTowerConfig(
        embed_dim=heads * dim, num_attention_heads=heads, image_size=1120, attention_path=path, **settings
    )
    return randomise(SamAttention(config, window), 1)


def learn(module, grid, batch=1, dtype=torch.float32, autocast=False):
    """Output and gradients of input and weights for a random loss."""
    generator = torch.Generator().manual_seed(2)
    shape = batch, *grid, module.qkv.in_features
    x = torch.randn(shape, generator=generator).to(dtype).requires_grad_()
    wanted = torch.randn(shape, generator=generator)
    module.to(dtype).zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        output = module(x)
    output.backward(wanted.to(output.dtype))
    weights = [module.qkv.weight, module.qkv.bias, module.rel_pos_h, module.rel_pos_w]
    return [output.detach(), x.grad, *(weight.grad for weight in weights if weight is not None)]


def errors(found, right) -> list[float]:
    """Relative, also where the right gradient is zero but for rounding, as a single row's of its row table."""
    least = 1e-2 * max(b.norm().item() for b in right)
    return [(a - b).norm().item() / max(b.norm().item(), least) for a, b in zip(found, right, strict=True)]


@pytest.mark.parametrize("window", [14, 0])
@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_it_learns_as_the_definition(grid, window, calls):
    size = (40, 33) if grid == (70, 70) and not window else grid  # all pairs of the largest take too long
    settings = {"dim": 80 if grid == (17, 64) else 32, "batch": 1 if max(size) > 60 else 3}
    batch = settings.pop("batch")
    found = learn(module(window, **settings), size, batch)
    assert len(calls) == 1
    right = learn(module(window, path="plain", **settings), size, batch, torch.float64)
    assert max(errors(found, right)) < 3e-5


@pytest.mark.parametrize("window", [7, 0])
def test_short_chunks_and_no_bias(window, calls, monkeypatch):
    monkeypatch.setattr(chunked_attention, "CHUNK_ELEMENTS", 2000)
    found = learn(module(window, qkv_bias=False), (17, 11))
    right = learn(module(window, path="plain", qkv_bias=False), (17, 11), dtype=torch.float64)
    assert len(calls) == 1 and max(errors(found, right)) < 1e-5


@pytest.mark.parametrize("window", [14, 0])
def test_bfloat16_learns_more_exactly_than_the_definition(window, calls):
    right = learn(module(window, path="plain"), (17, 20), dtype=torch.float64)
    found = errors(learn(module(window), (17, 20), dtype=torch.bfloat16), right)
    plain = errors(learn(module(window, path="plain"), (17, 20), dtype=torch.bfloat16), right)
    assert len(calls) == 1
    assert all(ours < 1.1 * theirs for ours, theirs in zip(found, plain, strict=True)), (found, plain)


def test_autocast(calls):
    right = learn(module(7, path="plain"), (17, 20), dtype=torch.float64)
    found = learn(module(7), (17, 20), autocast=True)
    assert len(calls) == 1 and calls[0][0].dtype == torch.bfloat16
    assert found[1].dtype == torch.float32 and max(errors(found, right)) < 3e-2


@pytest.mark.parametrize("learns", ["qkv.bias", "rel_pos_h", "rel_pos_w"])
def test_one_weight_alone_learns(learns, calls):
    part, whole = (module(7, path=path).requires_grad_(False) for path in ("auto", "plain"))
    for one in (part, whole):
        one.get_parameter(learns).requires_grad_()
        one(torch.randn(1, 9, 10, 64, generator=torch.Generator().manual_seed(3))).square().sum().backward()
    assert len(calls) == 1
    assert relative_error(part.get_parameter(learns).grad, whole.get_parameter(learns).grad) < 1e-5


def test_little_is_kept():
    """Between forward and backward: no weights, no windows, no bias; a few numbers a token."""
    kept = {}
    attention = module(14)
    for path in ("auto", "bias"):
        attention.config.attention_path = path
        sizes = {}

        def keep(tensor, sizes=sizes):
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            attention(torch.randn(1, 30, 30, 64))
        kept[path] = sum(sizes.values())
    weights = sum(4 * weight.numel() for weight in attention.parameters())
    assert kept["auto"] <= weights + 4 * 900 * (64 + 3 * 64 + 64 + 2) < kept["bias"] / 2


def test_a_frozen_tower_keeps_nothing(calls):
    tower = random_tower(embed_dim=64, num_attention_heads=2, num_hidden_layers=2, mlp_dim=128, image_size=256,
                         global_attn_indexes=[1]).requires_grad_(False).train()  # fmt: skip
    tower.gradient_checkpointing_enable()
    tower.enable_input_require_grads()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(kept.append, lambda tensor: tensor):
        assert not tower(torch.randn(1, 3, 256, 192)).last_hidden_state.requires_grad
    assert not kept and not calls
