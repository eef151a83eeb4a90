"""SynthTabNet 2 (Nassar et al., arXiv 2203.01017; github.com/IBM/SynthTabNet): 4 x 150,000 drawn tables.

    {fintabnet,marketing,pubtabnet,sparse}/synthetic_data.jsonl
    {fintabnet,marketing,pubtabnet,sparse}/images/{train,val,test}/*.png

Lines as PubTabNet's, and for each cell `cell_id`, `is_header` and `span`. CDLA-Permissive-1.0.
Quirks: a box has a fifth number, the class (1 empty, 2 with text), and empty cells have boxes too; the four parts
repeat file names, so ids begin with the name of the part's folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .image_files import find_image
from .items import Item, Rejected, Stream, count_lines, json_lines
from .pubtabnet import LICENCE, find_lines, split_of, token_table

_FILE = "synthetic_data.jsonl"


def read_synthtabnet(path: Path, split: str | None = None) -> Iterator[Item | Rejected]:
    """Read synthetic_data.jsonl (or .gz), the part's folder, or the folder of several parts.

    Raises ValueError if there is none.
    """
    expected = f"{_FILE}, the folder it is in, or the folder of the four parts"
    pattern = f"{_FILE}*" if any(path.glob(f"{_FILE}*")) else f"*/{_FILE}*"
    files = find_lines(path, pattern, expected)

    def entries() -> Iterator[tuple[str, Any]]:
        for file in files:
            for where, entry in json_lines(file):
                yield where, entry if isinstance(entry, Rejected) else (file.absolute().parent, entry)

    def read(located: tuple[Path, dict[str, Any]]) -> Item | None:
        folder, entry = located
        name, part = entry["filename"], split_of(entry)
        if split not in (None, part):
            return None
        target, extra = token_table(entry["html"])
        return Item(
            id=f"{folder.name}/{name}",
            image=find_image(name, [folder / "images" / (part or ""), folder / "images", folder]),
            task="table",
            target=target,
            split=part,
            source="synthtabnet",
            licence=LICENCE,
            extra=extra,
        )

    return Stream(entries(), read, lambda: count_lines(files))
