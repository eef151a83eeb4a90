"""Attention with SAM's decomposed relative positions (Li et al., "MViTv2", 2022): six ways to the same numbers.

The logit of query (y, x) and key (y', x') is q·k·scale + q·Rh[y - y'] + q·Rw[x - x']. For 64x64 patches the sum of
the last two is a 4096x4096 matrix a head, 800 MB in fp32 for ViT-B, which only the small paths write down:

- `plain`    the definition, whole matrix, explicit softmax: the reference of the tests;
- `bias`     the same bias handed to scaled_dot_product_attention: best for windows and small images;
- `chunked`  a few query rows at a time (chunked_attention.py): large grids on CPUs;
- `folded`   q' = [q·scale, q·Rh, q·Rw], k' = [k, one-hot row, one-hot column]: plain attention whose kernels
             (flash, memory-efficient) need no bias at all: large grids compiled, and GPUs;
- `flex`     FlexAttention, the terms added inside a generated kernel (flex_path.py): GPUs;
- `triton`   kernels of our own, whose block of keys is one row of the image (triton_attention.py): GPUs.

`auto` takes chunked, bias or folded on a CPU (where inference has cpu_path.py before it), and on a GPU what
gpu_path.py finds working there.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .chunked_attention import chunked_attention
from .configuration_samvlm import ATTENTION_PATHS
from .flex_path import flex_path
from .gpu_path import best_path
from .relative_positions import full_bias, relative_terms
from .triton_attention import row_attention

SMALL_GRID = 1024  # up to this many tokens the bias is small (12 MiB a head at most) and written down


def plain_attention(
    query: Tensor, key: Tensor, value: Tensor, rel_h: Tensor, rel_w: Tensor, scale: float
) -> Tensor:
    """The definition: softmax(q·k·scale + bias)·v with everything written down."""
    scores = (query * scale) @ key.transpose(-2, -1) + full_bias(rel_h, rel_w)
    return scores.softmax(dim=-1, dtype=torch.float32).to(query.dtype) @ value


def bias_attention(
    query: Tensor, key: Tensor, value: Tensor, rel_h: Tensor, rel_w: Tensor, scale: float
) -> Tensor:
    """scaled_dot_product_attention with the bias as additive mask."""
    return F.scaled_dot_product_attention(query, key, value, attn_mask=full_bias(rel_h, rel_w), scale=scale)


def folded_attention(
    query: Tensor, key: Tensor, value: Tensor, rel_h: Tensor, rel_w: Tensor, scale: float
) -> Tensor:
    """The bias folded into longer queries and keys, so that any attention kernel computes it."""
    height, width = rel_h.shape[-1], rel_w.shape[-1]
    rows, columns = (torch.eye(size, dtype=key.dtype, device=key.device) for size in (height, width))
    row = rows.repeat_interleave(width, dim=0)  # (N, H)
    column = columns.repeat(height, 1)  # (N, W)
    where = torch.cat([row, column], dim=-1).expand(*key.shape[:2], -1, -1)  # (B, heads, N, H + W)
    dim = value.shape[-1]
    query = torch.cat([query * scale, rel_h, rel_w], dim=-1)
    key = torch.cat([key, where], dim=-1)
    pad = -query.shape[-1] % 8  # kernels want multiples of 8
    query, key = F.pad(query, (0, pad)), F.pad(key, (0, pad))
    value = F.pad(value, (0, query.shape[-1] - dim))  # fast kernels want one head width for all three
    return F.scaled_dot_product_attention(query, key, value, scale=1.0)[..., :dim]


PATHS = {
    "plain": plain_attention,
    "bias": bias_attention,
    "chunked": chunked_attention,
    "folded": folded_attention,
    "flex": flex_path,
}


def choose_path(tokens: int, one_kernel: bool, device_type: str) -> str:
    """The path that `auto` takes for a grid of `tokens` patches; `one_kernel`: a loop over chunks will not do."""
    if tokens <= SMALL_GRID:
        return "bias"
    return "folded" if one_kernel or device_type != "cpu" else "chunked"


def resolve_path(path: str, tokens: int, head_dim: int, parts: tuple[Tensor, ...]) -> str:
    """The path to take for a window or grid of `tokens` patches.

    Args:
        path: "auto", or the answer.
        tokens: of a window, or of the grid where attention is global.
        head_dim: width of a head.
        parts: what attention starts from, query or the joint projection first, then whatever may need gradients.

    Raises:
        ValueError: there is no such path.
    """
    if path not in ATTENTION_PATHS:
        raise ValueError(f"attention_path={path!r} does not exist: choose from {', '.join(ATTENTION_PATHS)}.")
    if path != "auto":
        return path
    learns = torch.is_grad_enabled() and any(part.requires_grad for part in parts)
    found = best_path(parts[0].device, parts[0].dtype, head_dim, learns)
    if found is not None:
        return found
    # A compiler would unroll the loop over chunks.
    return choose_path(tokens, torch.compiler.is_compiling(), parts[0].device.type)


def relative_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    rel_pos_h: Tensor,
    rel_pos_w: Tensor,
    grid: tuple[int, int],
    path: str = "auto",
) -> Tensor:
    """Softmax attention with decomposed relative positions over a grid of H x W tokens.

    Args:
        query, key, value: (B, heads, H*W, head_dim).
        rel_pos_h, rel_pos_w: (2 * full - 1, head_dim) with full >= H and >= W.
        grid: (H, W).
        path: one of `ATTENTION_PATHS`.

    Returns:
        (B, heads, H*W, head_dim)

    Raises:
        ValueError: there is no such path, or it cannot run here (Triton's without a GPU, FlexAttention where gradients are needed on a CPU); the message says what can.
    """
    parts = (query, key, value, rel_pos_h, rel_pos_w)
    path = resolve_path(path, query.shape[2], query.shape[3], parts)
    if path == "triton":
        return row_attention(*parts, grid)
    rel_h, rel_w = relative_terms(query, rel_pos_h, rel_pos_w, grid)
    return PATHS[path](query, key, value, rel_h, rel_w, query.shape[-1] ** -0.5)
