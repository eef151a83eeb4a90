"""Parameters of which each process may hold a part (ZeRO-3, FSDP): the part, the whole, and all of a model's."""

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.tensor import DTensor


def is_sharded(parameter: torch.Tensor) -> bool:
    """Whether a parameter is spread over processes."""
    return isinstance(parameter, DTensor) or hasattr(parameter, "ds_tensor")


@torch.no_grad()
def part_here(parameter: torch.Tensor) -> torch.Tensor:
    """What this process holds of a parameter."""
    if isinstance(parameter, DTensor):
        return parameter.to_local()
    return parameter.ds_tensor if hasattr(parameter, "ds_tensor") else parameter.detach()


@torch.no_grad()
def whole(parameter: torch.Tensor) -> torch.Tensor:
    """The whole parameter; where it is spread, all processes have to ask together."""
    if isinstance(parameter, DTensor):
        return parameter.full_tensor()
    if hasattr(parameter, "ds_tensor"):
        from deepspeed.runtime.zero import GatheredParameters

        with GatheredParameters([parameter]):
            return parameter.detach().clone()
    return parameter.detach()


def whole_weights(
    model: nn.Module, keep: bool, dtype: torch.dtype | None = None
) -> dict[str, torch.Tensor] | None:
    """A model's state dict with whole tensors, on the CPU. All processes have to ask together.

    Args:
        keep: whether this process wants it; the others get None.
        dtype: of floating-point parameters; default: as they are.
    """
    state, seen = {}, {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if id(parameter) not in seen:  # tied weights are one tensor
            tensor = whole(parameter)
            if keep:
                kind = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
                tensor = tensor.to("cpu", kind)
            seen[id(parameter)] = tensor if keep else None
        state[name] = seen[id(parameter)]
    if not keep:
        return None
    return {
        name: state.get(name, value.detach().cpu() if isinstance(value, torch.Tensor) else value)
        for name, value in model.state_dict().items()
    }


def first_of_any(mine: str | None, sharded: bool) -> str | None:
    """The first process' answer that is none; processes with parts of their own ask together.

    Args:
        sharded: whether the processes hold different things; else this one's answer is everybody's.
    """
    if not sharded or not dist.is_initialized():
        return mine
    answers = [None] * dist.get_world_size()
    dist.all_gather_object(answers, mine)
    return next((answer for answer in answers if answer is not None), None)
