"""Tables as pandas data frames: header rows as column labels of several levels, row headers as the index."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from .cells import Cell, check_size, clean_text
from .safe_text import printable
from .tables import Table

if TYPE_CHECKING:
    import pandas

MAX_LEVELS = 20  # of column labels
REMEDY = "data frames need pandas; pip install 'samvlm[dataframe]'"


def write_frame(table: Table, index: bool = False) -> pandas.DataFrame:
    """Return a data frame of texts (of dtype object; `frame.convert_dtypes()` goes on), each at every place that its cell spans, as pandas reads HTML.

    Column labels come from the header rows: none gives numbers, one a plain index, several a MultiIndex; more than 20
    are no labels but rows like the others. With `index` the leading columns that hold row headers only (below the
    header rows) become the index, named by the last header row. Control characters become blanks. Raises ImportError
    if pandas is not installed.
    """
    pandas = _pandas()
    texts = [[printable(cell.text) for cell in line] for line in table.grid()]
    n_head = table.header_rows if table.header_rows <= MAX_LEVELS else 0
    head, body = texts[:n_head], texts[n_head:]
    n_index = _row_header_columns(table, n_head) if index else 0
    columns = _labels(pandas, [line[n_index:] for line in head])
    values = np.array([line[n_index:] for line in body], dtype=object).reshape(
        len(body), table.n_cols - n_index
    )
    frame = pandas.DataFrame(values, columns=columns, dtype=object)
    if n_index:
        levels = [[line[col] for line in body] for col in range(n_index)]
        names = [head[-1][col] or None for col in range(n_index)] if head else None
        frame.index = _labels(pandas, levels, names)
    return frame


def read_frame(frame: pandas.DataFrame, index: bool | None = None) -> Table:
    """Return the table of a data frame: column labels as header rows, the index as row headers, values as text.

    `index` None: the index is left out if it only numbers the rows. Equal labels side by side become a span, but for
    those of the last level, which name one column each; a label that stands on all levels spans them. Missing values
    become empty cells. Raises ImportError if pandas is not installed, ValueError for an empty frame.
    """
    pandas = _pandas()
    if index is None:
        index = not (isinstance(frame.index, pandas.RangeIndex) and frame.index.name is None)
    numbered = isinstance(frame.columns, pandas.RangeIndex) and frame.columns.name is None
    n_index = frame.index.nlevels if index else 0
    n_head = 0 if numbered and not _names(frame.index, index) else frame.columns.nlevels
    n_rows, n_cols = n_head + len(frame.index), n_index + len(frame.columns)
    check_size(n_rows, n_cols)
    cells = []
    for level, col, height, width, text in _merged(_levels(pandas, frame.columns)) if n_head else ():
        cells.append(Cell(text, level, n_index + col, height, width, "column"))
    for col, name in enumerate(_names(frame.index, index) or [""] * n_index if n_head else ()):
        cells.append(Cell(name, 0, col, n_head, 1, "column"))
    for level, row, width, height, text in _merged(_levels(pandas, frame.index)) if n_index else ():
        cells.append(Cell(text, n_head + row, level, height, width, "row"))
    values, missing = frame.to_numpy(dtype=object), frame.isna().to_numpy()
    for row, line in enumerate(values):
        for col, value in enumerate(line):
            cells.append(Cell("" if missing[row, col] else _text(value), n_head + row, n_index + col))
    return Table(cells, n_rows, n_cols)


def _pandas() -> object:
    try:
        import pandas
    except ImportError as error:
        raise ImportError(REMEDY) from error
    return pandas


def _row_header_columns(table: Table, n_head: int) -> int:
    """Number of leading columns whose cells below the header rows are row headers that stay within them."""
    kinds = [True] * table.n_cols
    for cell in table.cells:
        if cell.row >= n_head and cell.header != "row":
            for col in range(cell.col, cell.col + cell.colspan):
                kinds[col] = False
    count = next((col for col, kind in enumerate(kinds) if not kind), table.n_cols)
    if n_head == table.n_rows:
        return 0
    return min(count, table.n_cols - 1)  # a frame without a column shows nothing


def _labels(
    pandas: object, levels: Sequence[Sequence[str]], names: Sequence[str | None] | None = None
) -> object:
    """An index of pandas: none for no level, plain for one, a MultiIndex for several."""
    if not levels:
        return None
    if len(levels) == 1:
        return pandas.Index(list(levels[0]), name=names[0] if names else None)
    return pandas.MultiIndex.from_arrays([list(level) for level in levels], names=names)


def _names(index: pandas.Index, wanted: bool) -> list[str]:
    """Names of the index levels as texts, [] if none has one or they are not wanted."""
    names = ["" if name is None else _text(name) for name in index.names]
    return names if wanted and any(names) else []


def _levels(pandas: object, index: pandas.Index) -> list[list[str]]:
    """The labels of each level, outermost first, as texts."""
    levels = []
    for level in range(index.nlevels):
        values = index.get_level_values(level)
        missing = _missing(pandas, values)
        levels.append(
            ["" if gone else _text(value) for value, gone in zip(values.tolist(), missing, strict=True)]
        )
    return levels


def _missing(pandas: object, values: object) -> list[bool]:
    """Which values are missing (None, NaN, NaT)."""
    return [bool(gone) for gone in pandas.isna(values)]


def _text(value: object) -> str:
    return clean_text(printable(str(value)))


def _merged(levels: list[list[str]]) -> list[tuple[int, int, int, int, str]]:
    """Merge equal labels into (level, position, number of levels, number of positions, label).

    A run of equal labels lies within one run of the level above it; at the last level there are no runs. A label that
    is the same on all levels below takes them too.
    """
    last, count = len(levels) - 1, len(levels[0])
    found = []
    done = [0] * count  # levels that a label above has taken
    starts = {0, count}
    for level, labels in enumerate(levels):
        starts |= {
            position
            for position in range(1, count)
            if level == last
            or labels[position] != labels[position - 1]
            or done[position] != done[position - 1]
        }
        for start, end in pairwise(sorted(starts)):
            if done[start] > level:
                continue
            depth = 1
            while (
                end == start + 1 and level + depth <= last and levels[level + depth][start] == labels[start]
            ):
                depth += 1
            if level + depth <= last:
                depth = 1  # it goes on to another label further down
            done[start:end] = [level + depth] * (end - start)
            found.append((level, start, depth, end - start, labels[start]))
    return found
