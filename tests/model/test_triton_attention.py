"""The Triton kernels give the numbers of the plain path: on a GPU compiled, elsewhere in Triton's interpreter."""

from importlib.util import find_spec

import pytest
import torch
from sam_reference import random_tower, relative_error

from samvlm.model import triton_attention
from samvlm.model.attention import relative_attention
from samvlm.model.relative_positions import window_terms
from samvlm.model.triton_attention import fit, relative_terms_op, row_attention, strided

pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture(autouse=True)
def interpreter(monkeypatch):
    """Without a GPU the kernels are interpreted, with larger tiles, which saves turns."""
    if DEVICE == "cpu":
        monkeypatch.setattr(triton_attention, "LAUNCH_FP32", (128, 4, 1))


def inputs(grid, head_dim=16, heads=1, batch=1, full=70, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    joint = 1.5 * torch.randn(batch, grid[0] * grid[1], 3, heads, head_dim, generator=generator)
    tables = [0.3 * torch.randn(2 * full - 1, head_dim, generator=generator) for _ in range(2)]
    parts = [*joint.permute(2, 0, 3, 1, 4).unbind(0), *tables]
    return [part.to(DEVICE, dtype) for part in parts]


slow = pytest.mark.slow
CASES = [
    pytest.param((64, 20), 1, 16, 1, marks=slow),
    pytest.param((17, 64), 1, 64, 1, marks=slow),
    ((9, 14), 3, 80, 2),
    ((1, 1), 3, 64, 1),
    ((5, 70), 1, 20, 1),
    ((3, 33), 3, 80, 1),
]


@pytest.mark.parametrize(("grid", "batch", "head_dim", "heads"), CASES, ids=str)
def test_whole_grids(grid, batch, head_dim, heads):
    parts = inputs(grid, head_dim, heads, batch)
    found = relative_attention(*parts, grid, "triton")
    assert relative_error(found, relative_attention(*parts, grid, "plain")) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("grid", [(70, 70), (2, 64)], ids=str)
def test_large_grids(grid, monkeypatch):
    if DEVICE == "cpu":
        monkeypatch.setattr(triton_attention, "LAUNCH_FP32", (1024, 4, 1))
    parts = inputs(grid)
    found = relative_attention(*parts, grid, "triton")
    assert relative_error(found, relative_attention(*parts, grid, "plain")) < 1e-5


@pytest.mark.parametrize(("grid", "batch", "head_dim", "heads"), [*CASES[2:], ((9, 20), 1, 64, 2)], ids=str)
def test_gradients(grid, batch, head_dim, heads):
    def gradients(path):
        parts = [part.clone().requires_grad_() for part in inputs(grid, head_dim, heads, batch)]
        output = relative_attention(*parts, grid, path)
        output.backward(torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(DEVICE))
        return [part.grad for part in parts]

    for found, expected in zip(gradients("triton"), gradients("plain"), strict=True):
        # of a single key nothing flows back through the weights: their gradient is zero up to rounding
        assert (found - expected).norm() < 1e-4 * expected.norm() + 1e-4 * (grid == (1, 1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_sixteen_bits(dtype):
    """As near to the exact numbers as the plain path in the same type."""
    if dtype == torch.bfloat16 and DEVICE == "cpu":
        pytest.skip("Triton's interpreter multiplies bfloat16 as whole numbers")

    def results(path, to):
        parts = [part.to(to).requires_grad_() for part in inputs((7, 20), 64, heads=2, dtype=dtype)]
        output = relative_attention(*parts, (7, 20), path)
        output.backward(torch.ones_like(output))
        return [output.detach(), *(part.grad for part in parts)]

    triples = zip(
        results("triton", dtype), results("plain", dtype), results("plain", torch.float32), strict=True
    )
    for found, plain, exact in triples:
        assert found.dtype == dtype
        assert relative_error(found.float(), exact) < 1.5 * relative_error(plain.float(), exact) + 1e-3


BEYOND = [
    ((9, 11), 14, 2),
    ((11, 3), 5, 2),
    pytest.param((3, 24), 20, 1, marks=slow),
]


@pytest.mark.parametrize(("grid", "window", "batch"), BEYOND, ids=str)
def test_windows_that_reach_beyond_the_grid(grid, window, batch):
    """Against the same windows cut out and padded one by one."""
    generator = torch.Generator().manual_seed(5)
    pads = [torch.randn(2, 16, generator=generator).to(DEVICE) for _ in range(2)]
    parts = inputs(grid, heads=2, batch=batch, full=window)
    leaves = [leaf.clone().requires_grad_() for leaf in (*parts, *pads)]
    output = row_attention(*leaves[:5], grid, window, *leaves[5:])
    upstream = torch.randn(output.shape, generator=generator).to(DEVICE)
    found = torch.autograd.grad(output, leaves, upstream)

    again = [leaf.clone().requires_grad_() for leaf in (*parts, *pads)]
    by_place = [part.unflatten(2, grid) for part in again[:3]]
    expected = torch.zeros_like(by_place[0])
    for top in range(0, grid[0], window):
        for left in range(0, grid[1], window):
            cut = [part[:, :, top : top + window, left : left + window] for part in by_place]
            height, width = cut[0].shape[2:4]
            whole = [part.new_zeros(batch, 2, window, window, 16) for part in cut]
            for number, pad in enumerate((None, again[5], again[6])):
                if pad is not None:
                    whole[number] = whole[number] + pad[:, None, None]
                whole[number][:, :, :height, :width] = cut[number]
            whole = [part.flatten(2, 3) for part in whole]
            inner = relative_attention(*whole, *again[3:5], (window, window), "plain")
            inner = inner.unflatten(2, (window, window))[:, :, :height, :width]
            expected[:, :, top : top + window, left : left + window] = inner
    expected = expected.flatten(2, 3)
    assert relative_error(output, expected) < 1e-5
    for mine, right in zip(found, torch.autograd.grad(expected, again, upstream), strict=True):
        assert relative_error(mine, right) < 1e-4


def test_terms_without_gradients_are_those_with():
    query, _, _, *tables = inputs((3, 70), 20, heads=2)
    for sizes in ((3, 70), (2, 2), (2, 64)):
        own = [table[70 - size : 69 + size] for table, size in zip(tables, sizes, strict=True)]
        found = relative_terms_op(query, *own, 3, 70)
        for mine, right in zip(found, window_terms(query, *own, 3, 70), strict=True):
            assert relative_error(mine, right) < 1e-5


TOWER = {
    "embed_dim": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_dim": 48, "image_size": 256,
    "output_channels": 24, "window_size": 5, "global_attn_indexes": [1],
}  # fmt: skip


@pytest.mark.parametrize(
    ("size", "batch", "bias"), [((176, 48), 1, True), ((48, 96), 3, True), ((96, 80), 1, False)]
)
def test_in_the_tower_with_gradients(size, batch, bias):
    """Windows with padding, without, and without a bias; every parameter."""
    tower = random_tower(**TOWER, qkv_bias=bias).to(DEVICE)
    pixels = torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(2)).to(DEVICE)
    results = {}
    for path in ("plain", "triton"):
        tower.config.attention_path = path
        tower.zero_grad()
        features = tower(pixels).last_hidden_state
        features.square().mean().backward()
        results[path] = [features.detach(), *(parameter.grad for parameter in tower.parameters())]
        with torch.no_grad():
            assert relative_error(tower(pixels).last_hidden_state, results["plain"][0]) < 1e-5
    for found, right in zip(results["triton"], results["plain"], strict=True):
        assert relative_error(found, right) < 1e-4


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize("train", [pytest.param(False, marks=slow), True])
def test_compile_takes_the_operators_whole(train):
    tower = random_tower(**TOWER, attention_path="triton").to(DEVICE)
    compiled = torch.compile(tower, backend="aot_eager", fullgraph=True)
    pixels = torch.randn(1, 3, 96, 80, generator=torch.Generator().manual_seed(2)).to(DEVICE)
    with torch.set_grad_enabled(train):
        expected, found = tower(pixels).last_hidden_state, compiled(pixels).last_hidden_state
    assert relative_error(found, expected) < 1e-5
    if train:
        found.square().mean().backward()
        mine = [parameter.grad.clone() for parameter in tower.parameters()]
        tower.zero_grad()
        expected.square().mean().backward()
        for grad, parameter in zip(mine, tower.parameters(), strict=True):
            assert relative_error(grad, parameter.grad) < 1e-5


def test_the_operators_keep_their_promises():
    """Shapes, strides and aliases as torch.compile is told; gradients through the autograd key."""
    parts = [part.requires_grad_() for part in inputs((3, 6), 16, heads=2)]
    query, key, value, *tables = parts
    own = [table[70 - 4 : 69 + 4].detach() for table in tables]
    terms = [term.requires_grad_() for term in window_terms(query.detach(), *own, 3, 6)]
    pads = [torch.randn(2, 16, device=DEVICE, requires_grad=True) for _ in range(2)]
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    arguments = (query, key, value, *terms, *pads, 3, 6, 4, 4)
    torch.library.opcheck(triton_attention.attention_op, arguments, test_utils=checks)
    torch.library.opcheck(relative_terms_op, (query.detach(), *own, 3, 6), test_utils=checks)


def test_blocks_are_rows_of_the_image():
    assert [fit(columns) for columns in (14, 16, 20, 33, 64, 70)] == [
        (4, 16), (4, 16), (2, 32), (1, 64), (1, 64), (1, 64),
    ]  # fmt: skip


def test_what_the_projection_left_is_not_copied():
    query, key, value, *_ = inputs((3, 6), 16, heads=2)
    same, strides = strided([query, key, value])
    assert all(a is b for a, b in zip(same, (query, key, value), strict=True))
    assert strides == (18 * 3 * 32, 16, 3 * 32)
    copied, strides = strided([query, key.contiguous(), value])
    assert strides == (2 * 18 * 16, 18 * 16, 16) and torch.equal(copied[0], query)
