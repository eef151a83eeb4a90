"""FlexAttention, the choice of a path, and what is said where one cannot run; on a GPU the real thing."""

import logging
from importlib.util import find_spec

import pytest
import torch
from sam_reference import random_tower, relative_error

from samvlm import SamVisionTowerConfig
from samvlm.model import attention, flex_path, gpu_path, triton_attention
from samvlm.model.attention import full_bias, relative_attention
from samvlm.model.configuration_samvlm import ATTENTION_PATHS

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
on_gpu = pytest.mark.skipif(DEVICE == "cpu", reason="needs a GPU")
needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
TOWER = {
    "embed_dim": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_dim": 48, "image_size": 256,
    "output_channels": 24, "window_size": 5, "global_attn_indexes": [1],
}  # fmt: skip


def inputs(grid, head_dim=16, heads=1, batch=1, full=70, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    tokens = grid[0] * grid[1]
    parts = [1.5 * torch.randn(batch, heads, tokens, head_dim, generator=generator) for _ in range(3)]
    parts += [0.3 * torch.randn(2 * full - 1, head_dim, generator=generator) for _ in range(2)]
    return [part.to(DEVICE, dtype) for part in parts]


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile:UserWarning")
@pytest.mark.parametrize("path", ["flex", "folded"])
@pytest.mark.parametrize(
    ("grid", "batch", "head_dim"),
    [
        ((64, 20), 1, 64),
        ((17, 64), 3, 80),
        ((1, 1), 3, 64),
        pytest.param((70, 70), 1, 8, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_paths_agree(path, grid, batch, head_dim):
    parts = inputs(grid, head_dim, batch=batch)
    found = relative_attention(*parts, grid, path)
    assert relative_error(found, relative_attention(*parts, grid, "plain")) < 1e-5


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile:UserWarning")
def test_gradients_of_flex(monkeypatch):
    """PyTorch refuses them on a CPU by name; the mathematics behind it is there to be tested."""
    if DEVICE == "cpu":
        monkeypatch.setattr(flex_path.flex, "_validate_device", lambda *tensors: None)
    run = flex_path.flex_path if DEVICE == "cuda" else flex_path.with_terms
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 2, 9 * 20, 16)] * 3 + [(2, 2, 9 * 20, 9), (2, 2, 9 * 20, 20)]
    parts = [torch.randn(shape, generator=generator).to(DEVICE) for shape in shapes]
    leaves = [part.clone().requires_grad_() for part in parts]
    again = [part.clone().requires_grad_() for part in parts]
    output = run(*leaves, 0.25)
    query, key, value, *terms = again
    expected = (0.25 * query @ key.transpose(-2, -1) + full_bias(*terms)).softmax(-1) @ value
    upstream = torch.randn(output.shape, generator=generator).to(DEVICE)
    found, right = (
        torch.autograd.grad(output, leaves, upstream),
        torch.autograd.grad(expected, again, upstream),
    )
    for mine, theirs in zip(found, right, strict=True):
        assert relative_error(mine, theirs) < 1e-4


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_compiler")
def test_compile_in_the_tower():
    """Traced whole; windows with padding and one global block."""
    tower = random_tower(**TOWER, attention_path="plain").to(DEVICE)
    pixels = torch.randn(3, 3, 176, 48, generator=torch.Generator().manual_seed(2)).to(DEVICE)
    with torch.no_grad():
        expected = tower(pixels).last_hidden_state
        tower.config.attention_path = "folded"
        found = torch.compile(tower, backend="aot_eager", fullgraph=True)(pixels).last_hidden_state
    assert relative_error(found, expected) < 1e-5


def test_a_path_that_does_not_exist():
    choices = "choose from " + ", ".join(ATTENTION_PATHS)
    with pytest.raises(ValueError, match=f"attention_path='fast' does not exist: {choices}"):
        SamVisionTowerConfig(attention_path="fast")
    tower = random_tower(**TOWER)
    tower.config.attention_path = "fast"  # past the configuration's own check
    with pytest.raises(ValueError, match=f"attention_path='fast' does not exist: {choices}"):
        tower(torch.zeros(1, 3, 64, 64))


def test_paths_that_cannot_run_on_a_cpu(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    parts = [part.cpu() for part in inputs((4, 4))]
    with pytest.raises(ValueError, match=r'"triton" cannot run.*Use "auto"'):
        relative_attention(*parts, (4, 4), "triton")
    with pytest.raises(ValueError, match=r'"flex" has no gradients on a CPU: use "auto"'):
        relative_attention(parts[0].requires_grad_(), *parts[1:], (4, 4), "flex")


def test_triton_says_what_it_misses(monkeypatch):
    monkeypatch.setattr(triton_attention.importlib.util, "find_spec", lambda name: None)
    assert "not installed" in triton_attention.obstacle("cuda", torch.bfloat16)
    monkeypatch.undo()
    if find_spec("triton"):
        assert "float64" in triton_attention.obstacle("cuda", torch.float64)
        assert triton_attention.obstacle("cuda", torch.bfloat16) is None


@pytest.fixture
def trials(monkeypatch):
    """An empty memory of trials, and what they answer."""
    answers = {"works": True}
    asked = []

    def answer(*case):
        asked.append(case)
        return answers["works"]

    monkeypatch.setattr(gpu_path, "_tried", {})
    monkeypatch.setattr(gpu_path, "try_kernels", answer)
    return answers, asked


def test_the_choice_on_a_gpu(trials):
    answers, asked = trials
    gpu = torch.device("cuda", 0)
    best = lambda dtype=torch.bfloat16, learns=False: gpu_path.best_path(gpu, dtype, 64, learns)  # noqa: E731
    assert best() == best(torch.float16) == best(learns=True) == "triton"
    assert best() == "triton" and len(asked) == 3  # tried once a case
    assert asked[0] == ("cuda:0", torch.bfloat16, 64, False)
    assert best(torch.float32) is None
    assert gpu_path.best_path(torch.device("cpu"), torch.bfloat16, 64, False) is None
    answers["works"] = False
    gpu_path._tried.clear()
    assert best() is None and best(learns=True) is None


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_compiler")
def test_the_choice_is_a_constant_to_the_compiler(trials, monkeypatch):
    """The trial runs while the tower is traced, once, and breaks no graph."""
    monkeypatch.setattr(attention, "best_path", lambda *case: "folded" if gpu_path.works(*case) else None)
    tower = random_tower(**TOWER)
    pixels = torch.randn(1, 3, 96, 80)
    with torch.inference_mode(False), torch.no_grad():
        expected = tower(pixels).last_hidden_state
        found = torch.compile(tower, backend="aot_eager", fullgraph=True)(pixels).last_hidden_state
    assert relative_error(found, expected) < 1e-5
    assert trials[1] == [(torch.device("cpu"), torch.float32, 16, False)]


@needs_triton
def test_the_trial_itself(monkeypatch, caplog):
    monkeypatch.setattr(triton_attention, "LAUNCH_FP32", (128, 4, 1))

    def said() -> list[str]:
        return [record.message for record in caplog.records if record.name == "samvlm.model"]

    assert gpu_path.try_kernels(DEVICE, torch.float32, 16, True)
    assert not said()
    with caplog.at_level(logging.WARNING, "samvlm.model"):
        monkeypatch.setattr(gpu_path, "row_attention", lambda query, *rest: query)
        assert not gpu_path.try_kernels(DEVICE, torch.float32, 16, False)
        monkeypatch.setattr(gpu_path, "row_attention", lambda *parts: 1 / 0)
        assert not gpu_path.try_kernels(DEVICE, torch.float32, 16, False)
    wrong, failed = said()
    assert "give wrong numbers" in wrong
    assert "fail here and are not used: ZeroDivisionError: division by zero" in failed


@on_gpu
@pytest.mark.parametrize("path", ["auto", "triton", "flex", "folded"])
@pytest.mark.parametrize("head_dim", [64, 80])
@pytest.mark.parametrize("batch", [1, 3])
def test_bfloat16_towers_on_a_gpu(path, head_dim, batch):
    """At the grid of 64 and at odd ones, with gradients; as near to fp32 as the plain path in bfloat16."""
    settings = TOWER | {"embed_dim": 2 * head_dim, "image_size": 1024, "window_size": 14}
    for size in ((1024, 320), (272, 1024), (16, 16)):
        pixels = torch.randn(batch, 3, *size, device="cuda")
        errors = {}
        for which in ("plain", path):
            tower = random_tower(**settings, attention_path="plain").cuda()
            exact = tower(pixels).last_hidden_state
            exact.square().mean().backward()
            right = [exact.detach(), *(p.grad.clone() for p in tower.parameters())]
            tower.zero_grad()
            tower.bfloat16().config.attention_path = which
            features = tower(pixels.bfloat16()).last_hidden_state
            features.float().square().mean().backward()
            found = [features.detach(), *(p.grad for p in tower.parameters())]
            errors[which] = [relative_error(a.float(), b) for a, b in zip(found, right, strict=True)]
        for mine, plain in zip(errors[path], errors["plain"], strict=True):
            assert mine < 1.5 * plain + 2e-3


@on_gpu
def test_no_wait_no_matrix_and_a_graph():
    """After the first use: no synchronisation, memory far from all pairs, and a CUDA graph holds the forward."""
    tower = random_tower(**TOWER | {"embed_dim": 128, "image_size": 1024}).cuda().bfloat16()
    pixels = torch.randn(1, 3, 1024, 1024, device="cuda").bfloat16()
    with torch.inference_mode():
        expected = tower(pixels).last_hidden_state
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        torch.cuda.set_sync_debug_mode("error")
        try:
            tower(pixels)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert torch.cuda.max_memory_allocated() - before < 2 * 4096 * 4096  # one head's matrix is 32 MiB
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            captured = tower(pixels).last_hidden_state
        graph.replay()
        torch.cuda.synchronize()
    assert relative_error(captured.float(), expected.float()) < 1e-3
