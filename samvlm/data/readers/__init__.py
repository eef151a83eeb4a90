"""Readers of public data sets and of your own folders; `convert.py` makes records of what they yield.

for item in READERS["pubtabnet"](Path("pubtabnet/PubTabNet_2.0.0.jsonl"), split="val"):
    ...  # an Item, or a Rejected that says what is wrong where
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from .items import Item, Picture, Reader, Rejected

__all__ = ["READERS", "Item", "NamedReader", "Picture", "Reader", "Rejected"]


@dataclass(frozen=True)
class NamedReader:
    """A reader by name; its module is imported when it is first used. Call it as the reader itself.

    name:    as on the command line; the function is `read_NAME`
    module:  of this package
    summary: one line: what it reads
    path:    what PATH is
    """

    name: str
    module: str
    summary: str
    path: str

    @property
    def function(self) -> Reader:
        """The reader."""
        return getattr(import_module(f"{__name__}.{self.module}"), f"read_{self.name}")

    def check_options(self, options: dict[str, Any]) -> None:
        """Raise ValueError for options that the reader does not take."""
        known = inspect.signature(self.function).parameters.keys() - {"path", "split"}
        if unknown := [name for name in options if name not in known]:
            has = ", ".join(sorted(known - {"leave_out", "workers"})) or "none"
            raise ValueError(
                f"the reader {self.name} has no option {', '.join(map(str, unknown))}; it has {has}"
            )

    def __call__(
        self, path: str | Path, split: str | None = None, **options: Any
    ) -> Iterator[Item | Rejected]:
        """Check `path` (ValueError if it is not of this kind), then yield Items and Rejecteds."""
        return self.function(Path(path), split, **options)


READERS: dict[str, NamedReader] = {
    name: NamedReader(name, module, summary, path)
    for name, module, summary, path in (
        ("folder", "folder", "images with .html, .csv, .xlsx, .md, .otsl or .json beside them", "the folder"),
        ("pubtabnet", "pubtabnet", "PubTabNet 2.0", "PubTabNet_2.0.0.jsonl, or the folder it is in"),
        ("fintabnet", "fintabnet", "FinTabNet 1.0", "a FinTabNet_1.0.0_*.jsonl, or the folder it is in"),
        (
            "synthtabnet",
            "synthtabnet",
            "SynthTabNet 2",
            "synthetic_data.jsonl, its folder, or the folder of all four parts",
        ),
        ("otsl", "otsl", "the *_OTSL parquet sets", "a .parquet file or a folder of them"),
        (
            "pubtables",
            "pubtables",
            "PubTables-1M structure",
            "the folder with images, XML annotations and words",
        ),
        (
            "fintabnet_c",
            "pubtables",
            "FinTabNet.c structure",
            "the folder with images, XML annotations and words",
        ),
        ("scitsr", "scitsr", "SciTSR", "the folder with train/ and test/"),
        ("icdar2013", "icdar2013", "ICDAR-2013 tables", "the folder of PDF and XML files"),
        ("tablebank", "tablebank", "TableBank recognition (structure only)", "the Recognition folder"),
        ("wtw", "wtw", "WTW (structure only)", "the folder with images/ and xml/"),
        ("mmtab", "mmtab", "MMTab conversations and evaluation", "a .json or .jsonl file of MMTab"),
        ("llava", "llava", "LLaVA conversations", "a .json file of conversations"),
        ("docvqa", "docvqa", "DocVQA", "a .json or .parquet file, or the folder of them"),
    )
}
