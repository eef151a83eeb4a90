"""Every way to compute the relative attention gives the numbers of the plain one; the light ways stay light."""

import pytest
import torch
from sam_reference import relative_error
from torch.utils._python_dispatch import TorchDispatchMode

from samvlm.model import chunked_attention
from samvlm.model.attention import PATHS, relative_attention
from samvlm.model.relative_positions import relative_table

GRIDS = [(64, 20), (17, 64), (14, 14), (4, 4), (1, 5), (1, 1)]


def inputs(grid, head_dim=64, heads=2, batch=2, full=64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    tokens = grid[0] * grid[1]
    qkv = [1.5 * torch.randn(batch, heads, tokens, head_dim, generator=generator) for _ in range(3)]
    tables = [0.3 * torch.randn(2 * full - 1, head_dim, generator=generator) for _ in range(2)]
    return [*qkv, *tables]


class LargestTensor(TorchDispatchMode):
    """The number of elements of the largest tensor that any operation returned."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for item in result if isinstance(result, (tuple, list)) else [result]:
            if torch.is_tensor(item):
                self.elements = max(self.elements, item.numel())
        return result


def definition(query, key, value, rel_pos_h, rel_pos_w, grid):
    """Entry by entry, as Li et al. (2022) write it."""
    height, width = grid
    middle_h, middle_w = rel_pos_h.shape[0] // 2, rel_pos_w.shape[0] // 2
    output = torch.empty_like(query)
    for i in range(height * width):
        logits = []
        for j in range(height * width):
            rows, columns = i // width - j // width, i % width - j % width
            bias = rel_pos_h[middle_h + rows] + rel_pos_w[middle_w + columns]
            logits.append((query[..., i, :] * (key[..., j, :] * query.shape[-1] ** -0.5 + bias)).sum(-1))
        weights = torch.stack(logits, -1).softmax(-1)
        output[..., i, :] = (weights.unsqueeze(-1) * value).sum(-2)
    return output


def test_plain_is_the_definition():
    parts = inputs((3, 5), head_dim=8, full=6)
    assert relative_error(relative_attention(*parts, (3, 5), "plain"), definition(*parts, (3, 5))) < 1e-6


@pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: f"{grid[0]}x{grid[1]}")
@pytest.mark.parametrize("path", ["bias", "chunked", "folded", "auto"])
def test_paths_agree(path, grid):
    parts = inputs(grid, head_dim=64 if grid[0] > 4 else 80)
    plain = relative_attention(*parts, grid, "plain")
    assert relative_error(relative_attention(*parts, grid, path), plain) < 2e-6


@pytest.mark.parametrize("head_dim", [64, 80, 20])
def test_chunks_that_do_not_divide_the_tokens(head_dim, monkeypatch):
    monkeypatch.setattr(chunked_attention, "CHUNK_ELEMENTS", 100 * 187)
    parts = inputs((17, 11), head_dim)
    plain = relative_attention(*parts, (17, 11), "plain")
    for path in ("chunked", "folded"):
        assert relative_error(relative_attention(*parts, (17, 11), path), plain) < 2e-6


@pytest.mark.parametrize("grid", [(17, 9), (40, 33)], ids=str)
@pytest.mark.parametrize("path", ["bias", "chunked", "folded", "auto"])
def test_gradients_agree(path, grid, monkeypatch):
    monkeypatch.setattr(
        chunked_attention, "CHUNK_ELEMENTS", 50 * grid[0] * grid[1]
    )  # the last chunk is short

    def gradients(path):
        parts = [t.requires_grad_() for t in inputs(grid, head_dim=32, batch=1, full=48)]
        output = relative_attention(*parts, grid, path)
        output.backward(torch.randn(output.shape, generator=torch.Generator().manual_seed(1)))
        return [t.grad for t in parts]

    for found, expected in zip(gradients(path), gradients("plain"), strict=True):
        assert relative_error(found, expected) < 1e-5


@pytest.mark.parametrize("trained", range(5))
def test_auto_keeps_every_gradient(trained):
    """Also where only a position table trains, as in LoRA beside trainable tables."""
    parts = inputs((40, 33), head_dim=8, heads=1, batch=1)
    parts[trained].requires_grad_()
    relative_attention(*parts, (40, 33), "auto").sum().backward()
    assert parts[trained].grad is not None


def test_light_paths_never_hold_all_pairs():
    grid = (64, 64)
    pairs = 4096 * 4096
    parts = inputs(grid, head_dim=16, heads=1, batch=1)
    largest = {}
    for path in ("plain", "chunked", "folded", "auto"):
        with torch.no_grad(), LargestTensor() as probe:
            relative_attention(*parts, grid, path)
        largest[path] = probe.elements
    assert largest["plain"] >= pairs  # the probe sees such a tensor
    assert largest["chunked"] == largest["auto"] == chunked_attention.CHUNK_ELEMENTS
    assert largest["folded"] <= pairs // 16


def test_training_never_holds_all_pairs():
    parts = [t.requires_grad_() for t in inputs((64, 64), head_dim=16, heads=1, batch=1)]
    with LargestTensor() as probe:
        relative_attention(*parts, (64, 64), "auto").sum().backward()
    assert probe.elements <= 4096 * 4096 // 16


@pytest.mark.parametrize("trained", range(5))
def test_chunks_in_bfloat16_learn_as_exactly_as_the_definition(trained):
    """Scores in fp32: the error is below the plain path's, whose scores are rounded."""

    def gradient(path, dtype):
        parts = [t.to(dtype) for t in inputs((17, 9), head_dim=32, batch=1, full=24)]
        parts[trained].requires_grad_()
        output = relative_attention(*parts, (17, 9), path)
        output.backward(torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(dtype))
        return parts[trained].grad.double()

    exact = gradient("plain", torch.float64)
    error, plain = (relative_error(gradient(path, torch.bfloat16), exact) for path in ("chunked", "plain"))
    assert error < plain


def test_chunks_have_no_second_derivative():
    parts = [t.requires_grad_() for t in inputs((4, 4), head_dim=8, full=4)]
    output = relative_attention(*parts, (4, 4), "chunked").square().sum()
    (gradient,) = torch.autograd.grad(output, parts[0], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_grid_beyond_the_table():
    with pytest.raises(ValueError, match="9 positions exceed the 8"):
        relative_table(torch.zeros(15, 4), 9)


@pytest.mark.parametrize("path", sorted(PATHS))
def test_bfloat16(path):
    parts = inputs((40, 33), head_dim=32, batch=1)
    exact = relative_attention(*parts, (40, 33), "plain")
    rounded = relative_attention(*(t.bfloat16() for t in parts), (40, 33), path)
    assert rounded.dtype == torch.bfloat16
    assert relative_error(rounded.float(), exact) < 4e-2
