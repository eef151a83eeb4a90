"""Kind "text": headings, paragraphs and lists; the answer is the lines as they stand, joined by line feeds."""

from dataclasses import replace

from .dice import Dice
from .page import Drawn, Page, Type, plain, text_width
from .typefaces import draw_type
from .words import code, date, number, phrase, token, word


def sentence(dice: Dice) -> list[str]:
    """The words of one sentence, punctuation attached."""
    words = []
    for _ in range(dice.integer(4, 16)):
        draw = dice.random()
        if draw < 0.82:
            text = phrase(dice, 1, capital=0.08)
        elif draw < 0.90:
            text = number(dice)
        elif draw < 0.93:
            text = date(dice)
        elif draw < 0.96:
            text = code(dice)
        else:
            text = token(dice)
        words += (text + ("," if dice.chance(0.08) else "")).split(" ")
    words[0] = words[0][:1].upper() + words[0][1:]
    words[-1] += dice.choice("......?!;:")
    return words


def fill(words: list[str], style: Type, room: float) -> tuple[list[str], list[str]]:
    """The words that fit on a line of `room` pixels (at least one, cut if it has to be), and the rest."""
    blank, used = text_width(" ", style), 0.0
    for count, text in enumerate(words):
        used += text_width(text, style) + (blank if count else 0.0)
        if used > room:
            if count:
                return words[:count], words[count:]
            short = words[0]
            while len(short) > 1 and text_width(short, style) > room:
                short = short[:-1]
            return [short], words[1:]
    return words, []


def draw_text(dice: Dice, width: int, height: int) -> Drawn:
    """A page of `width` x `height` with running text."""
    page = Page(width, height)
    style = draw_type(dice, 9.0, 16.0)
    ink = dice.integer(0, 80) if dice.chance(0.4) else 0
    page.colour = (ink, ink, ink)
    leading = style.size * dice.between(1.05, 1.6)
    left, right = dice.between(2, 24), width - dice.between(2, 16)
    y = dice.between(2, 12)
    justified, gap = dice.chance(0.5), dice.between(0, 0.8) * leading
    indent = dice.choice((0.0, 0.0, 1.5)) * style.size
    lines: list[str] = []
    offset = 0
    while y + leading < height - 1:
        kind = dice.weighted({"paragraph": 6, "heading": 1.5, "list": 1.5, "lines": 1.5})
        block = replace(style, bold=kind == "heading" or dice.chance(0.05), italic=dice.chance(0.06))
        for words, start, spread in _block(
            dice, kind, block, left, right, indent if kind == "paragraph" else 0.0
        ):
            if y + leading > height - 1:
                break
            baseline = y + (leading - style.size) / 2 + 0.78 * style.size
            offset += (
                _draw_line(
                    page, block, words, start, right if justified and spread else None, baseline, offset
                )
                + 1
            )
            lines.append(plain(" ".join(words)))
            y += leading
        y += gap
    meta = {"family": style.family.name, "size": style.size, "hinted": style.hinted}
    return Drawn(page, "text", "\n".join(lines), meta)


def _block(dice: Dice, kind: str, style: Type, left: float, right: float, indent: float):
    """Lines of one block as (words, x, whether the line may be spread to the right edge)."""
    if kind == "paragraph":
        words = [w for _ in range(dice.integer(1, 6)) for w in sentence(dice)]
        words = [_known(dice, style, w) for w in words]
        first = True
        while words:
            start = left + indent if first else left
            line, words = fill(words, style, right - start)
            yield line, start, bool(words)
            first = False
        return
    if kind == "heading":
        words = phrase(dice, dice.integer(1, 6)).split(" ")
        if dice.chance(0.3):
            words.insert(0, f"{dice.integer(1, 9)}{dice.choice(('.', '', '.1', '.2', ')'))}")
        if dice.chance(0.2):
            words = [w.upper() for w in words]
        yield _one_line(dice, style, words, left, right), left, False
        return
    bullet = dice.choice(("•", "-", "–", "*", "·", "1", "a"))
    for number_ in range(dice.integer(2, 6)):
        words = (
            sentence(dice)[: dice.integer(2, 9)]
            if kind == "list"
            else [word(dice) for _ in range(dice.integer(1, 6))]
        )
        if kind == "list":
            mark = (
                f"{number_ + 1}." if bullet == "1" else f"{'abcdef'[number_]})" if bullet == "a" else bullet
            )
            words = [mark, *words]
        yield _one_line(dice, style, words, left, right), left, False


def _known(dice: Dice, style: Type, text: str) -> str:
    return text if style.can_draw(text) else word_ascii(dice)


def word_ascii(dice: Dice) -> str:
    """A word of plain letters: every family can draw it."""
    text = phrase(dice, 1, capital=0.1)
    return text if text.isascii() else "word"


def _one_line(dice: Dice, style: Type, words: list[str], left: float, right: float) -> list[str]:
    return fill([_known(dice, style, w) for w in words], style, right - left)[0]


def _draw_line(
    page: Page, style: Type, words: list[str], x: float, right: float | None, baseline: float, offset: int
) -> int:
    """Draw one line, spread to `right` if given; answers with its length in characters."""
    blank = text_width(" ", style)
    if right is not None and len(words) > 1:
        natural = sum(text_width(w, style) for w in words) + blank * (len(words) - 1)
        blank += min((right - x - natural) / (len(words) - 1), 2 * style.size)
    start = offset
    for text in words:
        x = page.text(x, baseline, text, style, offset) + blank
        offset += len(text) + 1
    return offset - start - 1
