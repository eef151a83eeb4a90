"""The tower's fast way on CPUs: the layers' numbers, and out of the way wherever somebody changed a layer."""

import copy

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from sam_reference import random_tower, relative_error

from samvlm.model import cpu_path, modeling_sam_vision, native_attention, onednn, vision_layers

SMALL = {
    "embed_dim": 64,
    "num_attention_heads": 2,
    "num_hidden_layers": 3,
    "mlp_dim": 160,
    "output_channels": 32,
}
SMALL |= {"image_size": 1120, "window_size": 14, "global_attn_indexes": [1]}
GRIDS = [(64, 20), (17, 64), (1, 1), (1, 5), (70, 70), (14, 14)]


@pytest.fixture(params=["fused kernel", "PyTorch alone", "no oneDNN"])
def way(request, monkeypatch):
    """Machines with and without a compiled kernel and oneDNN."""
    if request.param == "fused kernel" and native_attention.library() is None:
        pytest.skip("samvlm was installed without a C++ compiler")
    if request.param != "fused kernel":
        monkeypatch.setattr(cpu_path, "kernel_works", lambda dtype: False)
    if request.param == "no oneDNN":
        monkeypatch.setattr(onednn, "works", lambda dtype: False)
    return request.param


@pytest.fixture
def served(monkeypatch) -> list[bool]:
    """What `serves` answered."""
    answers = []
    serves = cpu_path.serves

    def listen(*arguments):
        answers.append(serves(*arguments))
        return answers[-1]

    monkeypatch.setattr(modeling_sam_vision, "serves", listen)
    return answers


def image(grid=(20, 33), batch=1, seed=0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 3, 16 * grid[0], 16 * grid[1], generator=generator)


def plainly(tower, pixels) -> torch.Tensor:
    """What the layers make of it, with none of the kernels."""
    with pytest.MonkeyPatch.context() as patch, torch.enable_grad():
        patch.setattr(vision_layers, "serves", lambda *parts: False)
        return tower(pixels.clone().requires_grad_()).last_hidden_state.detach()


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_it_is_what_the_layers_compute(grid, way, served):
    tower = random_tower(1, **SMALL)
    for batch in (1, 3):
        pixels = image(grid, batch)
        with torch.no_grad():
            found = tower(pixels).last_hidden_state
        assert relative_error(found, plainly(tower, pixels)) < 3e-6
    assert served == [True, False] * 2


@pytest.mark.parametrize(
    "heads", [{"num_attention_heads": 1}, {"embed_dim": 160}, {"embed_dim": 66}], ids=str
)
def test_heads_of_any_size(heads, way):
    tower, pixels = random_tower(2, **SMALL | heads), image()
    with torch.inference_mode():
        found = tower(pixels).last_hidden_state
    assert relative_error(found, plainly(tower, pixels)) < 3e-6


def test_bfloat16_loses_less_than_the_layers_do(way):
    tower, pixels = random_tower(3, **SMALL), image((30, 40))
    exact = plainly(tower, pixels)
    tower.bfloat16()
    slow = plainly(tower, pixels.bfloat16()).float()
    with torch.no_grad():
        found = tower(pixels.bfloat16()).last_hidden_state
    assert found.dtype == torch.bfloat16
    assert relative_error(found.float(), exact) < 0.9 * relative_error(slow, exact)


def test_states_are_those_of_the_layers(way):
    tower, pixels = random_tower(4, **SMALL), image((20, 36))
    with torch.enable_grad():
        wanted = tower(pixels.clone().requires_grad_(), output_hidden_states=True).hidden_states
    with torch.no_grad():
        found = tower(pixels, output_hidden_states=True).hidden_states
        some = tower(pixels, output_hidden_states=[1, -1]).hidden_states
    assert len(found) == len(wanted) and [state is None for state in some] == [True, False, True, True, False]
    for ours, right in zip(found, wanted, strict=True):
        assert relative_error(ours, right) < 3e-6
    assert torch.equal(some[1], found[1])


