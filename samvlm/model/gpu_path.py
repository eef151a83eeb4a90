"""Which attention `attention_path="auto"` takes on a GPU.

The order is BY ESTIMATE until somebody has measured it (`python scripts/bench_tower.py --device cuda`). Time of the global
attention of ViT-B for one image on an H200 in bfloat16, by operations and bytes:

- triton  0.5-0.6 ms: the products of plain flash attention; windows are read where they lie, their padding is free;
- flex    0.8-1.0 ms: two look-ups a pair; its backward adds the terms' gradients atomically, so not to train with;
- folded  0.8-1.1 ms: two to three times the products, but in PyTorch's own flash kernels, forward and backward;
- bias    1.7-2.0 ms on the whole grid (the matrix is written and read), but cheap in windows.

So `auto` takes Triton's kernels. They are tried at first use on small inputs, with gradients if these are needed, and
where they fail (an old GPU, no compiler for Triton's launcher, a version that breaks) that is logged once and PyTorch's
operators do the work: "folded", in windows "bias". In float32 these are the first choice: exact products of fp32 gain
nothing from the kernels. FlexAttention is left to who asks for it: it compiles for each grid, while the tower runs.
Only the trial waits for the device.
"""

import logging

import torch
import torch.nn.functional as F
from torch import Tensor

from .relative_positions import full_bias, relative_terms
from .triton_attention import obstacle, row_attention

logger = logging.getLogger("samvlm.model")

DTYPES = (torch.bfloat16, torch.float16)
TOLERANCE = 1e-1  # relative L2; rounding to 16 bits makes 1e-3 to 3e-2 of it, a wrong kernel about 1
_tried: dict[tuple, bool] = {}


def best_path(device: torch.device, dtype: torch.dtype, head_dim: int, learns: bool) -> str | None:
    """The path to take on a GPU, or None where PyTorch's operators are.

    Args:
        device: of the tokens.
        dtype: of query, key and value.
        head_dim: width of a head.
        learns: whether gradients are needed.
    """
    if device.type != "cuda" or dtype not in DTYPES:
        return None
    return "triton" if works(str(device), dtype, head_dim, learns) else None


@torch.compiler.assume_constant_result
def works(device: str, dtype: torch.dtype, head_dim: int, learns: bool) -> bool:
    """Whether Triton's kernels give right numbers on a device; tried once a process."""
    case = (device, dtype, head_dim, learns)
    if case not in _tried:
        if torch.cuda.is_available() and torch.cuda.is_current_stream_capturing():
            return False  # a graph cannot hold the trial; who warms up first has made it
        _tried[case] = try_kernels(*case)
    return _tried[case]


def try_kernels(device: str, dtype: torch.dtype, head_dim: int, learns: bool) -> bool:
    """Compare them with the definition, on a wide grid and on a window that reaches beyond its grid."""
    try:
        problem = obstacle(torch.device(device).type, dtype)
        if problem is not None:
            logger.info("the tower's attention by Triton is not used: %s", problem)
            return False
        cases = (((3, 64), 0), ((3, 11), 14))
        error = max(error_of(device, dtype, head_dim, learns, *case) for case in cases)
    except Exception as failure:  # whatever a kernel's compiler or the driver may raise: the tower must run
        reason = (str(failure).splitlines() or [""])[0]
        logger.warning(
            "the tower's Triton kernels fail here and are not used: %s: %s", type(failure).__name__, reason
        )
        return False
    if not error < TOLERANCE:  # also NaN
        logger.warning(
            "the tower's Triton kernels give wrong numbers in %s on %s (relative error %.1e) and are not used",
            dtype, device, error,
        )  # fmt: skip
        return False
    return True


def error_of(
    device: str,
    dtype: torch.dtype,
    head_dim: int,
    learns: bool,
    grid: tuple[int, int],
    window: int,
) -> float:
    """The largest relative L2 distance to the definition, of the output and, if `learns`, of the gradients."""
    generator = torch.Generator().manual_seed(0)
    heads, whole = 2, (window, window) if window else grid
    draw = lambda *shape: torch.randn(shape, generator=generator).to(device, dtype)  # noqa: E731
    tokens = draw(3, 2, heads, *grid, head_dim)
    tables = [0.3 * draw(2 * size - 1, head_dim) for size in whole]
    pads = [draw(heads, head_dim) for _ in range(2)]
    upstream = draw(2, heads, grid[0] * grid[1], head_dim)

    def run(exact: bool) -> list[Tensor]:
        leaves = [
            (t.float() if exact else t).clone().requires_grad_(learns) for t in (tokens, *tables, *pads)
        ]
        parts, (rel_pos_h, rel_pos_w, *padding) = leaves[0], leaves[1:]
        if not exact:
            query, key, value = parts.flatten(3, 4).unbind(0)
            output = row_attention(query, key, value, rel_pos_h, rel_pos_w, grid, window, *padding)
        else:
            below, right = whole[0] - grid[0], whole[1] - grid[1]
            query = F.pad(parts[0], (0, 0, 0, right, 0, below)).flatten(2, 3)
            key, value = (
                place_in_window(part, pad, whole).flatten(2, 3)
                for part, pad in zip(parts[1:], padding, strict=True)
            )
            terms = relative_terms(query, rel_pos_h, rel_pos_w, whole)
            scores = query @ key.transpose(-2, -1) * head_dim**-0.5 + full_bias(*terms)
            output = scores.softmax(-1) @ value
            output = output.unflatten(2, whole)[:, :, : grid[0], : grid[1]].flatten(2, 3)
        if not learns:
            return [output]
        used = leaves if window else leaves[:3]
        return [output, *torch.autograd.grad(output, used, upstream.to(output.dtype))]

    with torch.inference_mode(False), torch.set_grad_enabled(learns), torch.autocast("cuda", enabled=False):
        pairs = zip(run(exact=False), run(exact=True), strict=True)
        return max(((found - right).norm() / right.norm()).item() for found, right in pairs)


def place_in_window(part: Tensor, pad: Tensor, whole: tuple[int, int]) -> Tensor:
    """(B, heads, H, W, head_dim) in the top left of a window that is `pad`, (heads, head_dim), elsewhere."""
    height, width = part.shape[2:4]
    padding = pad[:, None, None].expand(*part.shape[:2], *whole, -1)
    top = torch.cat([part, padding[:, :, :height, width:]], dim=3)
    return torch.cat([top, padding[:, :, height:]], dim=2)
