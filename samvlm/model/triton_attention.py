"""The tower's attention on GPUs by Triton kernels (triton_kernels.py), with gradients, as operators of PyTorch.

Windows and the whole grid go through the same kernels, which read query, key and value where the projection left them:
nothing is split, padded or copied, and no matrix over all pairs of tokens exists. As operators they are opaque to
torch.compile, and a CUDA graph can hold them: nothing waits for the device.

Where a number of warps or a block size is chosen here, it is by estimate; `python scripts/tune_attention.py` measures.
"""

import importlib.util
import os
import re
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from .relative_positions import own_part, window_terms

KEYS = 64  # of a block
LOG2E = 1.4426950408889634
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
# (queries of a tile, warps, stages) in 16-bit numbers, by kernel, and by whether a head fits into 64 places and a block
# is one row of the image; compiled for compute capability 9.0 without spills, or for the last with the fewest.
LAUNCH = {
    "forward": {
        (True, True): (128, 8, 3), (True, False): (64, 8, 2), (False, True): (128, 8, 2), (False, False): (64, 8, 2),
    },
    "backward_query": {
        (True, True): (64, 4, 2), (True, False): (32, 4, 2), (False, True): (64, 8, 2), (False, False): (32, 4, 2),
    },
    "backward_key": {
        (True, True): (64, 4, 2), (True, False): (64, 4, 2), (False, True): (64, 8, 2), (False, False): (32, 8, 2),
    },
}  # fmt: skip
LAUNCH_FP32 = (32, 4, 1)  # products of fp32 go without the matrix units
NAMESPACE = re.sub(
    r"\W", "_", __name__.rpartition(".")[0] or __name__
)  # remote code may be there a second time


@torch.compiler.assume_constant_result
def obstacle(device_type: str, dtype: torch.dtype) -> str | None:
    """Why the kernels cannot run there, or None."""
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed (it comes with PyTorch's builds for GPUs)"
    if dtype not in DTYPES:
        return f"the numbers are {str(dtype)[6:]}, the kernels take float32, bfloat16 and float16"
    if device_type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        return f"the tensors are on {device_type}, the kernels run on GPUs"
    return None


def row_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    rel_pos_h: Tensor,
    rel_pos_w: Tensor,
    grid: tuple[int, int],
    window: int = 0,
    pad_key: Tensor | None = None,
    pad_value: Tensor | None = None,
) -> Tensor:
    """Exact attention with decomposed relative positions over a grid, whole or in windows.

    Args:
        query, key, value: (B, heads, H*W, head_dim), any strides with the head's numbers side by side.
        rel_pos_h, rel_pos_w: (2 * full - 1, head_dim) with `full` at least the window's or the grid's side.
        grid: (H, W).
        window: side of the windows; 0: every token sees all.
        pad_key, pad_value: (heads, head_dim), key and value of the places of a window beyond the grid; None: zeros.

    Returns:
        (B, heads, H*W, head_dim)

    Raises:
        ValueError: the kernels cannot run there.
    """
    problem = obstacle(query.device.type, query.dtype)
    if problem is not None:
        raise ValueError(
            f'attention_path="triton" cannot run: {problem}. Use "auto", or "folded", which needs PyTorch alone.'
        )
    sides = (window, window) if window else grid
    tables = [
        own_part(table, size).to(query.dtype)
        for table, size in zip((rel_pos_h, rel_pos_w), sides, strict=True)
    ]
    learns = torch.is_grad_enabled() and (query.requires_grad or any(table.requires_grad for table in tables))
    terms = window_terms if learns else relative_terms_op
    rel_h, rel_w = terms(query, *tables, *grid)
    if window and (grid[0] % window or grid[1] % window) and pad_key is None:
        pad_key = pad_value = query.new_zeros(query.shape[1], query.shape[3])
    output, _ = attention_op(query, key, value, rel_h, rel_w, pad_key, pad_value, *grid, *sides)
    return output.transpose(1, 2)


def fit(columns: int) -> tuple[int, int]:
    """Rows and columns of a block of `KEYS` keys."""
    wide = next((wide for wide in (16, 32) if columns <= wide), KEYS)
    return KEYS // wide, wide


def settings(dim: int, dtype: torch.dtype, kernel: str, rows: int) -> dict[str, int]:
    """Block sizes and launch options of a kernel for a head's width and the rows of a block of keys."""
    block_d = max(16, 1 << (dim - 1).bit_length())
    tile, warps, stages = LAUNCH_FP32 if dtype == torch.float32 else LAUNCH[kernel][block_d <= 64, rows == 1]
    return {"DIM": dim, "BLOCK_D": block_d, "BLOCK_M": tile, "num_warps": warps, "num_stages": stages}