def test_an_image_alone_and_in_company_are_equal(way):
    tower, pixels = random_tower(5, **SMALL), image(batch=3)
    with torch.no_grad():
        together, alone = tower(pixels).last_hidden_state, tower(pixels[1:2]).last_hidden_state
    assert relative_error(together[1:2], alone) < 1e-6


def test_nothing_is_changed_or_kept(way):
    tower, pixels = random_tower(6, **SMALL), image()
    before, weights = pixels.clone(), copy.deepcopy(tower.state_dict())
    with torch.no_grad():
        first = tower(pixels).last_hidden_state
        assert torch.equal(tower(pixels).last_hidden_state, first)
    assert torch.equal(pixels, before)
    assert tower.state_dict().keys() == weights.keys()
    assert all(torch.equal(value, weights[name]) for name, value in tower.state_dict().items())
    with torch.no_grad():
        assert torch.equal(copy.deepcopy(tower)(pixels).last_hidden_state, first)


def test_new_weights_count_at_once(way):
    tower, pixels = random_tower(7, **SMALL), image()
    with torch.no_grad():
        tower(pixels)
    for parameter in tower.parameters():
        parameter.data.mul_(1.1)  # not even PyTorch's version counter sees this
    with torch.no_grad():
        found = tower(pixels).last_hidden_state
    assert relative_error(found, plainly(tower, pixels)) < 3e-6


def test_hooks_are_called(served):
    tower, seen = random_tower(8, **SMALL), []
    handle = tower.layers[1].mlp.lin1.register_forward_hook(lambda *arguments: seen.append(1))
    with torch.no_grad():
        tower(image())
        assert seen and served == [False]
        handle.remove()
        tower(image())
    assert served == [False, True] and len(seen) == 1


def test_adapters_count(served):
    tower, pixels = random_tower(9, **SMALL), image()
    with torch.no_grad():
        plain = tower(pixels).last_hidden_state
    inject_adapter_in_model(LoraConfig(target_modules=["qkv"], init_lora_weights=False), tower.eval())
    with torch.no_grad():
        adapted = tower(pixels).last_hidden_state
    assert served == [True, False] and relative_error(adapted, plain) > 1e-2


@pytest.mark.parametrize("change", ["eager", "plain", "float64", "float16", "autocast", "relu"])
def test_it_stays_away(change, served):
    settings = {"plain": {"attention_path": "plain"}, "relu": {"hidden_act": "relu"}}.get(change, {})
    tower, pixels = random_tower(10, **SMALL | settings), image()
    if change == "eager":
        tower.config._attn_implementation = "eager"
    if change.startswith("float"):
        tower.to(getattr(torch, change))
        pixels = pixels.to(getattr(torch, change))
    with torch.no_grad(), torch.autocast("cpu", enabled=change == "autocast"):
        assert tower(pixels).last_hidden_state.isfinite().all()
    assert served == [False]


def test_a_frozen_tower_in_training_takes_it(served):
    tower = random_tower(11, **SMALL).requires_grad_(False).train()
    assert not tower(image()).last_hidden_state.requires_grad
    assert served == [True]


@pytest.mark.parametrize("fault", ["missing", "wrong", "refuses"])
def test_onednn_is_tried_before_it_is_trusted(fault, monkeypatch):
    class Operator:
        def __call__(self, x, weight, *rest):
            if fault == "refuses":
                raise RuntimeError("not on this machine")
            return torch.zeros(len(x), len(weight))

    operators = type("operators", (), {} if fault == "missing" else {"_linear_pointwise": Operator()})
    monkeypatch.setattr(torch.ops, "mkldnn", operators)
    assert not onednn.works.__wrapped__(torch.float32)


def test_onednn_works_here():
    assert onednn.works(torch.float32) and onednn.works(torch.bfloat16) and not onednn.works(torch.float64)
