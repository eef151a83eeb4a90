"""Text that may leave the package: no control characters in documents, JSON that any reader takes."""

from __future__ import annotations

import json
import re
from typing import Any

# Controls (C0 but for tab and line feed, delete, C1), line and paragraph separators, lone surrogates, and the two
# noncharacters that XML forbids.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def printable(text: str) -> str:
    """Return the text with a blank for each character that XML forbids, steers a terminal or breaks lines unseen.

    HTML, Markdown, CSV, XLSX and data frames are written so; JSON and OTSL keep the text as it is.
    """
    return _UNPRINTABLE.sub(" ", text)


def dump_json(value: Any) -> str:
    """Return JSON on one line, letters as they are; lone surrogates, which UTF-8 cannot hold, are escaped."""
    text = json.dumps(value, ensure_ascii=False)
    return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
