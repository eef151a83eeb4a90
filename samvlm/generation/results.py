"""What parsing a page or a document gives: tables, text, how it ended, and every export of them."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from ..data.plain import draw_table, plain_text
from ..data.safe_text import dump_json, printable
from ..data.spreadsheet.writer import write_xlsx
from ..data.tables import Table
from .timing import Timing

FinishReason = Literal["stop", "length", "repetition", "error"]

_STYLE = (
    "body{font:15px/1.4 system-ui,sans-serif;margin:2em;color:#222}"
    "table{border-collapse:collapse;margin:1em 0}"
    "td,th{border:1px solid #bbb;padding:.25em .6em;text-align:left;vertical-align:top;white-space:pre-line}"
    "thead td,th{background:#f2f2f2;font-weight:600}"
    "h2{font-size:1em;color:#666;margin:1.5em 0 0}"
)


@dataclass
class ParseResult:
    """One parsed page, or a document of several (`pages`).

    For a document, `tables`, `text`, `seconds` and `tokens` are those of its pages together and `finish_reason`
    is the worst of them.
    """

    task: str = "table"
    text: str = ""  # what the model answered, as it stands: OTSL for a table
    tables: list[Table] = field(default_factory=list)
    finish_reason: FinishReason = (
        "stop"  # "length", "repetition": cut off; "error": the page could not be read
    )
    seconds: float = 0.0  # wall clock, without reading the file
    image_size: tuple[int, int] | None = None  # width and height in pixels of the page as read
    tokens: int = 0  # generated
    page: int = 1  # number of the page, from 1
    error: str | None = None  # why a page could not be read
    pages: list[ParseResult] = field(default_factory=list)  # empty for a single page
    timing: Timing | None = None  # of a page, where `DocumentParser.timing` asks for it

    @classmethod
    def merge(cls, pages: list[ParseResult]) -> ParseResult:
        """The result of a document from those of its pages."""
        order = ("stop", "length", "repetition", "error")
        return cls(
            task=pages[0].task,
            text="\n".join(page.text for page in pages if page.text),
            tables=[table for page in pages for table in page.tables],
            finish_reason=max((page.finish_reason for page in pages), key=order.index),
            seconds=sum(page.seconds for page in pages),
            image_size=pages[0].image_size,
            tokens=sum(page.tokens for page in pages),
            error="; ".join(page.error for page in pages if page.error) or None,
            pages=pages,
        )

    def to_html(self, title: str = "samvlm") -> str:
        """A complete HTML document: each table (PubTabNet's dialect: thead, td) a child of the body."""
        return html_head(title) + "".join(page.html_body() for page in self.pages or [self]) + HTML_TAIL

    def html_body(self, heading: str | None = None) -> str:
        """The part of an HTML document that holds this page, for documents of several."""
        title = f"<h2>{html.escape(heading)}</h2>\n" if heading else ""
        if self.tables:
            return title + "\n".join(table.to_html(wrap=False) for table in self.tables) + "\n"
        return (
            f'{title}<p style="white-space:pre-wrap">{html.escape(printable(self.text))}</p>\n'
            if self.text
            else title
        )

    def to_markdown(self) -> str:
        """Pipe tables with a blank line between them; spans are flattened."""
        if self.tables:
            return "\n".join(table.to_markdown() for table in self.tables)
        return printable(self.text) + "\n" if self.text else ""

    def to_csv(self, raw: bool = False) -> str:
        """CSV, a blank line between tables; a cell that a spreadsheet would run gets a quote, unless `raw`."""
        return "\n".join(table.to_csv(raw) for table in self._as_tables())

    def to_xlsx(self, raw: bool = False) -> bytes:
        """An XLSX workbook, a sheet a table; plain numbers become numbers, unless `raw`. Text is never a formula."""
        named = list(named_tables(self))
        return write_xlsx([table for _, table in named], [name for name, _ in named], raw)

    def _as_tables(self) -> list[Table]:
        """The tables; for an answer that is text, its lines as rows (a form's as name and value), if there are any."""
        if self.tables or not self.text.strip():
            return self.tables
        rows = [line.split(": ", 1) if self.task == "form" else [line] for line in self.text.splitlines()]
        return [Table.from_rows(rows)]

    def to_otsl(self) -> str:
        """OTSL, a table a line; complete also where the model's own `text` was cut off."""
        if self.tables:
            return "".join(table.to_otsl() + "\n" for table in self.tables)
        return self.text + "\n" if self.text else ""

    def to_text(self, width: int | None = None) -> str:
        """Aligned columns for a terminal, at most about `width` places wide."""
        if self.tables:
            return "\n".join(draw_table(table, width) for table in self.tables)
        return "".join(plain_text(line) + "\n" for line in self.text.splitlines())

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; a document has its `pages`."""
        if self.pages:
            return {"task": self.task, "pages": [page.to_dict() for page in self.pages]}
        return {
            "task": self.task,
            "page": self.page,
            "finish_reason": self.finish_reason,
            "error": self.error,
            "seconds": round(self.seconds, 3),
            "tokens": self.tokens,
            "image_size": list(self.image_size) if self.image_size else None,
            **({"timing": self.timing.to_dict()} if self.timing else {}),
            "tables": [table.to_dict() for table in self.tables],
            "text": self.text,
        }

    def to_json(self) -> str:
        """`to_dict` as JSON on one line."""
        return dump_json(self.to_dict()) + "\n"


EXPORTS: dict[str, Callable[[ParseResult], str | bytes]] = {
    "html": ParseResult.to_html,
    "md": ParseResult.to_markdown,
    "csv": ParseResult.to_csv,
    "xlsx": ParseResult.to_xlsx,
    "json": ParseResult.to_json,
    "otsl": ParseResult.to_otsl,
    "text": ParseResult.to_text,
}


def html_head(title: str) -> str:
    """The start of an HTML document, up to the first table."""
    return (
        '<!DOCTYPE html>\n<html lang="und">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
    )


HTML_TAIL = "</body>\n</html>\n"


def single_tables(result: ParseResult) -> Iterable[tuple[int, ParseResult]]:
    """The page once for each of its tables, numbered from 1; a page without a table once as it is."""
    if not result.tables:
        yield 1, result
    for number, table in enumerate(result.tables, 1):
        yield number, ParseResult(**{**vars(result), "tables": [table]})


def named_tables(result: ParseResult) -> Iterable[tuple[str, Table]]:
    """The tables of a page or document with names for sheets: "Table 1", in documents "Page 2, table 1"."""
    for page in result.pages or [result]:
        for number, table in enumerate(page._as_tables(), 1):
            yield (f"Page {page.page}, table {number}" if result.pages else f"Table {number}"), table
