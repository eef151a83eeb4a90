"""Self-contained web pages of tables and pictures, safe to open whatever the texts in them are.

Texts come from data sets and models, so from anyone: `show_text` escapes them, `json_block` keeps them from ending
a script, and the page's content security policy runs the page's own script alone and loads nothing.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import unicodedata
from collections.abc import Callable
from html import escape
from typing import Any

from PIL import Image, ImageChops

from .cells import Cell
from .tables import Table

GREY_RANGE = 40  # an image whose channels differ less than this is drawn in shades of grey
JPEG_QUALITY = 80

# Control and format characters, separators and what has no shape of its own: shown by name instead.
_UNSEEN = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164"
    "\ud800-\udfff\ufeff\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e007f]"
)
_JOINERS = "\u200c\u200d"  # part of the spelling of Persian, Hindi and emoji
_IN_SCRIPT = re.compile("[<>&\x7f-\x9f\u2028\u2029\ud800-\udfff]")

STYLE = """
:root { color-scheme: light dark;
  --paper: #fff; --ground: #f6f6f4; --ink: #1d1f21; --soft: #62666b; --line: #d9d9d4; --head: #f0f0ec;
  --accent: #1f5fa8; --good: #1c7a43; --warn: #8a5a00; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #1b1d1f; --ground: #131415; --ink: #e4e4e0; --soft: #9a9ea3; --line: #383b3e; --head: #25282a;
  --accent: #7db2ee; --good: #6cc791; --warn: #dcae52; --bad: #f28b82; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 1.2rem clamp(.8rem, 2.5vw, 2rem) 3rem; background: var(--ground); color: var(--ink);
  font: 14px/1.45 system-ui, -apple-system, "Segoe UI", "Noto Sans", sans-serif; font-variant-numeric: tabular-nums; }
h1 { font-size: 1.35rem; font-weight: 650; letter-spacing: -.01em; margin: 0 0 .4rem; }
h2 { font-size: 1.05rem; font-weight: 650; margin: 1.6rem 0 .5rem; }
p, h1, h2 { overflow-wrap: anywhere; }
table { border-collapse: collapse; }
td, th { border: 1px solid var(--line); padding: .15rem .5rem; text-align: start; vertical-align: top; }
th { background: var(--head); font-weight: 600; }
.scroll { overflow: auto; max-width: 100%; }
.unseen { font: .72em/1.2 ui-monospace, monospace; padding: 0 .2em; margin: 0 .1em; border: 1px dotted currentColor;
  border-radius: 2px; white-space: nowrap; unicode-bidi: isolate; }
