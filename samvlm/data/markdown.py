"""Tables in Markdown (GitHub's pipe form). It holds no spans and one header row; what does not fit is flattened."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from .cells import check_size
from .safe_text import printable

# What Markdown would read as markup: escaped by a backslash. `_` only at a word's edge, `<` and `&` only where a
# tag or an entity could start.
_CHARACTERS = "\\|`*[~"
_SPECIAL = re.compile(r"(?=<[A-Za-z/!?]|&#?\w+;|(?<!\w)_|_(?!\w))")
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])|<br\s*/?>", re.IGNORECASE)
_PIPE = re.compile(r"(?<!\\)((?:\\\\)*)\|")
_DASHES = re.compile(r":?-+:?")
_OF_DELIMITER = re.compile(r"[|:\-\s]+")


def write_markdown(rows: Sequence[Sequence[str]], header_rows: int) -> str:
    """Return a pipe table that ends in a newline; without a header row an empty one is written, as GitHub needs."""
    lines = [[_escape(printable(text)) for text in row] for row in rows]
    if header_rows == 0:
        lines.insert(0, [""] * len(rows[0]))
    lines.insert(1, ["---"] * len(rows[0]))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _escape(text: str) -> str:
    for character in _CHARACTERS:
        text = text.replace(character, f"\\{character}")
    return _SPECIAL.sub(r"\\", text).replace("\n", "<br>")


def read_markdown(text: str) -> tuple[list[list[str]], int]:
    """Read the first pipe table of a text as (rows, header rows: 0 if the header is empty, else 1).

    Raises ValueError if no line of cells is followed by a delimiter line such as `|---|---|`.
    """
    for found in all_markdown(text):
        return found
    raise ValueError(
        f"no Markdown table in {text[:60]!r}; expected a header line and a delimiter line, e.g. '| a | b |' and "
        "'|---|---|'"
    )


def all_markdown(text: str) -> Iterator[tuple[list[list[str]], int]]:
    """Yield every pipe table of a text as `read_markdown` reads the first."""
    lines = text.splitlines()
    end = 0  # behind the table before
    for number in range(1, len(lines)):
        head, delimiter = lines[number - 1], lines[number]
        if number <= end:
            continue
        if "|" not in delimiter or "|" not in head or not _OF_DELIMITER.fullmatch(delimiter):
            continue
        check_size(1, max(1, delimiter.count("|") - 1))
        dashes = _split(delimiter)
        if not all(_DASHES.fullmatch(cell) for cell in dashes):
            continue
        names = _split(head)
        if len(names) != len(dashes):
            continue
        rows = [names] if any(names) else []
        end = number + 1
        while end < len(lines) and lines[end].strip() and not lines[end].lstrip().startswith("```"):
            rows.append(_split(lines[end]))
            end += 1
        yield rows, int(any(names))


def _split(line: str) -> list[str]:
    """Return the cells of one line, unescaped; the outer pipes are optional."""
    line = _PIPE.sub("\\1\0", line.strip().replace("\0", " "))
    line = line.removeprefix("\0").removesuffix("\0")
    return [_ESCAPED.sub(lambda match: match[1] or "\n", cell.strip()) for cell in line.split("\0")]
