"""Synthetic tables and documents with exact truth: sample(kind, seed, index), the same on every machine with the same fonts."""

from .characters import CHARSET
from .factory import KINDS, plan_size, sample
from .sample import SynthSample

__all__ = ["CHARSET", "KINDS", "SynthSample", "plan_size", "sample"]
