"""The kernels of triton_attention.py: flash attention (Dao, 2023) whose block of keys is one row of the image.

A block holds ROWS x COLUMNS = 64 keys of a window: one row of a grid 33 to 64 wide, two of one up to 32 wide, four of
a 14x14 window. The column term of the logits is then the same tile in every block: it is loaded once and stays in
registers. The row term is one number a query and block, and joins the running maximum, so that it costs nothing an
element. Narrower grids leave lanes idle (masked through the column tile); wider ones take several turns of 64 columns.

Keys of a window beyond the image's edge are SAM's padding: `pad_key` and `pad_value`, the projections' biases. Logits
are in powers of two. Names: T tokens of the grid, (window_height, window_width) of a window (the grid's own where the
attention is global), DIM the head's width, BLOCK_D the power of two that holds it.

The module imports where Triton is missing (it comes with PyTorch's builds for GPUs), but then has nothing to run.
"""

from __future__ import annotations

try:
    import triton.language as tl
    from triton import jit
except ImportError:

    def jit(function):
        return function


@jit
def _query_places(
    first, window, windows_across, width, height, window_height, window_width, BLOCK_M: tl.constexpr
):
    """Token numbers of a window's queries `first` to `first + BLOCK_M`, and which of them the image has."""
    lane = first + tl.arange(0, BLOCK_M)
    row = window // windows_across * window_height + lane // window_width
    column = window % windows_across * window_width + lane % window_width
    there = (lane < window_height * window_width) & (row < height) & (column < width)
    return row * width + column, there


