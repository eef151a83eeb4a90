"""Attention with SAM's decomposed relative positions (Li et al., "MViTv2", 2022): four ways to the same numbers.

The logit of query (y, x) and key (y', x') is q·k·scale + q·Rh[y - y'] + q·Rw[x - x']. For 64x64 patches the sum of
the last two is a 4096x4096 matrix a head, 800 MB in fp32 for ViT-B, which only the small paths write down:

- `plain`    the definition, whole matrix, explicit softmax: the reference of the tests;
- `bias`     the same bias handed to scaled_dot_product_attention: best for windows and small images;
- `chunked`  a few query rows at a time, row and column terms added by broadcast: inference on large grids;
- `folded`   q' = [q·scale, q·Rh, q·Rw], k' = [k, one-hot row, one-hot column]: plain attention whose kernels
             (flash, memory-efficient) need no bias at all: gradients on large grids, and GPUs.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .onednn import linear

SMALL_GRID = 1024  # up to this many tokens the bias is small (12 MiB a head at most) and written down
CHUNK_ELEMENTS = 2**21  # scores held at a time by the chunked path (8 MiB in fp32)


def relative_table(table: Tensor, size: int) -> Tensor:
    """The embeddings of all offsets within `size` positions.

    Args:
        table: (2 * full - 1, head_dim), offset 0 in the middle, `full` the size it was trained for.
        size: number of positions, at most `full`.

    Returns:
        (size, size, head_dim); entry [i, j] belongs to the offset i - j.
    """
    full = (table.shape[0] + 1) // 2
    if size > full:
        raise ValueError(
            f"{size} positions exceed the {full} of the relative position table: use an image of at most "
            f"{full} patches a side."
        )
    steps = torch.arange(size, device=table.device)
    return table[steps[:, None] - steps[None, :] + (full - 1)]


def relative_terms(
    query: Tensor, rel_pos_h: Tensor, rel_pos_w: Tensor, grid: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Row and column terms of the logits.

    Args:
        query: (B, heads, H*W, head_dim), not scaled.
        rel_pos_h, rel_pos_w: relative position tables, (2 * full - 1, head_dim).
        grid: (H, W).

    Returns:
        (B, heads, H*W, H) and (B, heads, H*W, W).
    """
    height, width = grid
    batch, heads, _, dim = query.shape
    by_place = query.reshape(batch * heads, height, width, dim)
    table_h = relative_table(rel_pos_h, height).to(query.dtype)  # (H, H, head_dim)
    table_w = relative_table(rel_pos_w, width).to(query.dtype)  # (W, W, head_dim)
    rel_h = torch.einsum("bhwd,hkd->bhwk", by_place, table_h)
    rel_w = torch.einsum("bhwd,wkd->bhwk", by_place, table_w)
    tokens = height * width
    return rel_h.reshape(batch, heads, tokens, height), rel_w.reshape(batch, heads, tokens, width)


def full_bias(rel_h: Tensor, rel_w: Tensor) -> Tensor:
    """(B, heads, N, H) and (B, heads, N, W) -> (B, heads, N, H*W)."""
    return (rel_h.unsqueeze(-1) + rel_w.unsqueeze(-2)).flatten(-2)


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


def chunked_attention(
    query: Tensor, key: Tensor, value: Tensor, rel_h: Tensor, rel_w: Tensor, scale: float
) -> Tensor:
    """Exact attention, `CHUNK_ELEMENTS` scores at a time; for inference (the backward would keep every chunk)."""
    batch, heads, tokens, dim = query.shape
    height, width = rel_h.shape[-1], rel_w.shape[-1]
    query, key, value = (t.reshape(batch * heads, tokens, dim) for t in (query * scale, key, value))
    rel_h = rel_h.reshape(batch * heads, tokens, height, 1)
    rel_w = rel_w.reshape(batch * heads, tokens, 1, width)
    rows = max(1, min(tokens, CHUNK_ELEMENTS // tokens))
    output = torch.empty_like(query)
    for head in range(batch * heads):
        keys, values_t = key[head].contiguous(), value[head].transpose(0, 1).contiguous()
        for start in range(0, tokens, rows):
            part = slice(start, start + rows)
            scores = linear(query[head, part], keys).view(-1, height, width)
            scores.add_(rel_h[head, part]).add_(rel_w[head, part])
            weights = scores.flatten(1).softmax(dim=-1, dtype=torch.float32).to(value.dtype)
            output[head, part] = linear(weights, values_t)
    return output.view(batch, heads, tokens, dim)


def folded_attention(
    query: Tensor, key: Tensor, value: Tensor, rel_h: Tensor, rel_w: Tensor, scale: float
) -> Tensor:
    """The bias folded into longer queries and keys, so that any attention kernel computes it."""
    height, width = rel_h.shape[-1], rel_w.shape[-1]
    place = torch.arange(height * width, device=key.device)
    row = F.one_hot(place // width, height).to(key.dtype)  # (N, H)
    column = F.one_hot(place % width, width).to(key.dtype)  # (N, W)
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
}


def choose_path(tokens: int, one_kernel: bool, device_type: str) -> str:
    """The path that `auto` takes for a grid of `tokens` patches; `one_kernel`: a loop over chunks will not do."""
    if tokens <= SMALL_GRID:
        return "bias"
    return "folded" if one_kernel or device_type != "cpu" else "chunked"


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
        path: "auto" or a key of `PATHS`.

    Returns:
        (B, heads, H*W, head_dim)

    Raises:
        ValueError: the chunked path is asked for where gradients are needed.
    """
    needs_grad = torch.is_grad_enabled() and any(
        t.requires_grad for t in (query, key, value, rel_pos_h, rel_pos_w)
    )
    if path == "auto":
        # A compiler would unroll the loop over chunks.
        one_kernel = needs_grad or torch.compiler.is_compiling()
        path = choose_path(query.shape[2], one_kernel, query.device.type)
    if path == "chunked" and needs_grad:
        raise ValueError(
            'attention_path="chunked" is for inference: use "auto", "bias" or "folded" to train.'
        )
    rel_h, rel_w = relative_terms(query, rel_pos_h, rel_pos_w, grid)
    return PATHS[path](query, key, value, rel_h, rel_w, query.shape[-1] ** -0.5)
