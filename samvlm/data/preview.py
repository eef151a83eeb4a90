"""Records as web pages: the picture beside the truth as it is rendered, for a look before training."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import ImageDraw

from .check.boxes import is_box
from .check.examination import true_table
from .conversations import text_of
from .images import open_image
from .records import Record, parse_record, record_lines
from .webpage import image_uri, page_end, page_start, show_text, table_markup
from .whole_files import whole_file

LONGEST = 700  # pixels of a picture
BOX_COLOUR = (240, 140, 120)
MAX_ROWS = 60  # of a table that is drawn

RECORD_STYLE = """
.record { display: grid; grid-template-columns: minmax(0, 5fr) minmax(0, 7fr); gap: .2rem 1.2rem; padding: .8rem 1rem;
  margin: .7rem 0; background: var(--paper); border: 1px solid var(--line); border-radius: 4px; }
.record > .about { grid-column: 1 / -1; color: var(--soft); overflow-wrap: anywhere; }
.record > .about b { color: var(--ink); font-weight: 600; }
.record > .about .seen { color: var(--ink); display: block; }
.record img { display: block; border: 1px solid var(--line); background: #fff; }
.record .none { color: var(--soft); font-style: italic; }
.record .scroll { max-height: 40rem; }
.record table { font-size: 12.5px; background: var(--paper); }
.record .turn { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0 0 .6rem; }
.record .turn b { color: var(--soft); font-weight: 600; }
.record .cut { color: var(--soft); }
@media (max-width: 700px) { .record { grid-template-columns: minmax(0, 1fr); } }
"""


def record_markup(
    item: Any, folder: str | Path, where: str = "", seen: str = "", longest: int = LONGEST
) -> str:
    """Return one record as HTML: where it stands, what was seen, its picture and its truth.

    item: the JSON value of its line, good or bad; folder: what its image path is relative to.
    """
    try:
        record = parse_record(item, Path(folder))
    except ValueError as error:
        record = None
        truth = f'<p class="none">{show_text(str(error))}</p>'
    else:
        truth = _truth(record)
    name = item.get("id") if isinstance(item, dict) else None
    about = [f"<b>{show_text(str(name))}</b>"] if isinstance(name, str | int) else []
    if record is not None:
        about += [show_text(value) for value in (record.task, record.source, record.licence) if value]
        split = record.extra.get("split")
        about += [show_text(split)] if isinstance(split, str) else []
    about += [show_text(where)] if where else []
    seen = f'<span class="seen">{show_text(seen)}</span>' if seen else ""
    given = item.get("image") if isinstance(item, dict) else None
    image = (
        record.image
        if record
        else Path(folder) / given
        if isinstance(given, str) and "\0" not in given
        else None
    )
    return (
        f'<article class="record"><div class="about">{" · ".join(about)}{seen}</div>'
        f"<div>{_picture(image, longest, record.extra.get('boxes') if record else None)}</div>"
        f"<div>{truth}</div></article>\n"
    )


class Shown(NamedTuple):
    """What is on a page: `count` of `total` lines, of which `broken` are no records."""

    count: int
    total: int
    broken: int


def write_preview(
    path: str | Path, files: Sequence[str | Path], limit: int = 50, seed: int | None = None
) -> Shown:
    """Write a web page of at most `limit` records, good and bad.

    seed: which records are drawn; None: the first ones. They stand in the order of the files.
    Raises ValueError for a file that is not there or has no records, OSError if the page cannot be written.
    """
    total = sum(1 for file in files for _ in record_lines(file)) if seed is not None else 0
    wanted = None
    if seed is not None:
        wanted = set(np.random.default_rng(seed).permutation(total)[:limit].tolist())
    chosen: list[tuple[str, Any, Path]] = []
    total = 0
    for file in files:
        for where, item in record_lines(file):
            if total < limit if wanted is None else total in wanted:
                chosen.append((where, item, Path(file).absolute().parent))
            total += 1
    if not total:
        raise ValueError(f"{', '.join(map(str, files))}: no records; give at least one line of JSON")
    title = ", ".join(Path(file).name for file in files)
    with whole_file(Path(path)) as stream:
        for part in _pages(title, chosen, total):
            stream.write(part.encode("utf-8", "replace"))
    return Shown(len(chosen), total, sum(not _is_record(item, folder) for _, item, folder in chosen))


def _is_record(item: Any, folder: Path) -> bool:
    try:
        return not isinstance(item, ValueError) and parse_record(item, folder) is not None
    except ValueError:
        return False


def _pages(title: str, chosen: list[tuple[str, Any, Path]], total: int) -> Iterable[str]:
    yield page_start(f"{title}: records", RECORD_STYLE)
    yield f"<h1>{show_text(title)}</h1><p>{len(chosen):,} of {total:,} records</p>"
    for where, item, folder in chosen:
        if isinstance(item, ValueError):
            yield record_markup(None, folder, where, str(item))
        else:
            yield record_markup(item, folder, where)
    yield page_end()


def _picture(image: Path | None, longest: int, boxes: Any = None) -> str:
    if image is None:
        return '<p class="none">no image</p>'
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that only the first frame is read
            picture = open_image(image)
    except ValueError as error:  # DocumentError: the page says why there is no picture
        return f'<p class="none">{show_text(str(error))}</p>'
    title = escape(f"{picture.width} x {picture.height} pixels")
    if isinstance(boxes, list):
        draw = ImageDraw.Draw(picture)
        for box in filter(is_box, boxes):
            draw.rectangle(tuple(box), outline=BOX_COLOUR)
    return f'<img src="{image_uri(picture, longest)}" title="{title}" alt="">'


def _truth(record: Record) -> str:
    try:
        table, _ = true_table(record)
    except ValueError as error:
        return f'<p class="none">{show_text(str(error))}</p>'
    if table is not None:
        return f'<div class="scroll">{table_markup(table, max_rows=MAX_ROWS)}</div>'
    turns = [
        f'<p class="turn"><b>{show_text(turn["role"])}</b> {show_text(text_of(turn).strip())}</p>'
        for turn in record.messages
    ]
    return "".join(turns)
