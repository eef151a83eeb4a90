"""Write the error viewer: examples are rendered as they come, the worst are kept, their images follow at the end."""

from __future__ import annotations

import heapq
import shutil
import tempfile
import warnings
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import IO, Any, NamedTuple

from PIL import Image

from ...data.images import DocumentWarning, open_image
from ...data.webpage import image_uri, json_block, page_end, page_start, show_text
from ...data.whole_files import whole_file
from ..examples import Example
from ..scores import LOWER_IS_BETTER
from .example import anchor_of, show_example, usable
from .summary import show_summary

MOST_EXAMPLES = 1000
FILE_BYTES = 55_000_000  # what a browser opens without pain; about half of it at most is markup
LONGEST_SIDES = (1000, 700, 500)  # in pixels, of an image: the first that fits its share of the file
SMALL_IMAGE = 40_000  # bytes that an image may always have, while there are as many left


class ViewerReport(NamedTuple):
    """What is in the file: examples shown and left out; images shown smaller, left out to save space, or broken."""

    shown: int
    left_out: int
    smaller_images: int
    images_left_out: int
    broken_images: int


class _Kept(NamedTuple):
    """A rendered example: how bad it is (the worst has the highest), where its two parts lie in the spool."""

    badness: float
    order: int  # minus its place, so that of equals the earlier is worse
    offset: int
    lengths: tuple[int, int]
    image: Any
    facts: dict[str, Any]


