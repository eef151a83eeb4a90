"""Tables set by a real typesetter, headless Chromium: exact truth, every character's place, kept in shards on disk."""

from ..synth.subjects import MIX
from .chromium import find_chromium
from .making import VERSION, Outcome, check_mix, make_tables
from .shards import KeptTable, TableShards, finished, note, write_shard

__all__ = [
    "MIX",
    "VERSION",
    "KeptTable",
    "Outcome",
    "TableShards",
    "check_mix",
    "find_chromium",
    "finished",
    "make_tables",
    "note",
    "write_shard",
]
