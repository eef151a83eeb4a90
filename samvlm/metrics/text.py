"""Scores of plain text: edit distance, character error rate, exact match, ANLS."""

from __future__ import annotations

from collections.abc import Sequence

from rapidfuzz.distance import Levenshtein


def check_text(prediction: str, truth: str) -> None:
    """Raise ValueError unless both are strings."""
    for name, value in (("prediction", prediction), ("truth", truth)):
        if not isinstance(value, str):
            raise ValueError(f'the {name} must be text, got {value!r:.80}; give "" for an empty one')


def edit_distance(prediction: str, truth: str) -> float:
    """Return the Levenshtein distance over the longer length: 0.0 for equal texts, at most 1.0."""
    check_text(prediction, truth)
    return float(Levenshtein.normalized_distance(prediction, truth))


def cer(prediction: str, truth: str) -> float:
    """Return the character error rate: the Levenshtein distance over the length of the truth; it may exceed 1.

    For an empty truth it is 0.0 if the prediction is empty too, else 1.0.
    """
    check_text(prediction, truth)
    if not truth:
        return float(bool(prediction))
    return Levenshtein.distance(prediction, truth) / len(truth)


def exact_match(prediction: str, truth: str) -> float:
    """Return 1.0 if the texts are equal up to the number and kind of blanks, else 0.0."""
    check_text(prediction, truth)
    return float(prediction.split() == truth.split())


def anls(prediction: str, truths: str | Sequence[str], threshold: float = 0.5) -> float:
    """Return the Normalised Levenshtein Similarity of one answer, against the best of its accepted answers.

    Case and blanks at the ends or in a row do not count. A similarity below `threshold` is 0.0. The ANLS of a set
    is the mean over its questions. Biten et al., "Scene Text Visual Question Answering" (arXiv 1905.13648); a
    similarity of exactly 0.5 counts, as in the evaluation code of the DocVQA challenge.
    """
    accepted = [truths] if isinstance(truths, str) else list(truths or ())
    if not accepted:
        raise ValueError("anls needs at least one accepted answer, got none")
    for truth in accepted:
        check_text(prediction, truth)
    given = _answer(prediction)
    best = max(1.0 - edit_distance(given, _answer(truth)) for truth in accepted)
    return best if best >= threshold else 0.0


def _answer(text: str) -> str:
    return " ".join(text.lower().split())
