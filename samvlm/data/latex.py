"""Tables in LaTeX: a reader of `tabular` and its kin, with \\multicolumn and \\multirow, for the truth of data sets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from .cells import MAX_SPAN, Cell, Layout, check_size

_BEGIN = re.compile(r"\\begin\s*\{(tabular\*?|tabularx|tabulary|array|longtable|supertabular)\}")
_TWO_ARGUMENTS = ("tabular*", "tabularx", "tabulary")
_COMMENT = re.compile(r"(?<!\\)((?:\\\\)*)%[^\n]*\n?")
_LENGTH = r"(?:\s*\[\s*[-+]?[\d.]*\s*(?:[a-z]{2}|\\[A-Za-z]+)\s*\])?"  # `[1]` may start a text
_RULE = re.compile(
    r"\\(?:hline|toprule|bottomrule|midrule|endhead|endfirsthead|endfoot|endlastfoot|addlinespace)(?![A-Za-z])"
    rf"{_LENGTH}|\\(?:cline|cmidrule){_LENGTH}(?:\s*\([^)]*\))?\s*\{{[^}}]*\}}|\\noalign\s*\{{[^}}]*\}}"
)
_HEAD_ENDS = re.compile(r"\\(?:midrule|endhead|endfirsthead)(?![A-Za-z])")
_ROW_END = re.compile(rf"(?:\\\\\*?|\\tabularnewline(?![A-Za-z])){_LENGTH}")
_STYLE = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|sc|sl|up|md|normal)?|emph|underline|mbox|makecell|shortstack|thead)\s*"
    r"(?:\[[^\]]*\]\s*)?(?=\{)"
)
_SWITCH = re.compile(
    r"\\(?:bfseries|itshape|ttfamily|rmfamily|sffamily|scshape|centering|raggedright|raggedleft|tiny|scriptsize|"
    r"footnotesize|small|normalsize|large|bf|it|rm|tt)(?![A-Za-z])\s*"
)
_NAMES = {
    "textbackslash": "\\",
    "textasciitilde": "~",
    "textasciicircum": "^",
    "textbar": "|",
    "textless": "<",
    "textgreater": ">",
    "ldots": "…",
    "dots": "…",
    "newline": " ",
    "quad": " ",
    "qquad": " ",
}
_PIECE = re.compile(
    rf"\\([%&#_{{}}$])|\\({'|'.join(_NAMES)})(?![A-Za-z])(?:\{{\}}|\s+)?|\\[,;:! ]|[~{{}}]|\\\\"
)


class _Source(NamedTuple):
    """A cell as it is written: its text and its spans."""

    text: str
    rowspan: int
    colspan: int


_EMPTY = _Source("", 1, 1)


def read_latex(text: str) -> Layout:
    """Read the first tabular, tabular*, tabularx, array or longtable of a text.

    Rows above the first \\midrule (or \\endhead) are column headers. Styles are dropped, formulas ($…$) and unknown
    commands stay as they are written. Raises ValueError if there is no table with cells, or it is too large.
    """
    begin = _BEGIN.search(text)
    if begin is None:
        raise ValueError(f"no LaTeX table in {text[:60]!r}; expected \\begin{{tabular}}{{lr}} a & b \\\\ …")
    return _read_from(text, begin)[0]


def all_latex(text: str) -> Iterator[Layout]:
    """Yield every table with cells of a text, as `read_latex` reads the first; the last may be cut off."""
    at = 0
    while begin := _BEGIN.search(text, at):
        try:
            layout, at = _read_from(text, begin)
        except ValueError:
            at = begin.end()
        else:
            yield layout


def _read_from(text: str, begin: re.Match[str]) -> tuple[Layout, int]:
    """The table that begins at a match of _BEGIN, and where it ends."""
    at = begin.end()
    for _ in range(1 + (begin[1] in _TWO_ARGUMENTS)):
        at = _after_argument(text, at)
    end = text.find(f"\\end{{{begin[1]}}}", at)
    end = end if end >= 0 else len(text)
    body = _COMMENT.sub(r"\1", text[at:end])
    head = 0
    rows: list[list[_Source]] = []
    pieces = list(_split(body, _ROW_END))
    for number, piece in enumerate(pieces, 1):
        if _HEAD_ENDS.search(piece) and not head:
            head = len(rows)
        source = _RULE.sub(" ", piece)
        if source.strip() or number < len(pieces):
            rows.append([_read_cell(cell) for cell in _split(source, re.compile("&"))])
    if any(len(row) > 1 for row in rows):  # a line of nothing, not even &, is a gap then
        kept = [row != [_EMPTY] for row in rows]
        head = sum(kept[:head])
        rows = [row for row, keep in zip(rows, kept, strict=True) if keep]
    if not rows:
        raise ValueError(f"the LaTeX table in {text[begin.start() :][:60]!r} has no cell")
    return _place(rows, head), end


def _place(rows: list[list[_Source]], head: int) -> Layout:
    """Put cells on the grid; the empty cells that are written below a \\multirow are part of it."""
    n_rows, n_cols = len(rows), max(sum(cell.colspan for cell in row) for row in rows)
    check_size(n_rows, n_cols)
    cells: list[Cell] = []
    repairs: list[str] = []
    above: dict[int, Cell] = {}  # column -> the cell that reaches down to this row
    for number, row in enumerate(rows):
        col = 0
        for source in row:
            over = above.get(col)
            if over is not None and over.row + over.rowspan > number:
                if not source.text:
                    col += source.colspan
                    continue
                repairs.append(f"row {over.row}, column {over.col}: \\multirow cut, a text is below it")
                over.rowspan = number - over.row
            header = "column" if number < head else None
            rowspan = min(source.rowspan, n_rows - number)
            cell = Cell(source.text, number, col, rowspan, source.colspan, header)
            for place in range(col, col + source.colspan):
                other = above.get(place)
                if other is not None and other.row + other.rowspan > number:
                    repairs.append(f"row {other.row}, column {other.col}: \\multirow cut, a cell is below it")
                    other.rowspan = number - other.row
                above[place] = cell
            cells.append(cell)
            col += source.colspan
        if col < n_cols:
            repairs.append(f"row {number}: {col} of {n_cols} columns, padded with empty cells")
    return Layout(cells, n_rows, n_cols, repairs)


def _read_cell(source: str) -> _Source:
    rowspan = colspan = 1
    source = source.strip()
    for _ in range(4):  # one within the other, in either order
        match = re.match(r"(?:\\(multicolumn|multirow)\s*(?:\[[^\]]*\]\s*)?)(?=\{)", source)
        if match is None:
            break
        arguments, at = [], match.end()
        for _ in range(3):
            optional = re.compile(r"\s*\[[^\]]*\]").match(source, at)
            at = optional.end() if optional and match[1] == "multirow" else at
            after = _after_argument(source, at)
            arguments.append(source[at:after].strip()[1:-1])
            at = after
            if match[1] == "multirow" and len(arguments) == 1 and source[at:].lstrip().startswith("*"):
                arguments.append("*")  # the width may stand without braces
                at = source.index("*", at) + 1
            if len(arguments) == 3:
                break
        digits = re.fullmatch(r"\s*(\d{1,4})\s*", arguments[0])
        span = min(max(int(digits[1]), 1), MAX_SPAN) if digits else 1
        rowspan, colspan = (rowspan, span) if match[1] == "multicolumn" else (span, colspan)
        source = (arguments[-1] + source[at:]).strip()
    return _Source(_plain(source), rowspan, colspan)


def _plain(source: str) -> str:
    """The text of a cell: styles and braces dropped, escapes undone, formulas as they are."""
    out = []
    for number, part in enumerate(re.split(r"(?<!\\)(\$(?:[^$\\]|\\.)*\$)", source)):
        if number % 2 == 0:
            part = _SWITCH.sub("", _STYLE.sub("", part))
            part = _PIECE.sub(_spelled, part)
        out.append(part)
    return " ".join("".join(out).split())


def _spelled(match: re.Match[str]) -> str:
    if match[1]:
        return match[1]
    if match[2]:
        return _NAMES[match[2]]
    return "" if match[0] in "{}" else " "


def _after_argument(text: str, at: int) -> int:
    """Where the braces that open behind blanks and an optional [argument] close; `at` if none open."""
    start = re.compile(r"\s*(?:\[[^\]]*\]\s*)?").match(text, at).end()
    if text[start : start + 1] != "{":
        return at
    depth = 0
    for match in re.compile(r"\\.|[{}]", re.DOTALL).finditer(text, start):
        depth += (match[0] == "{") - (match[0] == "}")
        if depth == 0:
            return match.end()
    return len(text)


def _split(text: str, mark: re.Pattern[str]) -> Iterator[str]:
    """Split at a mark that stands in no braces and is not escaped."""
    depth = start = at = 0
    while at < len(text):
        if depth == 0 and (match := mark.match(text, at)):
            yield text[start:at]
            start = at = match.end()
        elif text[at] == "\\":
            at += 2
        else:
            depth = max(depth + (text[at] == "{") - (text[at] == "}"), 0)
            at += 1
    yield text[start:]
