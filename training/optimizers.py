"""Muon for the matrices and AdamW for the rest, both on fp32 copies of bf16 weights."""

from collections.abc import Callable

import torch
from torch import nn


class MasterWeights(torch.optim.Optimizer):
    """AdamW, or Muon (Jordan et al., 2024; torch.optim.Muon) with AdamW for what is no hidden matrix.

    Weights in bf16 are stepped in fp32: a bf16 weight has 8 bits, and a step of a thousandth would be rounded away.

    Args:
        groups: parameter groups: `params`, `lr`, `weight_decay` and `muon` (bool).
        betas: of AdamW. momentum: of Muon.
    """

    def __init__(self, groups: list[dict], betas: tuple[float, float] = (0.9, 0.98), momentum: float = 0.95):
        groups = [group for group in groups if group["params"]]
        if not groups:
            raise ValueError("nothing to train: stage.train freezes every parameter.")
        self.pairs: list[tuple[torch.Tensor, torch.Tensor]] = []
        muon, adamw = [], []
        for group in groups:
            masters = [self._master(parameter) for parameter in group["params"]]
            settings = {"params": masters, "lr": group["lr"], "weight_decay": group["weight_decay"]}
            (muon if group["muon"] else adamw).append(settings)
        self.inner: list[torch.optim.Optimizer] = []
        if muon:
            self.inner.append(torch.optim.Muon(muon, momentum=momentum, adjust_lr_fn="match_rms_adamw"))
        if adamw:
            self.inner.append(torch.optim.AdamW(adamw, betas=betas))
        super().__init__([p for group in groups for p in group["params"]], {})
        # The schedulers see and change the inner groups themselves.
        self.param_groups = [group for optimizer in self.inner for group in optimizer.param_groups]

    def _master(self, parameter: nn.Parameter) -> torch.Tensor:
        if parameter.dtype == torch.float32:
            return parameter
        master = nn.Parameter(parameter.detach().float())
        self.pairs.append((parameter, master))
        return master

    @torch.no_grad()
    def step(self, closure: Callable | None = None):
        """One step of every part."""
        loss = None if closure is None else closure()
        for parameter, master in self.pairs:
            master.grad = None if parameter.grad is None else parameter.grad.float()
        for optimizer in self.inner:
            optimizer.step()
        for parameter, master in self.pairs:
            parameter.copy_(master)
            master.grad = None
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        for optimizer in self.inner:
            optimizer.zero_grad(set_to_none)
        for parameter, _ in self.pairs:
            parameter.grad = None

    def state_dict(self) -> dict:
        """The inner optimizers' states and the fp32 weights."""
        return {
            "inner": [optimizer.state_dict() for optimizer in self.inner],
            "masters": [master.detach().clone() for _, master in self.pairs],
        }

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict) -> None:
        """Continue where `state_dict` was taken. Raises ValueError where it is of another model or stage."""
        if len(state_dict["masters"]) != len(self.pairs) or len(state_dict["inner"]) != len(self.inner):
            raise ValueError("the optimizer state belongs to another stage: other parameters train there.")
        for optimizer, state in zip(self.inner, state_dict["inner"], strict=True):
            optimizer.load_state_dict(state)
        for (parameter, master), saved in zip(self.pairs, state_dict["masters"], strict=True):
            master.copy_(saved)
            parameter.copy_(saved)
        self.param_groups = [group for optimizer in self.inner for group in optimizer.param_groups]


def parameter_groups(
    model: nn.Module, rates: Callable[[str], float], weight_decay: float, muon: bool
) -> list[dict]:
    """Groups for [`MasterWeights`]: by learning rate, by decay (matrices only), by optimizer.

    Args:
        model: only parameters with `requires_grad` are taken.
        rates: name of a parameter -> its learning rate.
        weight_decay: for matrices and convolutions; biases, norms and positions have none.
        muon: whether hidden matrices go to Muon.
    """
    tables = {id(p) for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
    groups: dict[tuple, dict] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        hidden = parameter.ndim == 2 and id(parameter) not in tables
        hidden = hidden and not any(part in name for part in ("rel_pos_", "lm_head.", "training_heads."))
        decay = weight_decay if parameter.ndim >= 2 and "pos" not in name else 0.0
        key = (rates(name), decay, muon and hidden)
        group = groups.setdefault(key, {"params": [], "lr": key[0], "weight_decay": decay, "muon": key[2]})
        group["params"].append(parameter)
    return list(groups.values())