img { max-width: 100%; height: auto; }
a { color: var(--accent); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
@media print { body { background: none; padding: 0; } }
"""


def page(title: str, body: str, style: str = "", script: str = "") -> str:
    """Return a complete HTML5 document for light and dark screens.

    `body` is HTML, `title` plain text; `style` comes after the base `STYLE`. Only `script` runs (the policy names it
    by its hash, so inline handlers and other scripts do not); images must be data URIs; nothing else is loaded.
    Raises ValueError for a style or script that would end its own element.
    """
    return page_start(title, style, script) + body + page_end(script)


def page_start(title: str, style: str = "", script: str = "") -> str:
    """Return the document up to its body, for pages that are written piece by piece; `page_end` ends them."""
    for name, text in (("style", style), ("script", script)):
        if f"</{name}" in text.lower() or "<!--" in text:
            raise ValueError(f"the {name} of the page holds </{name} or <!--; write it in another way")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    runs = f"'sha256-{digest}'" if script else "'none'"
    policy = f"default-src 'none'; script-src {runs}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{escape(plain_line(title))}</title>\n<style>{STYLE}{style}</style>\n</head>\n<body>\n"
    )


def page_end(script: str = "") -> str:
    """Return what ends the document of `page_start`; `script` must be the same."""
    return (f"\n<script>{script}</script>" if script else "") + "\n</body>\n</html>\n"


def show_text(text: str) -> str:
    """Return HTML that shows a text as it is: escaped, lines kept, unseen characters by name or number."""
    return _UNSEEN.sub(_show_unseen, escape(text)).replace("\n", "<br>")


def plain_line(text: str) -> str:
    """Return the text on one line without unseen characters, for titles and attributes; not escaped."""
    return " ".join(_UNSEEN.sub(" ", text).split())


def json_block(value: Any, attributes: str = "") -> str:
    """Return a script element that holds a value as JSON for the page's script; nothing in it can end it early."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    safe = _IN_SCRIPT.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
    return f'<script type="application/json"{" " + attributes if attributes else ""}>{safe}</script>'


def table_markup(
    table: Table,
    classes: Callable[[Cell], str] | None = None,
    content: Callable[[Cell], str] | None = None,
    max_rows: int | None = None,
) -> str:
    """Return the table as HTML that shows its texts and does nothing else.

    Args:
        table: header cells become `th` with their scope; each cell takes its own writing direction.
        classes: the value of a cell's class attribute ("" for none).
        content: the HTML within a cell; without it `show_text` of the cell's text.
        max_rows: draw this many rows, and say in a last row how many were left out.
    """
    rows = table.n_rows if max_rows is None else min(table.n_rows, max_rows)
    lines: list[list[str]] = [[] for _ in range(rows)]
    for cell in table.cells:
        if cell.row < rows:
            lines[cell.row].append(_cell_markup(cell, rows, classes, content))
    head = min(table.header_rows, rows)
    drawn = [f"<tr>{''.join(line)}</tr>\n" for line in lines]
    if rows < table.n_rows:
        left = f"{table.n_rows - rows:,} of {table.n_rows:,} rows are not drawn"
        drawn.append(f'<tr><td colspan="{table.n_cols}" class="cut">… {left}</td></tr>\n')
    start = f"<thead>{''.join(drawn[:head])}</thead>" if head else ""
    return f"<table>{start}<tbody>{''.join(drawn[head:])}</tbody></table>"


def image_uri(image: Image.Image, longest: int = 1000) -> str:
    """Return the image as a data URI, scaled down so that its longer side has at most `longest` pixels.

    PNG in 16 colours or shades of grey, or JPEG: whichever is smaller.
    """
    image = image.convert("RGB")
    image.thumbnail((longest, longest), Image.Resampling.LANCZOS, reducing_gap=3)
    red, green, blue = image.split()
    spread = ImageChops.lighter(ImageChops.difference(red, green), ImageChops.difference(green, blue))
    grey = spread.getextrema()[1] < GREY_RANGE
    few = (image.convert("L") if grey else image).quantize(16, dither=Image.Dither.NONE)
    found = []
    for picture, kind, options in (
        (few, "png", {"optimize": True}),
        (image.convert("L") if grey else image, "jpeg", {"quality": JPEG_QUALITY, "optimize": True}),
    ):
        stream = io.BytesIO()
        picture.save(stream, kind, **options)
        found.append((stream.getvalue(), kind))
    data, kind = min(found, key=lambda item: len(item[0]))
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _show_unseen(match: re.Match) -> str:
    character, text = match[0], match.string
    if character in _JOINERS and match.start() and match.end() < len(text):
        before, after = text[match.start() - 1], text[match.end()]
        if before > "\x7f" and after > "\x7f":
            return character
    code = ord(character)
    name = unicodedata.name(character, f"control character {code:#x}").lower()
    shown = chr(0x2400 + code) if code < 0x20 else "␡" if code == 0x7F else f"{code:04X}"
    return f'<span class="unseen" title="U+{code:04X} {name}">{shown}</span>'


def _cell_markup(
    cell: Cell,
    rows: int,
    classes: Callable[[Cell], str] | None,
    content: Callable[[Cell], str] | None,
) -> str:
    scopes = {"column": ("col", "colgroup"), "row": ("row", "rowgroup"), "section": ("rowgroup", "rowgroup")}
    rowspan = min(cell.rowspan, rows - cell.row)
    name = classes(cell) if classes else ""
    attributes = f' class="{escape(name)}"' if name else ""
    if cell.header:
        wide = (cell.colspan if cell.header == "column" else cell.rowspan) > 1
        attributes += f' scope="{scopes[cell.header][wide]}"'
    if rowspan > 1:
        attributes += f' rowspan="{rowspan}"'
    if cell.colspan > 1:
        attributes += f' colspan="{cell.colspan}"'
    tag = "th" if cell.header else "td"
    return f'<{tag} dir="auto"{attributes}>{content(cell) if content else show_text(cell.text)}</{tag}>'
