"""What parsing a page or a document gives: tables, text, how it ended, and every export of them."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from ..data.plain import draw_table, plain_text
from ..data.tables import Table

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
            f'{title}<p style="white-space:pre-wrap">{html.escape(self.text)}</p>\n' if self.text else title
        )

    def to_markdown(self) -> str:
        """Pipe tables with a blank line between them; spans are flattened."""
        return self._join(Table.to_markdown, "\n")

    def to_csv(self, raw: bool = False) -> str:
        """CSV, a blank line between tables; a cell that a spreadsheet would run gets a quote, unless `raw`."""
        if self.tables:
            return "\n".join(table.to_csv(raw) for table in self.tables)
        rows = [line.split(": ", 1) if self.task == "form" else [line] for line in self.text.splitlines()]
        return Table.from_rows(rows).to_csv(raw) if rows else ""

    def to_otsl(self) -> str:
        """OTSL, a table a line; complete also where the model's own `text` was cut off."""
        return self._join(lambda table: table.to_otsl() + "\n", "")

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
            "tables": [table.to_dict() for table in self.tables],
            "text": self.text,
        }

    def to_json(self) -> str:
        """`to_dict` as JSON on one line."""
        return json.dumps(self.to_dict(), ensure_ascii=False) + "\n"

    def _join(self, write: Callable[[Table], str], separator: str) -> str:
        if self.tables:
            return separator.join(write(table) for table in self.tables)
        return self.text + "\n" if self.text else ""


EXPORTS: dict[str, Callable[[ParseResult], str]] = {
    "html": ParseResult.to_html,
    "md": ParseResult.to_markdown,
    "csv": ParseResult.to_csv,
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
