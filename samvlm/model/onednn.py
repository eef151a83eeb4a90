"""Linear layers on CPUs by oneDNN, without gradients.

PyTorch's own fp32 products go to a BLAS whose fast kernels run on one maker's processors only; oneDNN, in the same
wheel, uses AVX-512 wherever it is (on an AMD EPYC 2.0-2.3 times as fast), and fuses GELU and the residual. The operators
are those that torch.compile uses, which are not promised to stay: they are tried at first use, and where they fail or
give other numbers PyTorch's public ones do the work.
"""

import logging
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

logger = logging.getLogger("samvlm.model")


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, gelu: bool = False) -> Tensor:
    """`x @ weight.T + bias`, then the exact GELU if `gelu`, without gradients.

    Args:
        x: (..., in_features), contiguous, in float32 or bfloat16.
        weight: (out_features, in_features) of the same dtype.
    """
    if x.device.type == "cpu" and works(x.dtype):
        attr, algorithm = ("gelu", "none") if gelu else ("none", "")
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, attr, [], algorithm)
    y = F.linear(x, weight, bias)
    return F.gelu(y) if gelu else y


def linear_add(x: Tensor, other: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`other + x @ weight.T + bias`; arguments as in `linear`, `other` as the result."""
    if x.device.type == "cpu" and works(x.dtype):
        return torch.ops.mkldnn._linear_pointwise(x, other, weight, bias, "add")
    return F.linear(x, weight, bias) + other


@cache
def works(dtype: torch.dtype) -> bool:
    """Whether oneDNN's operators are there and right for a dtype on this machine."""
    if dtype not in (torch.float32, torch.bfloat16):
        return False
    generator = torch.Generator().manual_seed(0)
    x, other, weight, bias = (
        torch.randn(*shape, generator=generator).to(dtype) for shape in ((33, 48), (33, 20), (20, 48), (20,))
    )
    tolerance = 1e-5 if dtype == torch.float32 else 3e-2
    try:
        with torch.no_grad():
            linear_op = torch.ops.mkldnn._linear_pointwise
            made = (
                linear_op(x, weight, bias, "none", [], ""),
                linear_op(x, weight, None, "gelu", [], "none"),
                linear_op(x, other, weight, bias, "add"),
            )
    except (RuntimeError, AttributeError, TypeError) as problem:
        logger.info("oneDNN's linear layers are not used: %s", str(problem).splitlines()[0])
        return False
    x, other, weight, bias = (t.double() for t in (x, other, weight, bias))
    right = (x @ weight.T + bias, F.gelu(x @ weight.T), other + x @ weight.T + bias)
    for found, wanted in zip(made, right, strict=True):
        if not bool(((found.double() - wanted).norm() / wanted.norm()) < tolerance):
            logger.warning("oneDNN's linear layers give wrong numbers in %s here and are not used", dtype)
            return False
    return True
