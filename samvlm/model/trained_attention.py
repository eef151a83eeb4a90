"""Attention of towers that train on CPUs: forward by the fused kernel (native_attention.py), backward by products whose
weights are computed again. Windows are read and written where they lie; kept are the projection's output, the result,
and one number a query and head."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .chunked_attention import gradients
from .native_attention import attention, reversed_table, takes, works
from .relative_positions import own_part, window_terms


def serves(qkv: Tensor, bias: Tensor | None, rel_pos_h: Tensor, rel_pos_w: Tensor, head_dim: int) -> bool:
    """Whether `trained_attention` takes these: on a CPU, one of them learns, in float32 or bfloat16."""
    parts = [part for part in (qkv, bias, rel_pos_h, rel_pos_w) if part is not None]
    return (
        torch.is_grad_enabled()
        and any(part.requires_grad for part in parts)
        and qkv.device.type == "cpu"
        and type(qkv) is Tensor
        and qkv.dtype in (torch.float32, torch.bfloat16)
        and all(part.dtype in (torch.float32, torch.bfloat16) for part in parts)
        and not torch.compiler.is_compiling()
        and takes(head_dim)
        and works(qkv.dtype)
    )


def trained_attention(
    qkv: Tensor, bias: Tensor | None, rel_pos_h: Tensor, rel_pos_w: Tensor, heads: int, window: int
) -> Tensor:
    """Softmax attention with decomposed relative positions, with gradients (once, not of gradients).

    Args:
        qkv: (B, H, W, 3 * heads * head_dim) in float32 or bfloat16, on the CPU.
        bias: (3 * heads * head_dim), what places of a window outside the image have; None: zeros.
        rel_pos_h, rel_pos_w: (2 * full - 1, head_dim) with full >= the side of a window, or of the grid.
        heads: number of heads.
        window: side of the windows; 0: the whole grid.

    Returns:
        (B, H, W, heads * head_dim)
    """
    return _Trained.apply(qkv, bias, rel_pos_h, rel_pos_w, heads, window)


class _Trained(torch.autograd.Function):
    """See `trained_attention`."""

    @staticmethod
    def forward(
        ctx, qkv: Tensor, bias: Tensor | None, rel_pos_h: Tensor, rel_pos_w: Tensor, heads: int, window: int
    ) -> Tensor:
        batch, height, width, _ = qkv.shape
        qkv, padding = qkv.contiguous(), bias.to(qkv.dtype).contiguous() if bias is not None else None
        normaliser = torch.empty(batch, heads, height * width)
        tables = [reversed_table(table) for table in (rel_pos_h, rel_pos_w)]
        output = attention(qkv, padding, *tables, heads, window, normaliser)
        ctx.save_for_backward(qkv, bias, rel_pos_h, rel_pos_w, output, normaliser)
        ctx.heads, ctx.window = heads, window
        return output

    @staticmethod
    @once_differentiable
    @torch.autocast("cpu", enabled=False)
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        qkv, bias, rel_pos_h, rel_pos_w, output, normaliser = ctx.saved_tensors
        batch, height, width, _ = qkv.shape
        heads, window = ctx.heads, ctx.window
        sides = (window, window) if window else (height, width)
        query, key, value = by_head(qkv, heads, 3)
        (gradient,), (output,) = by_head(gradient, heads, 1), by_head(output, heads, 1)
        expected = (gradient.float() * output).sum(-1)
        d_qkv = torch.empty_like(qkv)
        d_query, d_key, d_value = by_head(d_qkv, heads, 3)
        # What a place outside the image has as key and as value, and the gradients of all such places.
        outside = (
            (bias if bias is not None else qkv.new_zeros(qkv.shape[-1]))
            .to(qkv.dtype)
            .view(3, heads, 1, 1, -1)
        )
        d_outside = torch.zeros(outside.shape)
        learns = [part.float().detach().requires_grad_() for part in (query, rel_pos_h, rel_pos_w)]
        with torch.enable_grad():
            tables = [own_part(table, side) for table, side in zip(learns[1:], sides, strict=True)]
            rel_h, rel_w = window_terms(learns[0].flatten(2, 3), *tables, height, width)
        rows = rel_h.detach().transpose(2, 3).unflatten(2, (height, width))  # (B, heads, H, W, window height)
        columns = (rel_w.detach() - normaliser[..., None]).unflatten(2, (height, width))
        d_rows, d_columns = torch.empty_like(rows), torch.empty_like(columns)
        # One window of all heads at a time, with fp32 products: they are few. The whole grid head by head.
        dtype = torch.float32 if window else qkv.dtype
        for place in places(batch, heads, (height, width), window):
            inside = query[place].shape[1:3]
            queries, wanted = (part[place].to(dtype).flatten(1, 2) for part in (query, gradient))
            keys, values = (
                padded(part[place], part_outside[place[1]], sides).to(dtype).flatten(1, 2)
                for part, part_outside in ((key, outside[1]), (value, outside[2]))
            )
            terms = (part[place].flatten(1, 2) for part in (rows, columns, expected))
            found = gradients(queries, keys, values, wanted, *terms, query.shape[-1] ** -0.5)
            for whole, part in zip((d_query, d_rows, d_columns), (found[0], *found[3:]), strict=True):
                whole[place] = part.unflatten(1, inside)
            for whole, part, rest in zip((d_key, d_value), found[1:3], d_outside[1:], strict=True):
                part = part.unflatten(1, sides)
                whole[place] = part[:, : inside[0], : inside[1]]
                if inside != sides:
                    rest[place[1]] += part[:, inside[0] :].sum((1, 2), keepdim=True)
                    rest[place[1]] += part[:, : inside[0], inside[1] :].sum((1, 2), keepdim=True)
        d_terms = d_rows.flatten(2, 3).transpose(2, 3), d_columns.flatten(2, 3)
        d_learns = torch.autograd.grad((rel_h, rel_w), learns, d_terms)
        d_query += d_learns[0]
        d_bias = d_outside.flatten().to(bias.dtype) if bias is not None else None
        return d_qkv, d_bias, d_learns[1].to(rel_pos_h.dtype), d_learns[2].to(rel_pos_w.dtype), None, None


def by_head(tensor: Tensor, heads: int, parts: int) -> tuple[Tensor, ...]:
    """Views (B, heads, H, W, head_dim) of the parts of a (B, H, W, parts * heads * head_dim)."""
    return tensor.unflatten(-1, (parts, heads, -1)).permute(3, 0, 4, 1, 2, 5).unbind(0)


def places(batch: int, heads: int, grid: tuple[int, int], window: int) -> list[tuple]:
    """Where in a (B, heads, H, W, ...) those lie that attend to each other: every window, or every head's grid."""
    if not window:
        every = slice(None)
        return [(b, slice(head, head + 1), every, every) for b in range(batch) for head in range(heads)]
    starts = [range(0, side, window) for side in grid]
    return [
        (b, slice(None), slice(top, top + window), slice(left, left + window))
        for b in range(batch)
        for top in starts[0]
        for left in starts[1]
    ]


def padded(part: Tensor, outside: Tensor, sides: tuple[int, int]) -> Tensor:
    """Keys or values (heads, h, w, head_dim) of a window with those of the places outside: (heads, *sides, head_dim)"""
    heads, height, width, dim = part.shape
    if (height, width) == sides:
        return part
    whole = outside.expand(heads, *sides, dim).clone()
    whole[:, :height, :width] = part
    return whole