def write_viewer(
    path: Path,
    examples: Iterable[Example],
    title: str,
    scores: Mapping[str, Any],
    most: int = MOST_EXAMPLES,
    file_bytes: int = FILE_BYTES,
) -> ViewerReport:
    """Write one HTML file that shows examples, the worst first; it is there whole or not at all.

    Memory stays small: rendered examples wait in a temporary file, and images are opened one at a time.

    Args:
        path: of the file; it is replaced.
        examples: any number, read once. `most` of them are shown: those with the lowest score.
        title: of the page, plain text.
        scores: as in scores.json; see `summary.show_summary` for what is shown of it. The first of its metrics orders
            the examples at first.
        most: examples in the file.
        file_bytes: about how large the file may become. Beyond it images are made smaller, then left out.

    Raises:
        OSError: the file cannot be written.
    """
    metric = next(iter(scores.get("metrics") or ()), None)
    path = Path(path)
    with tempfile.TemporaryFile() as spool, tempfile.TemporaryFile() as body:
        kept, total = _render(examples, spool, metric, most)
        shown = _within(kept, file_bytes // 2)
        report = _assemble(shown, spool, body, file_bytes, total)
        facts = [item.facts for item in shown]
        _write(path, title, show_summary(title, scores, facts, report._asdict()), facts, body)
    return report


def _render(
    examples: Iterable[Example], spool: IO[bytes], metric: str | None, most: int
) -> tuple[list[_Kept], int]:
    """Render the examples that are among the worst so far; return the worst in the end, and how many there were."""
    heap: list[_Kept] = []
    anchors: dict[str, int] = {}
    total = 0
    for number, example in enumerate(examples):
        total += 1
        badness = _badness(example, metric)
        if len(heap) >= most and (badness, -number) <= heap[0][:2]:
            continue
        anchor = anchor_of(example.id)
        anchors[anchor] = anchors.get(anchor, 0) + 1
        if anchors[anchor] > 1:
            anchor += f"+{anchors[anchor]}"
        shown = show_example(example, number, anchor)
        parts = shown.start.encode("utf-8", "replace"), shown.end.encode("utf-8", "replace")
        offset = spool.tell()
        spool.write(parts[0] + parts[1])
        item = _Kept(badness, -number, offset, (len(parts[0]), len(parts[1])), example.image, shown.facts)
        if len(heap) < most:
            heapq.heappush(heap, item)
        else:
            heapq.heapreplace(heap, item)
    return sorted(heap, key=lambda item: item[:2], reverse=True), total


def _badness(example: Example, metric: str | None) -> float:
    """Higher is worse; an example without the score is worst."""
    name = metric if metric is not None else next(iter(example.scores), None)
    score = usable(example.scores.get(name)) if name is not None else None
    if score is None:
        return float("inf")
    return score if name in LOWER_IS_BETTER else -score


def _within(kept: list[_Kept], budget: int) -> list[_Kept]:
    """The worst examples whose markup fits the budget, at least one."""
    size = 0
    for number, item in enumerate(kept):
        size += sum(item.lengths)
        if number and size > budget:
            return kept[:number]
    return kept


def _assemble(shown: list[_Kept], spool: IO[bytes], body: IO[bytes], budget: int, total: int) -> ViewerReport:
    """Write the examples with their images, as far as the budget reaches, the worst first."""
    budget -= sum(sum(item.lengths) for item in shown)
    spent = smaller = left_out = broken = 0
    for number, item in enumerate(shown):
        spool.seek(item.offset)
        body.write(spool.read(item.lengths[0]))
        if item.image is not None:
            images = len(shown) - number
            # Scarce if the images to come are as large as those so far.
            scarce = spent * images > (budget - spent) * number
            share = (budget - spent) // images if scarce else budget - spent
            markup, fate = _image_markup(item.image, share, budget - spent)
            smaller += fate == "smaller"
            left_out += fate == "left out"
            broken += fate == "broken"
            spent += len(markup)
            body.write(markup.encode())
        body.write(spool.read(item.lengths[1]))
    return ViewerReport(len(shown), total - len(shown), smaller, left_out, broken)


def _image_markup(source: Any, share: int, budget: int) -> tuple[str, str]:
    """The figure of an image, and "shown", "smaller", "left out" or "broken"."""
    text = "the image was left out to keep the file small"
    left_out = f'<figure><p class="none">{text}</p></figure>\n', "left out"
    if budget < SMALL_IMAGE:
        return left_out
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DocumentWarning)
            image = open_image(source() if callable(source) else source)
    except Exception as problem:  # whatever draws an image may fail in its own way; the page says how
        text = f"the image cannot be shown: {problem or type(problem).__name__}"
        return f'<figure><p class="none">{show_text(text)}</p></figure>\n', "broken"
    uri, longest = "", 0
    for longest in LONGEST_SIDES:
        uri = image_uri(image, longest)
        if len(uri) <= max(share, SMALL_IMAGE):
            break
    if len(uri) > budget:
        return left_out
    width, height = _shown_size(image, longest)
    caption = f"{image.width:,} × {image.height:,} pixels"
    if (width, height) != image.size:
        caption += f", shown at {width / image.width:.0%}"
    fate = "smaller" if longest < LONGEST_SIDES[0] and max(image.size) > longest else "shown"
    return (
        f'<figure><img alt="what was read" width="{width}" height="{height}" decoding="async">'
        f"{json_block(uri)}<figcaption>{caption}</figcaption></figure>\n"
    ), fate


def _shown_size(image: Image.Image, longest: int) -> tuple[int, int]:
    scale = min(1.0, longest / max(image.size))
    return max(1, round(image.width * scale)), max(1, round(image.height * scale))


def _write(path: Path, title: str, head: str, facts: list[dict[str, Any]], body: IO[bytes]) -> None:
    """Put the file together aside and move it to its place."""
    folder = resources.files(__package__)
    style, script = (folder.joinpath(name).read_text("utf-8") for name in ("viewer.css", "viewer.js"))
    with whole_file(path) as stream:
        stream.write(
            (page_start(title, style, script) + head + '<main id="examples">\n').encode("utf-8", "replace")
        )
        body.seek(0)
        shutil.copyfileobj(body, stream)
        stream.write(("</main>\n" + json_block(facts, 'id="facts"') + page_end(script)).encode())
