"""SciTSR (Chi et al., arXiv 1908.04729; github.com/Academic-Hammer/SciTSR): tables of LaTeX papers.

    train/ test/            each with
      img/ID.png            the table, drawn from pdf/ID.pdf
      structure/ID.json     {"cells": [{"id": 21, "tex": "959", "content": ["959"], "start_row": 5, "end_row": 5,
                                        "start_col": 1, "end_col": 1}, …]}

Rows and columns count from 0, ends included; `content` holds the words. No boxes and no headers. MIT. Quirks: empty
cells may be left out; `content` may be null; cells of some tables overlap (such tables are rejected).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .image_files import image_of
from .items import Item, Rejected, Stream
from .json_list import read_json
from .truth import Range, table_of, truth

LICENCE = "MIT"


def read_scitsr(path: Path, split: str | None = None) -> Iterator[Item | Rejected]:
    """Read the folder of train/ and test/, or one of the two. Raises ValueError if it is neither."""
    folders = [folder for folder in (path / "train", path / "test", path) if (folder / "structure").is_dir()]
    files = [
        (folder, sorted((folder / "structure").glob("*.json")))
        for folder in folders
        if split is None or folder.name == split
    ]
    if not folders or not any(next((folder / "structure").glob("*.json"), None) for folder in folders):
        raise ValueError(f"{path}: no train/structure/*.json there; give the folder with train/ and test/")

    def read(entry: tuple[Path, Path]) -> Item:
        folder, file = entry
        target, extra = truth(table_of(_ranges(read_json(file))))
        return Item(
            id=file.stem,
            image=image_of(file.stem, [folder / "img"]),
            task="table",
            target=target,
            split=folder.name if folder.name in ("train", "test") else None,
            source="scitsr",
            licence=LICENCE,
            extra=extra,
        )

    entries = ((str(file), (folder, file)) for folder, found in files for file in found)
    return Stream(entries, read, lambda: sum(len(found) for _, found in files))


def _ranges(content: dict[str, Any]) -> Iterator[Range]:
    for cell in content["cells"]:
        words = cell["content"] or []
        text = words if isinstance(words, str) else " ".join(words)
        place = [cell[name] for name in ("start_row", "end_row", "start_col", "end_col")]
        if not all(isinstance(value, int) and not isinstance(value, bool) for value in place):
            raise ValueError(f"the cell {text!r} stands at {place}; whole numbers are needed")
        yield Range(text, *place)
