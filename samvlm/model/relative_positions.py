"""SAM's decomposed relative positions (Li et al., "MViTv2", 2022): from the tables to the terms of the logits.

The logit of query (y, x) and key (y', x') is q·k·scale + q·Rh[y - y'] + q·Rw[x - x'].
"""

import torch
from torch import Tensor


def own_part(table: Tensor, size: int) -> Tensor:
    """The middle of a relative position table, for offsets within `size` places: (2 * size - 1, head_dim)"""
    full = (table.shape[0] + 1) // 2
    if size > full:
        raise ValueError(
            f"{size} positions exceed the {full} of the relative position table: use an image of at most "
            f"{full} patches a side."
        )
    return table[full - size : full + size - 1]


def relative_table(table: Tensor, size: int) -> Tensor:
    """The embeddings of all offsets within `size` positions.

    Args:
        table: (2 * full - 1, head_dim), offset 0 in the middle, `full` the size it was trained for.
        size: number of positions, at most `full`.

    Returns:
        (size, size, head_dim); entry [i, j] belongs to the offset i - j.
    """
    steps = torch.arange(size, device=table.device)
    return own_part(table, size)[steps[:, None] - steps[None, :] + (size - 1)]


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


def window_terms(
    query: Tensor, table_h: Tensor, table_w: Tensor, height: int, width: int
) -> tuple[Tensor, Tensor]:
    """Row and column terms of the logits, by PyTorch's operators.

    Args:
        query: (B, heads, H*W, head_dim), not scaled.
        table_h, table_w: (2 * side - 1, head_dim), of a window's height and width.
        height, width: the grid's.

    Returns:
        (B, heads, window height, H*W) and (B, heads, H*W, window width)
    """
    by_place = query.unflatten(2, (height, width))
    offsets = []
    for table, length in ((table_h, height), (table_w, width)):
        size = (table.shape[0] + 1) // 2
        line, place = (torch.arange(n, device=table.device) for n in (length, size))
        offsets.append(table[(line % size)[:, None] - place + (size - 1)])  # (length, size, head_dim)
    rel_h = torch.einsum("bnyxd,ykd->bnkyx", by_place, offsets[0])
    rel_w = torch.einsum("bnyxd,xkd->bnyxk", by_place, offsets[1])
    return rel_h.flatten(3), rel_w.flatten(2, 3)
