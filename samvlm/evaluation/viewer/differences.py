"""Two texts as HTML in which the characters that differ are marked."""

from __future__ import annotations

import re
import unicodedata

from rapidfuzz.distance import Indel

from ...data.webpage import show_text

LEAST_SIMILARITY = 0.45  # below it two texts have nothing in common worth picking out
MOST_CHARACTERS = 8000  # longer texts are not compared character by character
_OUTER_BLANKS = re.compile("^ +| +$")
_BINDERS = "\u200c\u200d"


def mark_differences(prediction: str, truth: str) -> tuple[str, str]:
    """Return both texts as HTML, with `<mark>` around what the other one lacks.

    An accent stays with its letter. Blanks at the ends of a mark are drawn. Texts that have little in common, or are
    too long, have no marks: there is nothing to pick out.
    """
    plain = show_text(prediction), show_text(truth)
    if prediction == truth or max(len(prediction), len(truth)) > MOST_CHARACTERS:
        return plain
    ours, theirs = _clusters(prediction), _clusters(truth)
    if Indel.normalized_similarity(ours, theirs) < LEAST_SIMILARITY:
        return plain
    shown: tuple[list[str], list[str]] = ([], [])
    for step in Indel.opcodes(ours, theirs):
        pieces = ours[step.src_start : step.src_end], theirs[step.dest_start : step.dest_end]
        for part, piece in zip(shown, pieces, strict=True):
            text = "".join(piece)
            part.append(show_text(text) if step.tag == "equal" else _mark(text))
    return "".join(shown[0]), "".join(shown[1])


def _mark(text: str) -> str:
    if not text:
        return ""
    return f"<mark>{show_text(_OUTER_BLANKS.sub(lambda match: '␣' * len(match[0]), text))}</mark>"


def _clusters(text: str) -> list[str]:
    """Characters with the accents, joiners and variation selectors that belong to them."""
    if text.isascii():
        return list(text)
    found: list[str] = []
    for character in text:
        bound = character in _BINDERS or unicodedata.category(character)[0] == "M"
        if found and (bound or found[-1].endswith(_BINDERS[1])):
            found[-1] += character
        else:
            found.append(character)
    return found
