"""OTSL, the table language of the model: nine tokens, one for each place of the grid and one for a row's end.

Lysak et al., "Optimized Table Tokenization for Table Structure Recognition" (arXiv 2305.03393), with the header
tokens of docling (ched, rhed, srow). A cell's text follows its token:

    <ched>Year<ched>Sales<nl><fcel>2004<fcel>34.7<nl>

A span is written as the paper does: `lcel` continues the cell to the left, `ucel` the one above and `xcel` both
(`C L / U X`). The reader also takes the form that fills a two-dimensional span with `xcel` alone (`C X / X X`).
A literal token within a text is written with a backslash after its `<`: the text "<nl>" becomes `<\\nl>`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .cells import MAX_GRID, Cell, Layout, check_size, clean_text, place

NAMES = ("fcel", "ecel", "lcel", "ucel", "xcel", "nl", "ched", "rhed", "srow")
TOKENS: tuple[str, ...] = tuple(f"<{name}>" for name in NAMES)
FCEL, ECEL, LCEL, UCEL, XCEL, NL, CHED, RHED, SROW = TOKENS

TEXT_TOKENS = (FCEL, CHED, RHED, SROW)  # a text may follow
ORIGIN_TOKENS = (FCEL, ECEL, CHED, RHED, SROW)  # a cell starts here
HEADER_OF = {CHED: "column", RHED: "row", SROW: "section"}
TOKEN_OF = {header: token for token, header in HEADER_OF.items()}

_ALTERNATIVES = "|".join(NAMES)
_TOKEN = re.compile(f"(<(?:{_ALTERNATIVES})>)")
_LITERAL = re.compile(rf"<(\\*)({_ALTERNATIVES})>")
_ESCAPED = re.compile(rf"<\\(\\*(?:{_ALTERNATIVES})>)")


def escape(text: str) -> str:
    """Make literal OTSL tokens in a cell's text safe: `<nl>` becomes `<\\nl>`, `<\\nl>` becomes `<\\\\nl>`."""
    return _LITERAL.sub(r"<\\\1\2>", text) if "<" in text else text


def unescape(text: str) -> str:
    """Undo `escape`."""
    return _ESCAPED.sub(r"<\1", text) if "<\\" in text else text


def split_tokens(otsl: str) -> list[tuple[str, str]]:
    """Split OTSL into (token, the text after it); text before the first token comes with token ""."""
    parts = _TOKEN.split(otsl)
    return ([("", parts[0])] if parts[0] else []) + list(zip(parts[1::2], parts[2::2], strict=True))


def write_otsl(cells: Iterable[Cell], n_rows: int, n_cols: int) -> str:
    """Return the OTSL of cells that tile the grid."""
    out = []
    for row, line in enumerate(place(list(cells), n_rows, n_cols)):
        for col, cell in enumerate(line):
            if cell is None or (cell.row == row and cell.col == col):
                text = escape(cell.text) if cell else ""
                header = cell.header if cell else None
                out.append((TOKEN_OF[header] if header else FCEL if text else ECEL) + text)
            else:
                out.append(UCEL if cell.col == col else LCEL if cell.row == row else XCEL)
        out.append(NL)
    return "".join(out)


def read_otsl(otsl: str) -> Layout:
    """Read OTSL of either dialect; repair what is not a rectangle. Raises ValueError if it holds no token.

    Short rows are padded with empty cells; a merge that is not a rectangle keeps its largest leading rectangle and
    the rest becomes empty cells; each repair is listed.
    """
    repairs: list[str] = []
    rows: list[list[tuple[str, str]]] = [[]]
    for token, raw in split_tokens(otsl):
        text = clean_text(unescape(raw))
        if token == ECEL and text:
            token = FCEL
            repairs.append(f"row {len(rows) - 1}: text {text!r} after {ECEL}, read as {FCEL}")
        elif text and token not in TEXT_TOKENS:
            repairs.append(f"row {len(rows) - 1}: text {text!r} after {token or 'nothing'} dropped")
        if token == NL:
            rows.append([])
        elif token:
            rows[-1].append((token, text))
    if rows[-1]:
        repairs.append(f"row {len(rows) - 1}: not closed by {NL}")
    else:
        rows.pop()
    n_cols = max(map(len, rows), default=0)
    if n_cols == 0:
        raise ValueError(
            f"no OTSL cell in {otsl[:60]!r}; expected tokens such as {FCEL} and {NL}, e.g. {FCEL}a{FCEL}b{NL}"
        )
    if len(rows) * n_cols > MAX_GRID:
        check_size(len(rows), n_cols)
    for number, row in enumerate(rows):
        if len(row) < n_cols:
            repairs.append(f"row {number}: {len(row)} of {n_cols} columns, padded with empty cells")
            row.extend([(ECEL, "")] * (n_cols - len(row)))
    return Layout(_merge(rows, n_cols, repairs), len(rows), n_cols, repairs)


def _merge(rows: list[list[tuple[str, str]]], n_cols: int, repairs: list[str]) -> list[Cell]:
    """Turn rows of equal length into cells, growing each from its origin: to the right, then down."""
    n_rows = len(rows)
    kinds = [[token for token, _ in row] for row in rows]
    taken = [[False] * n_cols for _ in rows]
    cells = []
    for r in range(n_rows):
        for c in range(n_cols):
            if taken[r][c]:
                continue
            token, text = rows[r][c]
            if token not in ORIGIN_TOKENS:
                repairs.append(f"row {r}, column {c}: {token} continues no cell, read as an empty cell")
                cells.append(Cell("", r, c))
                continue
            width = _width(kinds, taken, r, c, n_cols)
            height = _height(kinds, taken, r, c, width, n_rows)
            for row in taken[r : r + height]:
                row[c : c + width] = [True] * width
            cells.append(Cell(text, r, c, height, width, HEADER_OF.get(token)))
    return cells


def _width(kinds: list[list[str]], taken: list[list[bool]], r: int, c: int, n_cols: int) -> int:
    """Columns of the cell that starts at (r, c): lcel's, or xcel's in the dialect that fills spans with them."""
    if c + 1 >= n_cols or taken[r][c + 1] or kinds[r][c + 1] not in (LCEL, XCEL):
        return 1
    follows, end = kinds[r][c + 1], c + 1
    while end < n_cols and kinds[r][end] == follows and not taken[r][end]:
        end += 1
    return end - c


def _height(kinds: list[list[str]], taken: list[list[bool]], r: int, c: int, width: int, n_rows: int) -> int:
    """Rows of the cell: those below whose places all continue it (`ucel` first, or all `xcel`)."""
    filled = width > 1 and kinds[r][c + 1] == XCEL
    end = r + 1
    while end < n_rows and not any(taken[end][c : c + width]):
        line = kinds[end][c : c + width]
        if filled:
            # `D X X` over `X …`: D opens a filled span of its own, to which these places belong
            opens = (
                c > 0
                and not taken[end][c - 1]
                and kinds[end][c - 1] in ORIGIN_TOKENS
                and end + 1 < n_rows
                and kinds[end + 1][c - 1] == XCEL
            )
            if opens or any(kind != XCEL for kind in line):
                break
        elif line[0] != UCEL or any(kind not in (XCEL, UCEL, LCEL) for kind in line[1:]):
            break
        end += 1
    return end - r