def on_device(tensor: Tensor) -> AbstractContextManager:
    """Kernels start on the current device: make it the tensor's."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()


def strided(tensors: list[Tensor]) -> tuple[list[Tensor], tuple[int, int, int]]:
    """Tensors (B, heads, T, head_dim) of the same strides, and these; copies only where they differ."""
    strides = {tensor.stride() for tensor in tensors}
    if len(strides) > 1 or next(iter(strides))[3] != 1:
        tensors = [tensor.contiguous() for tensor in tensors]
    return tensors, tensors[0].stride()[:3]


def windows_of(height: int, width: int, window_height: int, window_width: int) -> tuple[int, int, bool]:
    """Windows beside each other, windows in all, and whether some reach beyond the grid."""
    down, across = -(-height // window_height), -(-width // window_width)
    return across, down * across, bool(height % window_height or width % window_width)


@torch.library.custom_op(f"{NAMESPACE}::row_attention", mutates_args=())
def attention_op(
    query: Tensor, key: Tensor, value: Tensor, rel_h: Tensor, rel_w: Tensor,
    pad_key: Tensor | None, pad_value: Tensor | None,
    height: int, width: int, window_height: int, window_width: int,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The output (B, T, heads, head_dim), and the logarithms to base 2 of the softmax's sums, (B, heads, T) in fp32.
    The terms are those of `window_terms`, the padding needed where a window reaches beyond the grid."""
    from .triton_kernels import _attention_forward

    batch, heads, tokens, dim = query.shape
    (query, key, value), strides = strided([query, key, value])
    rel_h, rel_w = rel_h.contiguous(), rel_w.contiguous()
    across, windows, padded = windows_of(height, width, window_height, window_width)
    rows, columns = fit(window_width)
    chosen = settings(dim, query.dtype, "forward", rows)
    tiles = -(-window_height * window_width // chosen["BLOCK_M"])
    output = query.new_empty(batch, tokens, heads, dim)
    log_sums = query.new_empty(batch, heads, tokens, dtype=torch.float32)
    pads = [pad.contiguous() if padded else query for pad in (pad_key, pad_value)]
    full = not padded and window_height % rows == 0 and window_width % columns == 0
    with on_device(query):
        _attention_forward[(tiles * windows * batch * heads,)](
            query, key, value, rel_h, rel_w, *pads, output, log_sums, *strides, heads, height, width,
            window_height, window_width, across, windows, tiles, dim**-0.5 * LOG2E,
            ROWS=rows, COLUMNS=columns, FULL=full, PADDED=padded, **chosen,
        )  # fmt: skip
    return output, log_sums


@attention_op.register_fake
def _(query, key, value, rel_h, rel_w, pad_key, pad_value, height, width, window_height, window_width):
    batch, heads, tokens, dim = query.shape
    sums = query.new_empty(batch, heads, tokens, dtype=torch.float32)
    return query.new_empty(batch, tokens, heads, dim), sums


@torch.library.custom_op(f"{NAMESPACE}::row_attention_backward", mutates_args=())
def attention_backward_op(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, rel_h: Tensor, rel_w: Tensor,
    pad_key: Tensor | None, pad_value: Tensor | None, output: Tensor, log_sums: Tensor,
    height: int, width: int, window_height: int, window_width: int,
) -> list[Tensor]:  # fmt: skip
    """Gradients of query, key and value (B, T, heads, head_dim), of the terms, and of the padding, (2, heads, head_dim)
    (which is zero where there is none)."""
    from .triton_kernels import _attention_backward_key, _attention_backward_query

    batch, heads, tokens, dim = query.shape
    (query, key, value), strides = strided([query, key, value])
    rel_h, rel_w, grad = rel_h.contiguous(), rel_w.contiguous(), grad.contiguous()
    across, windows, padded = windows_of(height, width, window_height, window_width)
    rows, columns = fit(window_width)
    blocks_across, blocks_down = -(-window_width // columns), -(-window_height // rows)
    blocks = blocks_across * blocks_down
    pads = [pad.contiguous() if padded else query for pad in (pad_key, pad_value)]
    grads = [query.new_empty(batch, tokens, heads, dim) for _ in range(3)]
    grad_rel_h = rel_h.new_empty(blocks_across, *rel_h.shape)
    grad_rel_w, delta = torch.empty_like(rel_w), torch.empty_like(log_sums)
    grad_padding = query.new_empty(
        (batch, heads, windows * blocks, 2, dim) if padded else (1, heads, 1, 2, dim), dtype=torch.float32
    )
    sizes = (*strides, heads, height, width, window_height, window_width, across, windows)
    full = not padded and window_height % rows == 0 and window_width % columns == 0
    common = {"ROWS": rows, "COLUMNS": columns, "PADDED": padded}
    scales = (dim**-0.5 * LOG2E, dim**-0.5)
    with on_device(query):
        chosen = settings(dim, query.dtype, "backward_query", rows)
        tiles = -(-window_height * window_width // chosen["BLOCK_M"])
        _attention_backward_query[(tiles * windows * batch * heads,)](
            query, key, value, rel_h, rel_w, *pads, output, log_sums, grad, delta, grads[0], grad_rel_h, grad_rel_w,
            *sizes, tiles, batch * heads, *scales, FULL=full, **common, **chosen,
        )  # fmt: skip
        _attention_backward_key[(blocks * windows * batch * heads,)](
            query, key, value, rel_h, rel_w, *pads, log_sums, grad, delta, grads[1], grads[2], grad_padding,
            *sizes, blocks, blocks_across, *scales, **common, **settings(dim, query.dtype, "backward_key", rows),
        )  # fmt: skip
    if not padded:
        grad_padding.zero_()
    by_row = grad_rel_h[0] if blocks_across == 1 else grad_rel_h.sum(0)
    return [*grads, by_row, grad_rel_w, grad_padding.sum((0, 2)).transpose(0, 1).to(query.dtype).contiguous()]


@attention_backward_op.register_fake
def _(grad, query, key, value, rel_h, rel_w, pad_key, pad_value, output, log_sums, *sizes):
    batch, heads, tokens, dim = query.shape
    grads = [query.new_empty(batch, tokens, heads, dim) for _ in range(3)]
    return [
        *grads,
        rel_h.new_empty(rel_h.shape),
        rel_w.new_empty(rel_w.shape),
        query.new_empty(2, heads, dim),
    ]


def _remember(ctx, inputs, output):
    *tensors, ctx.height, ctx.width, ctx.window_height, ctx.window_width = inputs
    ctx.save_for_backward(*tensors, *output)


def _backward(ctx, grad, _):
    sizes = (ctx.height, ctx.width, ctx.window_height, ctx.window_width)
    *grads, rel_h, rel_w, padding = attention_backward_op(grad, *ctx.saved_tensors, *sizes)
    grads = [part.transpose(1, 2) for part in grads]
    pads = (None, None) if ctx.saved_tensors[5] is None else padding.unbind(0)
    return (*grads, rel_h, rel_w, *pads, None, None, None, None)


attention_op.register_autograd(_backward, setup_context=_remember)


@torch.library.custom_op(f"{NAMESPACE}::relative_terms", mutates_args=())
def relative_terms_op(
    query: Tensor, table_h: Tensor, table_w: Tensor, height: int, width: int
) -> tuple[Tensor, Tensor]:
    """`window_terms` without gradients: one pass over the queries for each table, no copy of them."""
    from .triton_kernels import _relative_terms

    batch, heads, tokens, dim = query.shape
    (query,), strides = strided([query])
    size_h, size_w = ((table.shape[0] + 1) // 2 for table in (table_h, table_w))
    rel_h = query.new_empty(batch, heads, size_h, tokens)
    rel_w = query.new_empty(batch, heads, tokens, size_w)
    block_d = max(16, 1 << (dim - 1).bit_length())
    with on_device(query):
        for table, terms, size, lines, by_row in (
            (table_h, rel_h, size_h, height, True),
            (table_w, rel_w, size_w, width, False),
        ):
            _relative_terms[(lines * batch * heads,)](
                query, table.contiguous(), terms, *strides, heads, height, width, size, size - 1,
                BY_ROW=by_row, DIM=dim, BLOCK_D=block_d, BLOCK_L=64, BLOCK_K=fit(size)[1],
                num_warps=4,
            )  # fmt: skip
    return rel_h, rel_w


@relative_terms_op.register_fake
def _(query, table_h, table_w, height, width):
    batch, heads, tokens, _ = query.shape
    size_h, size_w = ((table.shape[0] + 1) // 2 for table in (table_h, table_w))
    return query.new_empty(batch, heads, size_h, tokens), query.new_empty(batch, heads, tokens, size_w)
