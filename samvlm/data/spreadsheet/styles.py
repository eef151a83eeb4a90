"""What a spreadsheet's styles mean for a table: bold, bordered, and how a number is shown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple, TypeVar

from lxml import etree

from .package import Package, local_name

T = TypeVar("T")

MAX_FORMAT = 255  # characters of a number format

_PLAIN_FORMAT = re.compile(r"(?P<grouped>#,##)?0(?:\.(?P<decimals>0{1,30}))?(?P<percent>%)?")


class Style(NamedTuple):
    """A cell format: the number format's code, whether the font is bold and whether any border is drawn."""

    format: str = "General"
    bold: bool = False
    framed: bool = False


def read_styles(package: Package, part: str) -> list[Style]:
    """Read the cell formats of a workbook, [] if it has none. Raises ValueError if they are damaged."""
    formats: dict[str, str] = {}
    bold: list[bool] = []
    framed: list[bool] = []
    styles: list[Style] = []
    for element in package.elements(part, "numFmt", "font", "border", "xf"):
        kind, parent = local_name(element), element.getparent()
        group = "" if parent is None else local_name(parent)
        if kind == "numFmt":
            formats[element.get("numFmtId", "")] = element.get("formatCode", "")[:MAX_FORMAT]
        elif (kind, group) == ("font", "fonts"):
            bold.append(_is_on(element.find("{*}b")))
        elif (kind, group) == ("border", "borders"):
            framed.append(any(side.get("style", "none") != "none" for side in element))
        elif (kind, group) == ("xf", "cellXfs"):
            number = element.get("numFmtId", "0")
            code = formats.get(number) or _builtin(number)
            styles.append(
                Style(
                    code,
                    pick(bold, element.get("fontId"), False),
                    pick(framed, element.get("borderId"), False),
                )
            )
    return styles


def pick(values: Sequence[T], number: str | None, default: T) -> T:
    """The value of this number, which a file gives as text (None: "0"); `default` if there is none."""
    digits = "0" if number is None else number
    if not (digits.isascii() and digits.isdigit() and len(digits) < 10):
        return default
    return values[int(digits)] if int(digits) < len(values) else default


def shown_number(text: str, number: float, code: str, since_1904: bool) -> str:
    """Return a stored number as a sheet shows it: digits and percent by its format, dates in ISO form.

    Formats with more to them (currencies, conditions) show the plain number, without digits that are only noise of
    the binary form.
    """
    match = _PLAIN_FORMAT.fullmatch(code)
    if match:
        decimals = len(match["decimals"] or "")
        shown = (
            f"{number * 100 if match['percent'] else number:{',' if match['grouped'] else ''}.{decimals}f}"
        )
        return shown + (match["percent"] or "")
    if _is_date(code):
        return _date(number, code, since_1904) or text
    plain = f"{number:.15g}"
    return f"{number:.0f}" if "e" in plain and number.is_integer() and abs(number) < 1e21 else plain


def _is_on(element: etree._Element | None) -> bool:
    return element is not None and element.get("val", "1") not in ("0", "false")


def _builtin(number: str) -> str:
    """The code of a format that workbooks do not spell out."""
    from openpyxl.styles.numbers import BUILTIN_FORMATS

    return BUILTIN_FORMATS.get(int(number), "General") if re.fullmatch("[0-9]{1,3}", number) else "General"


def _is_date(code: str) -> bool:
    from openpyxl.styles.numbers import is_date_format

    return code not in ("General", "@") and is_date_format(code)


def _date(number: float, code: str, since_1904: bool) -> str | None:
    """A day count in ISO form, with the time if the format shows one; None beyond the calendar."""
    from openpyxl.utils.datetime import MAC_EPOCH, WINDOWS_EPOCH, from_excel

    try:
        value = from_excel(number, MAC_EPOCH if since_1904 else WINDOWS_EPOCH)
        if isinstance(value, datetime):  # to whole seconds
            value = (value + timedelta(milliseconds=500)).replace(microsecond=0)
    except (OverflowError, ValueError):
        return None
    if isinstance(value, datetime):
        has_time = bool(re.search("[hHsS]", code)) or value.time().isoformat() != "00:00:00"
        return value.isoformat(" ") if has_time else value.date().isoformat()
    return value.isoformat("seconds")
