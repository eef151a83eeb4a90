"""fp32 masters of bf16 weights, the state's round trip, and which parameters go where."""

import pytest
import torch
from readers import build_reader
from torch import nn

from training.optimizers import MasterWeights, parameter_groups


def small(dtype: torch.dtype) -> nn.Sequential:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(8, 16), nn.LayerNorm(16), nn.Linear(16, 4))
    with torch.no_grad():
        for parameter in model.parameters():  # values that bf16 holds exactly
            parameter.copy_(parameter.bfloat16())
    return model.to(dtype)


def optimizer_of(model: nn.Module, muon: bool, rate: float = 1e-4) -> MasterWeights:
    return MasterWeights(parameter_groups(model, lambda name: rate, 0.01, muon))


def gradients(step: int) -> list[torch.Tensor]:
    """The same for every run, and exact in bf16."""
    generator = torch.Generator().manual_seed(step)
    return [
        (1 + torch.randn(p.shape, generator=generator)).bfloat16() for p in small(torch.float32).parameters()
    ]


def train(model: nn.Module, optimizer: MasterWeights, steps: range) -> None:
    for step in steps:
        for parameter, gradient in zip(model.parameters(), gradients(step), strict=True):
            parameter.grad = gradient.to(parameter.dtype)
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("muon", [False, True])
def test_bf16_weights_follow_an_fp32_run(muon):
    exact, rounded = small(torch.float32), small(torch.bfloat16)
    start = [p.detach().clone() for p in exact.parameters()]
    train(exact, optimizer_of(exact, muon), range(50))
    train(rounded, optimizer_of(rounded, muon), range(50))
    for first, wanted, found in zip(start, exact.parameters(), rounded.parameters(), strict=True):
        assert torch.equal(found, wanted.bfloat16())
        assert not torch.equal(wanted, first)

    stuck = small(torch.bfloat16)  # the reason for the masters: steps of 1e-4 vanish in weights of 8 bits
    plain = torch.optim.AdamW(stuck.parameters(), lr=1e-4)
    train(stuck, plain, range(50))
    assert torch.equal(stuck[1].weight, small(torch.bfloat16)[1].weight)
    assert not torch.equal(rounded[1].weight, stuck[1].weight)


@pytest.mark.parametrize("muon", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_state_goes_round_and_the_run_goes_on_bit_for_bit(muon, dtype, tmp_path):
    whole = small(dtype)
    train(whole, optimizer_of(whole, muon), range(20))

    first = small(dtype)
    optimizer = optimizer_of(first, muon)
    train(first, optimizer, range(8))
    torch.save({"model": first.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "state.pt")

    second = small(dtype)
    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    second.load_state_dict(saved["model"])
    resumed = optimizer_of(second, muon)
    resumed.load_state_dict(saved["optimizer"])
    train(second, resumed, range(8, 20))
    for wanted, found in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.equal(wanted, found)


def test_a_saved_state_does_not_follow_the_run():
    model = small(torch.bfloat16)
    optimizer = optimizer_of(model, False)
    train(model, optimizer, range(2))
    state = optimizer.state_dict()
    kept = [master.clone() for master in state["masters"]]
    train(model, optimizer, range(2, 20))
    assert all(torch.equal(a, b) for a, b in zip(state["masters"], kept, strict=True))


def test_the_schedule_reaches_the_inner_optimizers_after_a_resume_too():
    model = small(torch.bfloat16)
    optimizer = optimizer_of(model, True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
    train(model, optimizer, range(1))
    schedule.step()
    rates = {group["lr"] for inner in optimizer.inner for group in inner.param_groups}
    assert rates == {0.5e-4}
    optimizer.load_state_dict(optimizer.state_dict())
    schedule.step()
    rates = {group["lr"] for inner in optimizer.inner for group in inner.param_groups}
    assert rates == {0.25e-4}


def test_a_state_of_another_stage_is_refused():
    model = small(torch.bfloat16)
    state = optimizer_of(model, True).state_dict()
    model[0].weight.requires_grad_(False)
    with pytest.raises(ValueError, match="belongs to another stage"):
        optimizer_of(model, True).load_state_dict(state)
    with pytest.raises(ValueError, match="belongs to another stage"):
        optimizer_of(small(torch.bfloat16), False).load_state_dict(state)


def test_a_parameter_without_gradient_stays():
    model = small(torch.bfloat16)
    optimizer = optimizer_of(model, True, rate=0.1)
    before = model[0].weight.clone()
    model[2].weight.grad = torch.ones_like(model[2].weight)
    optimizer.step()
    assert torch.equal(model[0].weight, before)
    assert not torch.equal(model[2].weight, small(torch.bfloat16)[2].weight)


def test_nothing_to_train_is_told():
    model = small(torch.float32).requires_grad_(False)
    with pytest.raises(ValueError, match=r"stage\.train"):
        optimizer_of(model, False)


@pytest.mark.parametrize("tied", [True, False])
def test_muon_gets_the_hidden_matrices_and_nothing_else(tied):
    model, _ = build_reader({"tie_word_embeddings": tied}, dense=True)
    names = {id(p): name for name, p in model.named_parameters()}
    groups = parameter_groups(model, lambda name: 1.0 if "vision_tower" in name else 2.0, 0.1, muon=True)
    placed = {names[id(p)]: group for group in groups for p in group["params"]}
    assert sorted(placed) == sorted(names.values())
    tower = ["attn.qkv.weight", "attn.proj.weight", "mlp.lin1.weight", "mlp.lin2.weight"]
    decoder = [f"self_attn.{x}_proj.weight" for x in "qkvo"] + [
        f"mlp.{x}_proj.weight" for x in ("gate", "up", "down")
    ]
    hidden = {f"model.vision_tower.layers.{i}.{name}" for i in range(2) for name in tower}
    hidden |= {f"model.language_model.layers.{i}.{name}" for i in range(2) for name in decoder}
    hidden |= {f"model.multi_modal_projector.layers.{i}.weight" for i in range(2)}
    assert {name for name, group in placed.items() if group["muon"]} == hidden
    for name, group in placed.items():
        assert group["lr"] == (1.0 if "vision_tower" in name else 2.0)
        plain = name.endswith("bias") or "norm" in name or "pos" in name
        assert group["weight_decay"] == (0.0 if plain else 0.1), name
    assert not any(group["muon"] for group in parameter_groups(model, lambda name: 1.0, 0.1, muon=False))
