"""Scores of tables and texts, each `(prediction, truth) -> float`; they need neither torch nor a model.

`score_pairs` computes several for many pairs, `intervals` says how sure their means are.
"""

from .alignment import AlignedCell, Alignment, CellScores, align_tables, cell_scores
from .grits import grits_con, grits_top
from .intervals import Comparison, bootstrap_interval, paired_comparison
from .pairs import METRICS, PairScore, score_pair, score_pairs
from .rates import Rates, rates
from .repetition import Repetition, find_repetition
from .teds import teds, teds_normalised, teds_struct, teds_struct_normalised
from .text import anls, cer, edit_distance, exact_match

__all__ = [
    "METRICS",
    "AlignedCell",
    "Alignment",
    "CellScores",
    "Comparison",
    "PairScore",
    "Rates",
    "Repetition",
    "align_tables",
    "anls",
    "bootstrap_interval",
    "cell_scores",
    "cer",
    "edit_distance",
    "exact_match",
    "find_repetition",
    "grits_con",
    "grits_top",
    "paired_comparison",
    "rates",
    "score_pair",
    "score_pairs",
    "teds",
    "teds_normalised",
    "teds_struct",
    "teds_struct_normalised",
]
