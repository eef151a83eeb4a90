"""The truth of an image as people store it beside it: HTML, JSON, OTSL, Markdown, Excel, CSV or TSV."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from lxml import etree

from ..html import table_elements
from ..markdown import all_markdown
from ..tables import Table
from .pubtabnet import token_table
from .truth import truth

# What makes a JSON object a label, and of which task; the first that is there counts.
_TASK_OF = {"html": "table", "otsl": "table", "tables": "table", "n_rows": "table"}
_TASK_OF |= {"fields": "form", "question": "question", "text": "text", "target": ""}
_BOMS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


class Label(NamedTuple):
    """The truth of one image: task, target and extra fields as an Item has them."""

    task: str
    target: dict[str, Any]
    extra: dict[str, Any]


def read_label(path: Path, header_rows: int = 1) -> Label:
    """Read the truth in a file; its suffix says how, see `LABELS`.

    header_rows: rows of a CSV or TSV file that are column headers
    Raises ValueError if the file is not readable, or holds no table, or more than one.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"it cannot be opened ({error.strerror})") from None
    if path.suffix.lower() == ".xlsx":
        return _read_xlsx(data)
    encoding = next((name for mark, name in _BOMS.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(f"it is no UTF-8 ({error.reason}); save it as UTF-8") from None
    return _READ[path.suffix.lower()](text, header_rows)


def is_label(value: dict[str, Any]) -> bool:
    """Whether a JSON object holds a truth."""
    return any(value.get(key) is not None for key in _TASK_OF)


def label_of(value: dict[str, Any]) -> Label:
    """Read the truth in a JSON object.

    One of "html" (a text, or PubTabNet's tokens), "otsl", "text", "fields", "question" with "answer", a table as
    `Table.to_json` writes it, what `samvlm parse -f json` writes, or "target" with one of these. Raises ValueError.
    """
    key = next((key for key in _TASK_OF if value.get(key) is not None), None)
    if key is None:
        raise ValueError(
            f"no truth in the keys {', '.join(value)}; expected html, otsl, text, fields or question"
        )
    content = value[key]
    if key == "target":
        if not isinstance(content, dict) or "target" in content:
            raise ValueError(f"the target is {content!r}; give an object such as {{'html': …}}")
        return label_of(content)
    if key == "html":
        if isinstance(content, dict):
            return Label("table", *token_table(content))
        return Label("table", {"html": complete_html(_text(content, key))}, {})
    if key == "otsl":
        return _of_table(Table.from_otsl(_text(content, key)))
    if key == "n_rows":
        return _of_table(Table.from_dict(value))
    if key == "tables":
        if not isinstance(content, list) or len(content) != 1:
            raise ValueError("the JSON holds no table or several; one image has one table")
        return _of_table(Table.from_dict(content[0]))
    task = _TASK_OF[key]
    names = ("question", "answer") if task == "question" else (key,)
    return Label(task, {name: value[name] for name in names if value.get(name) is not None}, {})


def complete_html(text: str) -> str:
    """Return "<html><body><table>…</table></body></html>" of the one table in a text, its inline tags kept.

    A text that has this form already is returned as it is. Raises ValueError for no table with cells, or several.
    """
    tables = [table for table in table_elements(text) if next(table.iter("td", "th"), None) is not None]
    if len(tables) != 1:
        raise ValueError(f"it holds {len(tables)} tables with cells; one image has one table")
    if "<table" in text.lower().partition("</html>")[2]:  # the parser reads no further
        raise ValueError("it holds a table behind </html>; one image has one table")
    stripped = text.strip()
    if stripped.startswith("<html><body><table") and stripped.endswith("</table></body></html>"):
        return stripped
    table = etree.tostring(tables[0], encoding="unicode", method="html", with_tail=False)
    return f"<html><body>{table}</body></html>"


def _of_table(table: Table) -> Label:
    return Label("table", *truth(table))


def _text(value: Any, key: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{key!r} is {str(value)[:60]!r}; expected a text")
    return value


def _read_html(text: str, header_rows: int) -> Label:
    return Label("table", {"html": complete_html(text)}, {})


def _read_markdown(text: str, header_rows: int) -> Label:
    if len(list(islice(all_markdown(text), 2))) > 1:
        raise ValueError("it holds several tables; one image has one table")
    return _of_table(Table.from_markdown(text))


def _read_otsl(text: str, header_rows: int) -> Label:
    return _of_table(Table.from_otsl(text))


def _read_tsv(text: str, header_rows: int) -> Label:
    return _of_table(Table.from_csv(text, header_rows, delimiter="\t"))


def _read_csv(text: str, header_rows: int) -> Label:
    """Read CSV with the delimiter (comma, semicolon or tab) that parts the first line into most cells."""
    first = text.lstrip().split("\n", 1)[0][:10_000]
    delimiter = max(",;\t", key=lambda mark: len(next(csv.reader(io.StringIO(first), delimiter=mark), [])))
    return _of_table(Table.from_csv(text, header_rows, delimiter=delimiter))


def _read_json(text: str, header_rows: int) -> Label:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is no JSON ({error})") from None
    if not isinstance(value, dict):
        raise ValueError(
            f"the JSON is no object but {type(value).__name__}; expected {{'html': …}} or the like"
        )
    return label_of(value)


def _read_xlsx(data: bytes) -> Label:
    """Read the one sheet with cells; its column headers are the frozen or bold rows."""
    sheets = Table.all_from_xlsx(data)
    if len(sheets) != 1:
        raise ValueError(f"it holds {len(sheets)} sheets with cells; one image has one table")
    return _of_table(next(iter(sheets.values())))


_READ: dict[str, Callable[[str, int], Label]] = {
    ".html": _read_html,
    ".htm": _read_html,
    ".json": _read_json,
    ".otsl": _read_otsl,
    ".txt": _read_otsl,
    ".md": _read_markdown,
    ".markdown": _read_markdown,
    ".csv": _read_csv,
    ".tsv": _read_tsv,
}
# Suffixes of files of truth; where an image has several beside it, the first kind counts.
LABELS = (".html", ".htm", ".json", ".otsl", ".txt", ".xlsx", ".md", ".markdown", ".csv", ".tsv")
