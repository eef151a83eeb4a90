"""The tower's attention as PyTorch's FlexAttention (Dong et al., 2024): the terms are added inside a generated kernel.

On a GPU the generated kernel is Triton's, forward and backward, though the terms' gradients go by atomic additions, one
a pair of tokens. On a CPU it is there for tests: there is no backward, outside torch.compile the whole matrix is
written down, and Inductor (PyTorch 2.13) refuses terms that the same graph computes, as it does in a compiled tower.
"""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor
from torch.nn.attention import flex_attention as flex

from .triton_attention import obstacle


def flex_path(
    query: Tensor, key: Tensor, value: Tensor, rel_h: Tensor, rel_w: Tensor, scale: float
) -> Tensor:
    """Exact attention; arguments as of the paths of attention.py.

    Raises:
        ValueError: gradients are needed on a CPU, or Triton, of which a GPU's kernel is made, is missing.
    """
    if query.device.type == "cpu":
        if torch.is_grad_enabled() and any(t.requires_grad for t in (query, key, value, rel_h, rel_w)):
            raise ValueError(
                'attention_path="flex" has no gradients on a CPU: use "auto", "bias" or "folded" to train there.'
            )
        return with_terms(query, key, value, rel_h, rel_w, scale)
    problem = obstacle(query.device.type, query.dtype)
    if problem is not None:
        raise ValueError(f'attention_path="flex" cannot run: {problem}. Use "auto" or "folded".')
    run = with_terms if torch.compiler.is_compiling() else compiled()
    return run(query, key, value, rel_h, rel_w, scale)


def with_terms(
    query: Tensor, key: Tensor, value: Tensor, rel_h: Tensor, rel_w: Tensor, scale: float
) -> Tensor:
    """FlexAttention with the terms looked up for each pair."""
    width = rel_w.shape[-1]

    def add_terms(score: Tensor, batch: Tensor, head: Tensor, here: Tensor, there: Tensor) -> Tensor:
        return score + rel_h[batch, head, here, there // width] + rel_w[batch, head, here, there % width]

    return flex.flex_attention(query, key, value, score_mod=add_terms, scale=scale)


@cache
def compiled() -> Callable[..., Tensor]:
    """`with_terms` with its kernel; without torch.compile it would write down the whole matrix."""
    return torch.compile(with_terms)
