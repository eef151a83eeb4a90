"""The fused attention kernel (native/attention.cpp), where the wheel was built with a compiler: for CPUs, no gradients
(trained_attention.py has them).

It reads the projection's output as it stands and writes what the output projection takes: no copies into windows, no
bias of N x N, no scores in memory. Fast on processors with AVX-512 or AVX2; its numbers are checked at first use.
"""

from __future__ import annotations

import ctypes
import logging
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from .attention import relative_attention

LIBRARY = Path(__file__).parent / "native" / "attention.dso"
LANES = 16  # floats that the kernel may read behind the end of a table
MAX_DIM = 512
VERSION = 4  # of the interface, as in native/attention.h
logger = logging.getLogger("samvlm.model")


class Job(ctypes.Structure):
    """`struct Attention` of native/attention.h."""

    _fields_ = (
        [(name, ctypes.c_void_p) for name in ("qkv", "bias", "output", "normaliser")]
        + [(name, ctypes.c_void_p) for name in ("row_table", "column_table")]
        + [
            (name, ctypes.c_long)
            for name in (
                "row_middle", "row_table_row", "column_middle", "column_table_row", "batch", "height", "width",
                "heads", "dim", "window", "transposed", "splits", "is_bf16",
            )
        ]
        + [("scale", ctypes.c_float), ("next", ctypes.POINTER(ctypes.c_long))]
    )  # fmt: skip


@cache
def library() -> ctypes.CDLL | None:
    """The kernel; None where there is none for this machine."""
    if not LIBRARY.is_file():
        return None
    try:
        found = ctypes.CDLL(str(LIBRARY))
        version = found.samvlm_version()
        if version != VERSION:
            raise OSError(f"built from sources of version {version}, these are {VERSION}")
        found.samvlm_attention.argtypes = [ctypes.POINTER(Job), ctypes.c_int]
        found.samvlm_decode.argtypes = [ctypes.c_void_p, ctypes.c_int]
        found.samvlm_instruction_set.restype = ctypes.c_char_p
    except (OSError, AttributeError) as problem:  # built for another machine, or damaged
        logger.warning(
            "%s cannot be used (%s): PyTorch's operators do its work. To build it anew: "
            "python -m samvlm.model.native.build",
            LIBRARY,
            problem,
        )
        return None
    return found


@cache
def works(dtype: torch.dtype) -> bool:
    """Whether the kernel is there and agrees with the definition in a dtype: tried once, on a small grid."""
    if library() is None:
        return False
    generator = torch.Generator().manual_seed(0)
    heads, dim, window, grid = 2, 32, 5, (7, 23)
    qkv = torch.randn(1, *grid, 3 * heads * dim, generator=generator).to(dtype)
    bias = torch.randn(3 * heads * dim, generator=generator).to(dtype)
    tables = [torch.randn(2, 2 * full - 1, dim, generator=generator).to(dtype) for full in (window, 24)]
    padded = bias.double().expand(1, 10, 25, -1).clone()
    padded[:, : grid[0], : grid[1]] = qkv.double()
    windows = padded.view(2, window, 5, window, -1).transpose(1, 2).reshape(10, window, window, -1)
    agreed = True
    for places, (rows, columns), side in ((windows, tables[0], window), (qkv.double(), tables[1], 0)):
        parts = places.reshape(len(places), -1, 3, heads, dim).permute(2, 0, 3, 1, 4)
        shape = tuple(places.shape[1:3])
        right = relative_attention(*parts, rows.double(), columns.double(), shape, "plain").transpose(1, 2)
        right = right.reshape(*places.shape[:3], -1)
        if side:
            right = right.view(2, 5, window, window, -1).transpose(1, 2).reshape(1, 10, 25, -1)
            right = right[:, : grid[0], : grid[1]]
        found = attention(qkv, bias, reversed_table(rows), reversed_table(columns), heads, side)
        distance = ((found.double() - right).norm() / right.norm()).item()
        agreed &= distance < (1e-5 if dtype == torch.float32 else 1e-2)  # False where it is no number, too
    if not agreed:
        logger.warning("%s gives wrong numbers in %s here: PyTorch's operators do its work", LIBRARY, dtype)
    return agreed


def takes(head_dim: int) -> bool:
    """Whether the kernel has code for a head of so many numbers."""
    return head_dim % 2 == 0 and head_dim <= MAX_DIM


def instruction_set() -> str | None:
    """What the kernel runs on: "avx512_bf16", "avx512", "avx2" or "plain"; None: it is not there."""
    found = library()
    return found.samvlm_instruction_set().decode() if found is not None else None


def reversed_table(table: Tensor) -> Tensor:
    """A relative position table (2 * full - 1, head_dim) as the kernel reads it: (head_dim, 2 * full - 1 + LANES)."""
    return F.pad(table.detach().float().flip(0).T, (0, LANES)).contiguous()


def attention(
    qkv: Tensor,
    bias: Tensor | None,
    row_table: Tensor,
    column_table: Tensor,
    heads: int,
    window: int,
    normaliser: Tensor | None = None,
) -> Tensor:
    """Attention with relative positions.

    Args:
        qkv: (B, H, W, 3 * heads * head_dim) in float32 or bfloat16, on the CPU.
        bias: (3 * heads * head_dim) in the same dtype, what places of a window outside the image have; None: zeros.
        row_table, column_table: see `reversed_table`.
        heads: number of heads; head_dim even and at most 512.
        window: side of the windows; 0: the whole grid.
        normaliser: (B, heads, H * W) in float32, filled with the logsumexp of each query's logits.

    Returns:
        (B, H, W, heads * head_dim)
    """
    batch, height, width, channels = qkv.shape
    dim = channels // 3 // heads
    qkv = qkv.contiguous()
    output = torch.empty(batch, height, width, heads * dim, dtype=qkv.dtype)
    # Whole grid: vectors of keys run along the side that wastes less of them.
    transposed = not window and width * (-height // LANES) > height * (-width // LANES)
    if transposed:
        row_table, column_table = column_table, row_table
    threads = torch.get_num_threads()
    heads_and_windows = batch * heads * (-(-height // window) * -(-width // window) if window else 1)
    splits = 1 if window else max(1, min(-(-4 * threads // heads_and_windows), height * width // 256))
    job = Job(
        qkv=qkv.data_ptr(), bias=bias.data_ptr() if bias is not None else None, output=output.data_ptr(),
        normaliser=normaliser.data_ptr() if normaliser is not None else None,
        row_table=row_table.data_ptr(), column_table=column_table.data_ptr(),
        row_middle=(row_table.shape[1] - LANES) // 2, row_table_row=row_table.shape[1],
        column_middle=(column_table.shape[1] - LANES) // 2, column_table_row=column_table.shape[1],
        batch=batch, height=height, width=width, heads=heads, dim=dim, window=window, transposed=transposed,
        splits=splits, is_bf16=qkv.dtype == torch.bfloat16, scale=dim**-0.5,
        next=ctypes.pointer(ctypes.c_long(0)),
    )  # fmt: skip
    if library().samvlm_attention(ctypes.byref(job), threads):
        raise MemoryError(f"attention over {height}x{width} patches: not enough memory.")
    return output
