"""Making strings fit into a given room: lines, shorter words, shorter strings."""

from .page import MARKS, Type, plain, text_width


def wrap(text: str, style: Type, room: float) -> list[str]:
    """`text` cut at blanks into lines of at most `room` pixels; a longer word stands on a line of its own.

    A mark that is open at a cut is opened again on the next line.
    """
    if text_width(text, style) <= room or " " not in text:
        return [text]
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if line and text_width(longer, style) > room:
            lines.append(line)
            open_mark = next((char for char in reversed(line) if char in MARKS), "")
            line = open_mark + word
        else:
            line = longer
    return [*lines, line]


def shorten(text: str, style: Type, room: float) -> str:
    """`text` with words that are wider than `room` pixels cut at their end: no word reaches into the next column."""
    if text_width(text, style) <= room:
        return text
    words = text.split(" ")
    for number, word in enumerate(words):
        while len(word) > 1 and text_width(word, style) > room:
            word = word[:-1]
        words[number] = word
    return " ".join(word for word in words if plain(word))


def cut(text: str, style: Type, room: float) -> str:
    """The beginning of `text` that fits in `room` pixels, without blanks at its ends."""
    while len(text) > 1 and text_width(text, style) > room:
        text = text[:-1]
    return text.strip()
