"""Exact attention with relative positions over a few query rows at a time, with a backward that computes the weights
again (Rabe and Staats, "Self-attention does not need O(n²) memory", 2021): for CPUs, where no fused kernel is faster."""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .onednn import linear

CHUNK_ELEMENTS = 2**20  # scores held at a time (4 MiB in fp32): more fall out of the cache


def chunked_attention(
    query: Tensor, key: Tensor, value: Tensor, rel_h: Tensor, rel_w: Tensor, scale: float
) -> Tensor:
    """Softmax(q·k·scale + rel_h + rel_w)·v, `CHUNK_ELEMENTS` scores at a time, forward and backward.

    Args:
        query, key, value: (B, heads, N, head_dim).
        rel_h, rel_w: row and column terms of the logits, (B, heads, N, H) and (B, heads, N, W) with H * W = N.
        scale: of the products.

    Returns:
        (B, heads, N, head_dim). Gradients exist once, not of gradients.
    """
    return _Chunked.apply(query, key, value, rel_h, rel_w, scale)


class _Chunked(torch.autograd.Function):
    """See `chunked_attention`. Kept for the backward: the arguments, the result, one number a query."""

    @staticmethod
    def forward(
        ctx, query: Tensor, key: Tensor, value: Tensor, rel_h: Tensor, rel_w: Tensor, scale: float
    ) -> Tensor:
        output, normaliser = torch.empty_like(query, memory_format=torch.contiguous_format), None
        of_scores = query.dtype
        if any(ctx.needs_input_grad):  # what trains has scores in fp32, as in fused kernels
            of_scores = torch.promote_types(query.dtype, torch.float32)
            normaliser = query.new_empty(query.shape[:3], dtype=of_scores)
        for place in heads_of(query):
            keys, values = key[place].to(of_scores).contiguous(), value[place].t().contiguous()
            for part in chunks(query.shape[2]):
                scores = logits(query[place][part], keys, rel_h[place][part], rel_w[place][part], scale)
                output[place][part] = linear(softmax(scores).to(value.dtype), values)
                if normaliser is not None:
                    normaliser[place][part] = scores.logsumexp(-1)
        if normaliser is not None:
            ctx.save_for_backward(query, key, value, rel_h, rel_w, output, normaliser)
            ctx.scale = scale
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, rel_h, rel_w, output, normaliser = ctx.saved_tensors
        d_query, d_rel_h, d_rel_w = (
            torch.empty_like(t, memory_format=torch.contiguous_format) for t in (query, rel_h, rel_w)
        )
        d_key, d_value = (
            torch.zeros_like(t, memory_format=torch.contiguous_format, dtype=normaliser.dtype)
            for t in (key, value)
        )
        grid = rel_h.shape[-1], rel_w.shape[-1]
        for place in heads_of(query):
            keys, values = key[place].to(normaliser.dtype).contiguous(), value[place].contiguous()
            keys_t = key[place].t().contiguous()
            for part in chunks(query.shape[2]):
                queries, wanted = query[place][part], gradient[place][part].contiguous()
                scores = logits(queries, keys, rel_h[place][part], rel_w[place][part], ctx.scale)
                weights = scores.sub_(normaliser[place][part][:, None]).exp_()
                d_value[place].add_(weights.to(wanted.dtype).t() @ wanted)
                expected = (wanted.to(weights.dtype) * output[place][part]).sum(-1, keepdim=True)
                d_scores = linear(wanted, values).to(weights.dtype).sub_(expected).mul_(weights)
                by_place = d_scores.view(-1, *grid)
                d_rel_h[place][part], d_rel_w[place][part] = by_place.sum(2), by_place.sum(1)
                d_scores = d_scores.to(query.dtype)
                d_query[place][part] = linear(d_scores, keys_t) * ctx.scale
                d_key[place].add_(d_scores.t() @ queries, alpha=ctx.scale)
        return d_query, d_key.to(key.dtype), d_value.to(value.dtype), d_rel_h, d_rel_w, None


def softmax(scores: Tensor) -> Tensor:
    """In fp32 at least."""
    return scores.softmax(-1, dtype=torch.promote_types(scores.dtype, torch.float32))


def heads_of(query: Tensor) -> list[tuple[int, int]]:
    """(image, head) of each head."""
    return [(image, head) for image in range(query.shape[0]) for head in range(query.shape[1])]


def chunks(tokens: int) -> list[slice]:
    """The queries, some at a time."""
    step = max(1, min(tokens, CHUNK_ELEMENTS // tokens))
    return [slice(start, start + step) for start in range(0, tokens, step)]


def logits(queries: Tensor, keys: Tensor, rel_h: Tensor, rel_w: Tensor, scale: float) -> Tensor:
    """Of some queries (n, head_dim) and all keys (H * W, head_dim): (n, H * W) in the keys' dtype."""
    scores = linear(queries.to(keys.dtype) * scale, keys).view(-1, rel_h.shape[-1], rel_w.shape[-1])
    return scores.add_(rel_h[:, :, None]).add_(rel_w[:, None, :]).flatten(1)
