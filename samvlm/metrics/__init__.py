"""Scores of tables and texts, each `(prediction, truth) -> float`; they need neither torch nor a model."""

from .repetition import Repetition, find_repetition
from .teds import teds, teds_normalised, teds_struct
from .text import anls, cer, edit_distance, exact_match

__all__ = [
    "Repetition",
    "anls",
    "cer",
    "edit_distance",
    "exact_match",
    "find_repetition",
    "teds",
    "teds_normalised",
    "teds_struct",
]
