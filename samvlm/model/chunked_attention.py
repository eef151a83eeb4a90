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
                if normaliser is None:
                    output[place][part] = linear(softmax(scores).to(value.dtype), values)
                    continue
                greatest = scores.amax(-1, keepdim=True)
                weights = scores.sub_(greatest).exp_()
                total = weights.sum(-1, keepdim=True)
                output[place][part] = linear(weights.to(value.dtype), values) / total
                normaliser[place][part] = greatest.add_(total.log())[:, 0]
        if normaliser is not None:
            ctx.save_for_backward(query, key, value, rel_h, rel_w, output, normaliser)
            ctx.scale = scale
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, rel_h, rel_w, output, normaliser = ctx.saved_tensors
        found = [torch.empty_like(t, memory_format=torch.contiguous_format) for t in ctx.saved_tensors[:5]]
        expected = (gradient.to(normaliser.dtype) * output).sum(-1)
        for image, head in heads_of(query):
            place = image, slice(head, head + 1)
            of_place = gradients(
                *(t[place] for t in (query, key, value, gradient)),
                rel_h[place],
                rel_w[place] - normaliser[place][..., None],
                expected[place],
                ctx.scale,
            )
            for whole, part in zip(found, of_place, strict=True):
                whole[place] = part
        return *found, None


def gradients(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    gradient: Tensor,
    rel_h: Tensor,
    rel_w: Tensor,
    expected: Tensor,
    scale: float,
) -> tuple[Tensor, ...]:
    """The gradients of attention over G heads whose weights are computed again, some queries at a time.

    Args:
        query, key, value: (G, n, head_dim), (G, H * W, head_dim) twice.
        gradient: of the result, (G, n, head_dim).
        rel_h, rel_w: row and column terms of the logits, (G, n, H) and (G, n, W); the logits' normaliser (logsumexp)
            has been taken from one of them.
        expected: (G, n), the sum of gradient * result over the head's numbers; its dtype is that of scores.
        scale: of the products.

    Returns:
        Gradients of query, key, value, rel_h and rel_w. Those of key and value are summed in the scores' dtype.
    """
    dtype, of_scores = query.dtype, expected.dtype
    query, gradient = query.contiguous(), gradient.to(dtype).contiguous()
    keys, values, keys_t = key.to(of_scores).contiguous(), value.contiguous(), key.mT.contiguous()
    d_query, d_rel_h, d_rel_w = (t.new_empty(t.shape) for t in (query, rel_h, rel_w))
    d_key, d_value = (t.new_zeros(t.shape, dtype=of_scores) for t in (key, value))
    for part in chunks(key.shape[1], query.shape[1]):
        queries, wanted = query[:, part], gradient[:, part]
        scores = times(queries.to(of_scores) * scale, keys).unflatten(2, (rel_h.shape[2], rel_w.shape[2]))
        scores.add_(rel_h[:, part, :, None]).add_(rel_w[:, part, None, :])
        weights = scores.exp_().flatten(2)
        d_value.add_(times_turned(weights.to(dtype), wanted))
        d_scores = times(wanted, values).to(of_scores).sub_(expected[:, part, None]).mul_(weights)
        by_place = d_scores.view(scores.shape)
        d_rel_h[:, part], d_rel_w[:, part] = by_place.sum(3), by_place.sum(2)
        d_scores = d_scores.to(dtype)
        d_query[:, part] = times(d_scores, keys_t) * scale
        d_key.add_(times_turned(d_scores, queries), alpha=scale)
    return d_query, d_key, d_value, d_rel_h, d_rel_w


def times(rows: Tensor, others: Tensor) -> Tensor:
    """(G, n, k) and (G, m, k) -> (G, n, m): all products of two vectors. One matrix alone goes to oneDNN."""
    return linear(rows[0], others[0])[None] if len(rows) == 1 else rows @ others.mT


def times_turned(rows: Tensor, others: Tensor) -> Tensor:
    """(G, n, k) and (G, n, m) -> (G, k, m). PyTorch's products of one matrix are faster outside a batch."""
    return (rows[0].t() @ others[0])[None] if len(rows) == 1 else rows.mT @ others


def softmax(scores: Tensor) -> Tensor:
    """In fp32 at least."""
    return scores.softmax(-1, dtype=torch.promote_types(scores.dtype, torch.float32))


def heads_of(query: Tensor) -> list[tuple[int, int]]:
    """(image, head) of each head."""
    return [(image, head) for image in range(query.shape[0]) for head in range(query.shape[1])]


def chunks(keys: int, queries: int | None = None) -> list[slice]:
    """The queries (as many as keys, if not said), some at a time."""
    queries = keys if queries is None else queries
    step = max(1, min(queries, CHUNK_ELEMENTS // keys))
    return [slice(start, start + step) for start in range(0, queries, step)]


def logits(queries: Tensor, keys: Tensor, rel_h: Tensor, rel_w: Tensor, scale: float) -> Tensor:
    """Of some queries (n, head_dim) and all keys (H * W, head_dim): (n, H * W) in the keys' dtype."""
    scores = linear(queries.to(keys.dtype) * scale, keys).view(-1, rel_h.shape[-1], rel_w.shape[-1])
    return scores.add_(rel_h[:, :, None]).add_(rel_w[:, None, :]).flatten(1)
