"""Kind "strip": a small image as full of random text as it gets, the food of the dense loss."""

from .dice import Dice
from .page import Drawn, Page, Type, plain, text_width
from .typefaces import draw_type
from .words import token


def fill_line(dice: Dice, style: Type, room: float) -> str:
    """Random tokens with blanks between that together are at most `room` pixels wide."""
    parts, used, misses = [], 0.0, 0
    blank = text_width(" ", style)
    while misses < 2:
        text = token(dice)
        if not style.can_draw(text):
            continue
        wide = text_width(text, style)
        if used + wide > room:
            misses += 1
            continue
        parts.append(text)
        used += wide + blank
    return " ".join(parts)


def draw_strip(dice: Dice, width: int, height: int) -> Drawn:
    """A page of `width` x `height` full of text lines."""
    page = Page(width, height)
    style = draw_type(dice)
    pitch = style.size * dice.between(1.0, 1.35)
    baseline = style.size * dice.between(0.75, 1.0)
    lines: list[str] = []
    offset = 0
    while baseline + 0.2 * style.size < height:
        left = dice.between(0, 6)
        line_style = style
        draw = dice.random()
        if draw < 0.25:
            line_style = Type(
                style.family,
                style.size,
                draw < 0.18,
                draw > 0.12,
                style.hinted,
                style.kerning,
                style.tracking,
            )
        text = fill_line(dice, line_style, width - left - 3)
        if text:
            page.text(left, baseline, text, line_style, offset)
            lines.append(plain(text))
            offset += len(lines[-1]) + 1
        baseline += pitch
    meta = {"family": style.family.name, "size": style.size, "hinted": style.hinted}
    return Drawn(page, "text", "\n".join(lines), meta)