@jit
def _key_places(
    row0, column0, window, windows_across, width, height, window_height, window_width,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Token numbers of a block's keys, which of them the window has, and which the image."""
    lane = tl.arange(0, ROWS * COLUMNS)
    row, column = row0 + lane // COLUMNS, column0 + lane % COLUMNS
    inside = (row < window_height) & (column < window_width)
    row += window // windows_across * window_height
    column += window % windows_across * window_width
    return row * width + column, inside, inside & (row < height) & (column < width)


@jit
def _load_rows(
    pointer, places, present, stride, DIM: tl.constexpr, BLOCK_D: tl.constexpr, FULL: tl.constexpr
):
    """(places, BLOCK_D); zeros where absent"""
    dims = tl.arange(0, BLOCK_D)
    pointers = pointer + places[:, None] * stride + dims[None, :]
    if FULL and DIM == BLOCK_D:
        rows = tl.load(pointers)
    else:
        rows = tl.load(pointers, mask=present[:, None] & (dims < DIM)[None, :], other=0.0)
    return rows


@jit
def _store_rows(pointer, places, present, stride, rows, DIM: tl.constexpr, BLOCK_D: tl.constexpr):
    dims = tl.arange(0, BLOCK_D)
    pointers = pointer + places[:, None] * stride + dims[None, :]
    tl.store(pointers, rows.to(pointer.dtype.element_ty), mask=present[:, None] & (dims < DIM)[None, :])


@jit
def _with_padding(rows, pad, inside, real, DIM: tl.constexpr, BLOCK_D: tl.constexpr):
    """The padding's key or value where the window has a place and the image none."""
    dims = tl.arange(0, BLOCK_D)
    padding = tl.load(pad + dims, mask=dims < DIM, other=0.0)
    return tl.where((inside & (real == 0))[:, None], padding[None, :], rows)


@jit
def _column_term(rel_w, places, there, column0, window_width, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """(queries, keys of a block), -inf in the lanes beyond the window's last column"""
    column = column0 + tl.arange(0, ROWS * COLUMNS) % COLUMNS
    inside = (column < window_width)[None, :]
    term = tl.load(
        rel_w + places[:, None] * window_width + column[None, :], mask=there[:, None] & inside, other=0.0
    )
    return tl.where(inside, term.to(tl.float32) * 1.4426950408889634, float("-inf"))


@jit
def _row_term(rel_h, places, there, row0, window_height, tokens, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """(queries, 1) for blocks of one row, else (queries, keys of a block) with -inf beyond the window's last row"""
    if ROWS == 1:
        term = tl.load(rel_h + row0 * tokens + places, mask=there, other=0.0)
        term = (term.to(tl.float32) * 1.4426950408889634)[:, None]
    else:
        row = row0 + tl.arange(0, ROWS * COLUMNS) // COLUMNS
        inside = (row < window_height)[None, :]
        term = tl.load(
            rel_h + row[None, :] * tokens + places[:, None], mask=there[:, None] & inside, other=0.0
        )
        term = tl.where(inside, term.to(tl.float32) * 1.4426950408889634, float("-inf"))
    return term


@jit
def _attention_forward(
    query, key, value, rel_h, rel_w, pad_key, pad_value, output, log_sums,
    stride_b, stride_h, stride_t, heads, height, width, window_height, window_width, windows_across, windows, tiles,
    scale,
    DIM: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_M: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    FULL: tl.constexpr, PADDED: tl.constexpr,
):  # fmt: skip
    """A program: BLOCK_M queries of one window of one head. Writes `output` (B, T, heads, DIM) and the logarithms to
    base 2 of the softmax's sums, (B, heads, T). `scale` is the logits' times log2(e)."""
    program = tl.program_id(0)
    tile, window, slice_ = program % tiles, program // tiles % windows, program // (tiles * windows)
    batch, head, tokens = (slice_ // heads).to(tl.int64), slice_ % heads, height * width
    start = batch * stride_b + head * stride_h
    rel_h += slice_.to(tl.int64) * window_height * tokens
    rel_w += slice_.to(tl.int64) * tokens * window_width
    places, there = _query_places(
        tile * BLOCK_M, window, windows_across, width, height, window_height, window_width, BLOCK_M
    )
    q = _load_rows(query + start, places, there, stride_t, DIM, BLOCK_D, False)
    peak = tl.full([BLOCK_M], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    result = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    for column0 in range(0, window_width, COLUMNS):
        column = _column_term(rel_w, places, there, column0, window_width, ROWS, COLUMNS)
        for row0 in range(0, window_height, ROWS):
            keys, inside, real = _key_places(
                row0, column0, window, windows_across, width, height, window_height, window_width, ROWS, COLUMNS
            )  # fmt: skip
            k = _load_rows(key + start, keys, real, stride_t, DIM, BLOCK_D, FULL)
            v = _load_rows(value + start, keys, real, stride_t, DIM, BLOCK_D, FULL)
            if PADDED:
                k = _with_padding(k, pad_key + head * DIM, inside, real, DIM, BLOCK_D)
                v = _with_padding(v, pad_value + head * DIM, inside, real, DIM, BLOCK_D)
            scores = tl.dot(q, tl.trans(k), input_precision="ieee") * scale + column
            row = _row_term(rel_h, places, there, row0, window_height, tokens, ROWS, COLUMNS)
            if ROWS == 1:
                row = tl.reshape(row, [BLOCK_M])
                highest = tl.maximum(peak, tl.max(scores, 1) + row)
                weights = tl.exp2(scores - (highest - row)[:, None])
            else:
                scores += row
                highest = tl.maximum(peak, tl.max(scores, 1))
                weights = tl.exp2(scores - highest[:, None])
            shrink = tl.exp2(peak - highest)
            total = total * shrink + tl.sum(weights, 1)
            result = tl.dot(weights.to(v.dtype), v, result * shrink[:, None], input_precision="ieee")
            peak = highest
    start = (batch * tokens * heads + head) * DIM
    _store_rows(output + start, places, there, heads * DIM, result / total[:, None], DIM, BLOCK_D)
    tl.store(log_sums + slice_.to(tl.int64) * tokens + places, peak + tl.log2(total), mask=there)


@jit
def _attention_backward_query(
    query, key, value, rel_h, rel_w, pad_key, pad_value, output, log_sums, grad, delta,
    grad_query, grad_rel_h, grad_rel_w,
    stride_b, stride_h, stride_t, heads, height, width, window_height, window_width, windows_across, windows, tiles,
    slices, scale, plain_scale,
    DIM: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_M: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    FULL: tl.constexpr, PADDED: tl.constexpr,
):  # fmt: skip
    """A program: BLOCK_M queries of one window of one head. Writes their gradients, those of their column terms and, for
    each turn of 64 columns one after the other, those of their row terms; also, for the next kernel, `delta`, the sums
    of output times its gradient, (B, heads, T)."""
    program = tl.program_id(0)
    tile, window, slice_ = program % tiles, program // tiles % windows, program // (tiles * windows)
    batch, head, tokens = (slice_ // heads).to(tl.int64), slice_ % heads, height * width
    start, start_out = batch * stride_b + head * stride_h, (batch * tokens * heads + head) * DIM
    start_h = slice_.to(tl.int64) * window_height * tokens
    start_w = slice_.to(tl.int64) * tokens * window_width
    places, there = _query_places(
        tile * BLOCK_M, window, windows_across, width, height, window_height, window_width, BLOCK_M
    )
    q = _load_rows(query + start, places, there, stride_t, DIM, BLOCK_D, False)
    do = _load_rows(grad + start_out, places, there, heads * DIM, DIM, BLOCK_D, False)
    out = _load_rows(output + start_out, places, there, heads * DIM, DIM, BLOCK_D, False)
    sums = tl.sum(out.to(tl.float32) * do.to(tl.float32), 1)
    tl.store(delta + slice_.to(tl.int64) * tokens + places, sums, mask=there)
    log_sum = tl.load(log_sums + slice_.to(tl.int64) * tokens + places, mask=there, other=float("inf"))
    dq = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    for column0 in range(0, window_width, COLUMNS):
        column = _column_term(rel_w + start_w, places, there, column0, window_width, ROWS, COLUMNS)
        by_column = tl.zeros([BLOCK_M, ROWS * COLUMNS], tl.float32)
        for row0 in range(0, window_height, ROWS):
            keys, inside, real = _key_places(
                row0, column0, window, windows_across, width, height, window_height, window_width, ROWS, COLUMNS
            )  # fmt: skip
            k = _load_rows(key + start, keys, real, stride_t, DIM, BLOCK_D, FULL)
            v = _load_rows(value + start, keys, real, stride_t, DIM, BLOCK_D, FULL)
            if PADDED:
                k = _with_padding(k, pad_key + head * DIM, inside, real, DIM, BLOCK_D)
                v = _with_padding(v, pad_value + head * DIM, inside, real, DIM, BLOCK_D)
            scores = tl.dot(q, tl.trans(k), input_precision="ieee") * scale + column
            scores += _row_term(rel_h + start_h, places, there, row0, window_height, tokens, ROWS, COLUMNS)
            ds = tl.exp2(scores - log_sum[:, None])
            ds *= tl.dot(do, tl.trans(v), input_precision="ieee") - sums[:, None]
            dq = tl.dot(ds.to(k.dtype), k, dq, input_precision="ieee")
            by_column += ds
            row = row0 + tl.arange(0, ROWS)
            tl.store(
                grad_rel_h + start_h + row[None, :] * tokens + places[:, None],
                tl.sum(tl.reshape(ds, [BLOCK_M, ROWS, COLUMNS]), 2),
                mask=there[:, None] & (row < window_height)[None, :],
            )
        grad_rel_h += slices * window_height * tokens
        column = column0 + tl.arange(0, COLUMNS)
        tl.store(
            grad_rel_w + start_w + places[:, None] * window_width + column[None, :],
            tl.sum(tl.reshape(by_column, [BLOCK_M, ROWS, COLUMNS]), 1),
            mask=there[:, None] & (column < window_width)[None, :],
        )
    _store_rows(grad_query + start_out, places, there, heads * DIM, dq * plain_scale, DIM, BLOCK_D)


@jit
def _attention_backward_key(
    query, key, value, rel_h, rel_w, pad_key, pad_value, log_sums, grad, delta,
    grad_key, grad_value, grad_padding,
    stride_b, stride_h, stride_t, heads, height, width, window_height, window_width, windows_across, windows, tiles,
    blocks_across, scale, plain_scale,
    DIM: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_M: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    PADDED: tl.constexpr,
):  # fmt: skip
    """A program: one block of keys of one window of one head. Writes the gradients of its keys and values, and the sums
    of those of its padded ones, `grad_padding` (programs, 2, DIM)."""
    program = tl.program_id(0)
    tile, window, slice_ = program % tiles, program // tiles % windows, program // (tiles * windows)
    batch, head, tokens = (slice_ // heads).to(tl.int64), slice_ % heads, height * width
    start, start_out = batch * stride_b + head * stride_h, (batch * tokens * heads + head) * DIM
    rel_h += slice_.to(tl.int64) * window_height * tokens
    rel_w += slice_.to(tl.int64) * tokens * window_width
    row0, column0 = tile // blocks_across * ROWS, tile % blocks_across * COLUMNS
    keys, inside, real = _key_places(
        row0, column0, window, windows_across, width, height, window_height, window_width, ROWS, COLUMNS
    )
    k = _load_rows(key + start, keys, real, stride_t, DIM, BLOCK_D, False)
    v = _load_rows(value + start, keys, real, stride_t, DIM, BLOCK_D, False)
    if PADDED:
        k = _with_padding(k, pad_key + head * DIM, inside, real, DIM, BLOCK_D)
        v = _with_padding(v, pad_value + head * DIM, inside, real, DIM, BLOCK_D)
    dk = tl.zeros([ROWS * COLUMNS, BLOCK_D], tl.float32)
    dv = tl.zeros([ROWS * COLUMNS, BLOCK_D], tl.float32)
    for first in range(0, window_height * window_width, BLOCK_M):
        places, there = _query_places(
            first, window, windows_across, width, height, window_height, window_width, BLOCK_M
        )
        q = _load_rows(query + start, places, there, stride_t, DIM, BLOCK_D, False)
        do = _load_rows(grad + start_out, places, there, heads * DIM, DIM, BLOCK_D, False)
        # Queries that are not there: a sum without end, and so no weight.
        log_sum = tl.load(log_sums + slice_.to(tl.int64) * tokens + places, mask=there, other=float("inf"))
        sums = tl.load(delta + slice_.to(tl.int64) * tokens + places, mask=there, other=0.0)
        scores = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
        scores += _column_term(rel_w, places, there, column0, window_width, ROWS, COLUMNS)
        scores += _row_term(rel_h, places, there, row0, window_height, tokens, ROWS, COLUMNS)
        weights = tl.exp2(scores - log_sum[:, None])
        dv = tl.dot(tl.trans(weights.to(do.dtype)), do, dv, input_precision="ieee")
        ds = weights * (tl.dot(do, tl.trans(v), input_precision="ieee") - sums[:, None])
        dk = tl.dot(tl.trans(ds.to(q.dtype)), q, dk, input_precision="ieee")
    dk *= plain_scale
    _store_rows(grad_key + start_out, keys, real, heads * DIM, dk, DIM, BLOCK_D)
    _store_rows(grad_value + start_out, keys, real, heads * DIM, dv, DIM, BLOCK_D)
    if PADDED:
        padded = (inside & (real == 0))[:, None]
        dims = tl.arange(0, BLOCK_D)
        pointers = grad_padding + program.to(tl.int64) * 2 * DIM + dims
        tl.store(pointers, tl.sum(tl.where(padded, dk, 0.0), 0), mask=dims < DIM)
        tl.store(pointers + DIM, tl.sum(tl.where(padded, dv, 0.0), 0), mask=dims < DIM)


@jit
def _relative_terms(
    query, table, terms, stride_b, stride_h, stride_t, heads, height, width, size, middle,
    BY_ROW: tl.constexpr, DIM: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_L: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """A program: one line of queries of one head, a row of the image (BY_ROW: terms (B, heads, size, T)) or a column
    (terms (B, heads, T, size)), against every place of a window of `size`; `middle` is offset 0's row of the table."""
    lines = height if BY_ROW else width
    length = width if BY_ROW else height
    program = tl.program_id(0)
    line, slice_ = program % lines, program // lines
    batch, head, tokens = (slice_ // heads).to(tl.int64), slice_ % heads, height * width
    query += batch * stride_b + head * stride_h
    terms += slice_.to(tl.int64) * size * tokens
    for first in range(0, length, BLOCK_L):
        along = first + tl.arange(0, BLOCK_L)
        places = line * width + along if BY_ROW else along * width + line
        q = _load_rows(query, places, along < length, stride_t, DIM, BLOCK_D, False)
        for first_key in range(0, size, BLOCK_K):
            keys = first_key + tl.arange(0, BLOCK_K)
            offsets = _load_rows(table, middle + line % size - keys, keys < size, DIM, DIM, BLOCK_D, False)
            found = (along < length)[:, None] & (keys < size)[None, :]
            products = tl.dot(q, tl.trans(offsets), input_precision="ieee").to(terms.dtype.element_ty)
            if BY_ROW:
                tl.store(terms + keys[None, :] * tokens + places[:, None], products, mask=found)
            else:
                tl.store(terms + places[:, None] * size + keys[None, :], products, mask=found)
