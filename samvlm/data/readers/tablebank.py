"""TableBank, recognition part (Li et al., arXiv 1903.01949; github.com/doc-analysis/TableBank): structure only.

    Recognition/images/*.png
    Recognition/annotations/src-train.txt       a line for each image: its name
    Recognition/annotations/tgt-train.txt       the same line: <tabular> <thead> <tr> <tdy> <tdn> </tr> </thead> …

`<tdy>` is a cell with text, `<tdn>` one without (`<cell_y>`, `<cell_n>` in the paper): neither the texts nor spans are
told. Target and extra: empty cells, "structure_only", and in "filled" which cells have text. Apache-2.0; the
project asks for research use only and not to pass the images on. Quirks: lists of several names (all, word, latex)
repeat each other's images; each image is read once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from .image_files import find_image
from .items import Item, Rejected, Stream, count_lines, split_named

LICENCE = "Apache-2.0 (research use, no redistribution of the images)"
_FILLED = {"<tdy>": True, "<tdn>": False, "<cell_y>": True, "<cell_n>": False}
_KEPT = frozenset({"<thead>", "</thead>", "<tbody>", "</tbody>", "<tr>", "</tr>"})
_LEFT_OUT = frozenset({"<tabular>", "</tabular>", "</tdy>", "</tdn>", "</cell_y>", "</cell_n>"})
_SOURCE = re.compile(r"\bsrc|(?<=_)src")


def read_tablebank(path: Path, split: str | None = None) -> Iterator[Item | Rejected]:
    """Read the lists of a folder (Recognition, or one above or below it), or one src-*.txt.

    Raises ValueError if there is no src-*.txt with its tgt-*.txt.
    """
    files = [path] if path.is_file() else sorted(path.rglob("*src*.txt"))
    pairs = [(file, file.with_name(_SOURCE.sub("tgt", file.name))) for file in files]
    pairs = [(names, targets) for names, targets in pairs if names != targets and targets.is_file()]
    if not pairs:
        raise ValueError(f"{path}: no src-*.txt with its tgt-*.txt; give the Recognition folder of TableBank")
    # lists that name a split first: an image that stands in `all` too keeps its split
    pairs.sort(key=lambda pair: (_split(pair[0]) is None, pair))
    seen: dict[Path, int] = {}  # image -> hash of its tokens

    def read(entry: tuple[Path, str, str]) -> Item | Rejected | None:
        file, name, tokens = entry
        part = _split(file)
        image = find_image(name, [file.parent, file.parent / "images", *_beside(file.parent)])
        if image in seen:
            if seen[image] != hash(tokens):
                return Rejected(f"{file}: {name}", "stands in another list with another table")
            return None
        seen[image] = hash(tokens)
        if split not in (None, part):
            return None
        html, filled = _structure(tokens.split())
        return Item(
            id=name,
            image=image,
            task="table",
            target={"html": html},
            split=part,
            source="tablebank",
            licence=LICENCE,
            extra={"structure_only": True, "filled": filled},
        )

    return Stream(_entries(pairs), read, lambda: count_lines(names for names, _ in pairs))


def _split(file: Path) -> str | None:
    return split_named(*re.split(r"[-_. ]", file.stem), file.parent.name)


def _beside(folder: Path) -> list[Path]:
    return [folder.parent / "images", folder.parent]


def _entries(
    pairs: list[tuple[Path, Path]],
) -> Iterator[tuple[str, tuple[Path, str, str] | Rejected]]:
    """The lines of each pair of lists, side by side."""
    for names_file, targets_file in pairs:
        with names_file.open("rb") as names, targets_file.open("rb") as targets:
            number = 0
            while True:
                number += 1
                name, tokens = names.readline(), targets.readline()
                where = f"{names_file}:{number}"
                if not name or not tokens:
                    if name.strip() or tokens.strip():
                        longer = names_file if name else targets_file
                        yield (
                            where,
                            Rejected(
                                where, f"{longer.name} goes on alone from here; nothing of that is read"
                            ),
                        )
                    break
                try:
                    texts = name.decode("utf-8-sig").strip(), tokens.decode("utf-8-sig").strip()
                except UnicodeDecodeError as error:
                    yield where, Rejected(where, f"no UTF-8 ({error.reason})")
                    continue
                if any(texts):
                    yield where, (names_file, *texts)


def _structure(tokens: list[str]) -> tuple[str, list[bool]]:
    """Return the complete HTML of empty cells, and which of them have text. Raises ValueError."""
    out: list[str] = []
    filled: list[bool] = []
    for token in tokens:
        if token in _FILLED:
            out.append("<td></td>")
            filled.append(_FILLED[token])
        elif token in _KEPT:
            out.append(token)
        elif token not in _LEFT_OUT:
            raise ValueError(f"unknown token {token!r}; expected TableBank's, such as <tr> and <tdy>")
    if not filled:
        raise ValueError("the table has no cell")
    return f"<html><body><table>{''.join(out)}</table></body></html>", filled
