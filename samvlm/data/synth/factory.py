"""sample() and plan_size(): one draw of one kind, decided by (kind, seed, index, options) alone."""

import difflib
from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image

from .damage import finish
from .dice import Dice
from .forms import draw_form
from .manner_tables import STYLES, draw_manner_table
from .page import Drawn
from .questions import draw_question
from .sample import SynthSample
from .strips import draw_strip
from .tables import draw_table
from .texts import draw_text

STEP = 64  # sides are whole multiples of this
PADDING = (255, 255, 255)  # the canvas around a document, as the image processor of the shipped model pads it
# Options that are numbers, and their bounds.
RANGES = {"max_side": (128, 65536), "max_area": (4096, 2**32), "damage": (0, 1), "scale": (0.5, 4)}
OPTIONS = (*RANGES, "style")
_WIDTHS = {128: 0.5, 192: 2, 256: 4, 320: 7, 384: 9, 448: 12, 512: 10, 576: 7, 640: 6, 704: 5, 768: 8}
_ASPECTS = {(-1.7, 0.3): 0.7, (-3.2, -1.3): 0.18, (0.2, 1.2): 0.12}  # height to width, as powers of two


def plan_size(
    kind: str,
    seed: int,
    index: int,
    *,
    max_side: int = 768,
    max_area: int = 768 * 512,
    damage: float = 1.0,
    style: str | None = None,
    scale: float = 1.0,
) -> tuple[int, int]:
    """(width, height) of the image that sample() makes from the same arguments, without making it.

    Multiples of 64. A strip is 256x64; the rest are 128..max_side wide, 64..max_side high and at most `max_area`
    pixels large. With another `scale` than 1 all but the bounds is so many times larger. Takes a few microseconds.
    """
    _check(kind, style)
    if kind == "strip":
        return _steps(256 * scale), _steps(64 * scale)
    dice = Dice("size", kind, seed, index)
    width = dice.weighted({w: p for w, p in _WIDTHS.items() if _steps(w * scale) <= max_side} or {128: 1})
    if kind == "question":
        width = min(width, 448)
    width = min(_steps(width * scale), max_side // STEP * STEP)
    low, high = dice.weighted(_ASPECTS)
    aspect = 2.0 ** dice.between(low, high)
    most = min(max_side, max_area // width, round(320 * scale) if kind == "question" else max_side)
    return width, max(STEP, min(_steps(width * aspect), most // STEP * STEP))


def sample(
    kind: str,
    seed: int,
    index: int,
    size: tuple[int, int] | None = None,
    *,
    max_side: int = 768,
    max_area: int = 768 * 512,
    damage: float = 1.0,
    style: str | None = None,
    scale: float = 1.0,
) -> SynthSample:
    """Sample number `index` of the endless stream (kind, seed); see KINDS for the kinds.

    `size` overrides plan_size's (width, height). `damage` in [0, 1] scales how often images are damaged. `style`, one of
    STYLES, makes tables say what those of journals, reports or shops say; without it they are of any words and figures.
    `scale` is the size of the type against the usual 9 to 18 pixels an em (most of it 9 to 13).
    Raises ValueError for an unknown kind or style or a size below 64x32.
    """
    _check(kind, style)
    width, height = size or plan_size(kind, seed, index, max_side=max_side, max_area=max_area, scale=scale)
    if width < 64 or height < 32:
        raise ValueError(f"size {width}x{height} is too small to draw on: give at least 64x32")
    key = (kind, seed, index) if style is None else (kind, style, seed, index)
    dice = Dice(*key, scale=scale)
    right, bottom = (0, 0) if kind == "strip" else _padding(dice, width, height)
    if style is None:
        made = KINDS[kind](dice, width - right, height - bottom)
    else:
        made = draw_manner_table(dice, width - right, height - bottom, style)
    image, centres, done = finish(dice, made.page, damage)
    if right or bottom:
        canvas = Image.new("RGB", (width, height), PADDING)
        canvas.paste(image, (0, 0))
        image = canvas
    chars, _, positions = made.page.truth()
    meta = {**made.meta, "damage": done}
    return SynthSample(
        image, made.task, made.question, made.answer, made.table, chars, centres, positions, meta
    )


def check_options(options: dict[str, Any], others: Sequence[str] = ()) -> None:
    """Raise ValueError, with the nearest name, for `options` that sample() does not take.

    others: names that the caller knows beside them, for its users.
    """
    for name, value in options.items():
        if name not in OPTIONS:
            near = difflib.get_close_matches(str(name), (*OPTIONS, *others), 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join((*OPTIONS, *others))}"
            raise ValueError(f"unknown option {name!r}: {hint}")
        if name == "style":
            if value is not None and not isinstance(value, str):
                raise ValueError(f"the option style={value!r}: give one of {', '.join(STYLES)}")
            continue
        low, high = RANGES[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise ValueError(f"the option {name}={value!r}: give a number from {low:,} to {high:,}")


def _steps(pixels: float) -> int:
    """The nearest multiple of STEP, at least one."""
    return STEP * max(1, round(pixels / STEP))


def _padding(dice: Dice, width: int, height: int) -> tuple[int, int]:
    """Pixels at the right and at the bottom that lie outside of the document, as on canvases of real images."""
    right = dice.integer(1, min(STEP - 1, width // 4)) if dice.chance(0.25) and width >= 128 else 0
    bottom = dice.integer(1, min(STEP - 1, height // 2)) if dice.chance(0.5) and height >= 128 else 0
    return right, bottom


def _check(kind: str, style: str | None) -> None:
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}: choose from {', '.join(KINDS)}")
    if style is not None and (kind != "table" or style not in STYLES):
        raise ValueError(
            f"style {style!r} of kind {kind!r}: tables have the styles {', '.join(STYLES)}; leave it out"
        )


KINDS: dict[str, Callable[[Dice, int, int], Drawn]] = {
    "strip": draw_strip,
    "table": draw_table,
    "text": draw_text,
    "form": draw_form,
    "question": draw_question,
}
