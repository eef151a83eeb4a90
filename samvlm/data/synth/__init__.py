"""Synthetic tables and documents with exact truth: sample(kind, seed, index), the same on every machine with the same fonts."""

from .characters import CHARSET
from .factory import KINDS, check_options, plan_size, sample
from .sample import SynthSample

__all__ = ["CHARSET", "KINDS", "SynthSample", "check_options", "plan_size", "sample"]
