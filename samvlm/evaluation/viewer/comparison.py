"""Truth and prediction of one example as HTML, each cell marked with what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...data.tables import Table
from ...data.webpage import show_text, table_markup
from ...metrics.alignment import AlignedCell, align_tables
from ..examples import Example
from .differences import mark_differences

VERDICTS = ("text", "span", "missing", "extra")
SIGNS = {"text": "~", "span": "↔", "missing": "−", "extra": "+"}
MEANINGS = {
    "text": "another text",
    "span": "other rows or columns",
    "missing": "missing in the prediction",
    "extra": "not in the truth",
}
MOST_CELLS = 3000  # of one table that are drawn
MOST_LISTED = 6  # differences of one example in words
MOST_RAW = 20_000  # characters of an answer that is no table


@dataclass
class Comparison:
    """The two sides as HTML, the first differences as list items, cells by verdict, and remarks in plain text."""

    truth: str
    prediction: str
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(VERDICTS, 0))
    items: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def compare(example: Example) -> Comparison:
    """Compare what was read with the truth: tables cell by cell, other answers character by character."""
    if example.task != "table":
        return _compare_texts(example)
    truth, prediction = _read(example.truth_html), _read(example.prediction_html)
    if truth is not None and prediction is not None:
        try:
            return _compare_tables(example, truth, prediction)
        except ValueError as problem:  # too large to compare
            remarks = [f"The cells are not compared: {problem}."]
            return Comparison(_pane(truth), _pane(prediction), remarks=remarks)
    shown = Comparison(_pane(truth), _pane(prediction) if prediction else _raw(example))
    if truth is not None:
        shown.counts["missing"] = len(truth.cells)
    elif prediction is not None:
        shown.remarks.append("The truth is no table that can be read.")
    return shown


def _compare_texts(example: Example) -> Comparison:
    prediction, truth = mark_differences(example.prediction_text, example.truth_text)
    shown = Comparison(_text(truth), _text(prediction) if prediction else _none("nothing was answered"))
    shown.counts["text"] = int(example.prediction_text != example.truth_text)
    return shown


def _compare_tables(example: Example, truth: Table, prediction: Table) -> Comparison:
    cells = align_tables(prediction, truth).cells
    remarks = []
    if not any(cell.text for cell in truth.cells):
        remarks.append("The truth holds no texts: only the structure is compared.")
        cells = [cell._replace(verdict="equal") if cell.verdict == "text" else cell for cell in cells]
    if (truth.n_rows, truth.n_cols) != (prediction.n_rows, prediction.n_cols):
        remarks.append(f"Size: {_size(truth)} in the truth, {_size(prediction)} in the prediction.")
    if truth.header_rows != prediction.header_rows:
        found = f"{truth.header_rows} in the truth, {prediction.header_rows} in the prediction"
        remarks.append(f"Header rows: {found}.")
    wrong = [cell for cell in cells if cell.verdict != "equal"]
    if not wrong and not remarks and any(score < 1 for score in example.scores.values()):
        remarks.append(
            "Every cell is read as in the truth; the scores below 1 count tags that are not shown here."
        )
    sides = [
        _pane(table, {id(cell[side]): (number, cell) for number, cell in enumerate(cells)}, side)
        for side, table in enumerate((truth, prediction))
    ]
    shown = Comparison(sides[0], sides[1], remarks=remarks)
    for cell in wrong:
        shown.counts[cell.verdict] += 1
    numbered = [(number, cell) for number, cell in enumerate(cells) if cell.verdict != "equal"]
    shown.items = [_in_words(number, cell) for number, cell in numbered[:MOST_LISTED]]
    return shown


def _read(html: str) -> Table | None:
    try:
        return Table.from_html(html)
    except ValueError:
        return None


def _size(table: Table) -> str:
    return f"{table.n_rows:,} × {table.n_cols:,}"


def _pane(
    table: Table | None, judged: dict[int, tuple[int, AlignedCell]] | None = None, side: int = 0
) -> str:
    """A table in a box that scrolls; `judged` has by the id of each cell its number and what it is aligned with."""
    if table is None:
        return _none("no table")
    rows = max(1, MOST_CELLS // table.n_cols)
    if judged is None:
        drawn = table_markup(table, max_rows=rows)
    else:
        drawn = table_markup(
            table,
            lambda cell: _classes(*judged[id(cell)]),
            lambda cell: _marked(judged[id(cell)][1], side),
            rows,
        )
    return f'<div class="scroll" tabindex="0">{drawn}</div>'


def _classes(number: int, aligned: AlignedCell) -> str:
    """The two cells of a pair share their first class."""
    return f"k{number}" if aligned.verdict == "equal" else f"k{number} {aligned.verdict}"


def _marked(aligned: AlignedCell, side: int) -> str:
    """The text of a cell with the sign of its verdict and, against the other side, its marks."""
    cell = aligned[side]
    if aligned.verdict == "equal":
        return show_text(cell.text)
    spans = f" {cell.rowspan}×{cell.colspan}" if aligned.verdict == "span" else ""
    meaning = MEANINGS[aligned.verdict]
    sign = f'<i class="sign" role="img" aria-label="{meaning}" title="{meaning}">{SIGNS[aligned.verdict]}{spans}</i>'
    return sign + (_both(aligned)[1 - side] if aligned.verdict in ("text", "span") else show_text(cell.text))


def _both(aligned: AlignedCell) -> tuple[str, str]:
    """Prediction and truth of a cell, marked where they differ."""
    return mark_differences(aligned.prediction.text, aligned.truth.text)


def _in_words(number: int, aligned: AlignedCell) -> str:
    """One difference as a list item: where, and what was read instead of what."""
    verdict, cell = aligned.verdict, aligned.truth or aligned.prediction
    where = f"row {cell.row + 1}, column {cell.col + 1}"
    sign = f'<i class="sign" role="img" aria-label="{MEANINGS[verdict]}">{SIGNS[verdict]}</i>'
    if verdict in ("missing", "extra"):
        what = _quoted(show_text(cell.text))
    else:
        prediction, truth = _both(aligned)
        what = f"{_quoted(truth)} → {_quoted(prediction)}"
        if verdict == "span":
            sizes = [f"{side.rowspan}×{side.colspan}" for side in aligned[:2]]
            same = aligned.truth.text == aligned.prediction.text
            what = f"{_quoted(truth) if same else what} {' → '.join(sizes)}"
    return f'<li class="{verdict}" data-cell="k{number}">{sign}<b>{where}</b> {what}</li>'


def _quoted(shown: str) -> str:
    return f'<q dir="auto">{shown}</q>' if shown else '<span class="none">empty</span>'


def _text(shown: str) -> str:
    return f'<div class="answer" dir="auto">{shown}</div>'


def _none(what: str) -> str:
    return f'<p class="none">{what}</p>'


def _raw(example: Example) -> str:
    """An answer that is no table, as it stands."""
    answer = example.prediction_text or example.prediction_html
    if not answer.strip():
        return _none("no table: nothing was answered")
    left = len(answer) - MOST_RAW
    more = _none(f"… and {left:,} more characters") if left > 0 else ""
    return _none("no table in the answer:") + _text(show_text(answer[:MOST_RAW])) + more
