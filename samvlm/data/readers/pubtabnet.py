"""PubTabNet 2.0 (Zhong et al., arXiv 1911.10683; github.com/ibm-aur-nlp/PubTabNet).

    PubTabNet_2.0.0.jsonl     {"filename", "split", "imgid", "html": {"cells": […], "structure": {"tokens": […]}}}
    train/ val/ test/         the images, about 72 dpi and 200 to 500 pixels wide

The test split is a JSON file of its own, `final_eval.json`: {"PMC1_2.png": {"html": "<html>…", "type": "simple"}}, its
html without `<b>`. Annotations CDLA-Permissive-1.0; the images stand under the terms of the PMC Open Access Subset.
Quirks: the key is `cells` (the project's README says `cell`, which some copies have); cells without text have no box;
some rows are short and some cells hold `<b></b>` or one blank only, which count in the official TEDS and are kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .image_files import find_image
from .items import Item, Rejected, Stream, count_lines, json_lines
from .tokens import cell_boxes, table_html

LICENCE = "CDLA-Permissive-1.0"


def read_pubtabnet(
    path: Path, split: str | None = None, images: str | Path | None = None
) -> Iterator[Item | Rejected]:
    """Read the annotations (.jsonl, .jsonl.gz, final_eval.json, or the folder of one .jsonl).

    images: the folder of train/, val/ and test/, or of the images themselves; None: beside the annotations.
    Raises ValueError if the path is none of these.
    """
    path = find_lines(path, "PubTabNet*.jsonl*", "PubTabNet_2.0.0.jsonl or the folder it is in")[0]
    folder = Path(images) if images is not None else path.parent

    def read(entry: dict[str, Any]) -> Item | None:
        name, part = entry["filename"], split_of(entry)
        if split not in (None, part):
            return None
        picture = find_image(name, [folder / (part or ""), folder, folder / "images"])
        if isinstance(entry["html"], str):
            target, extra = {"html": entry["html"]}, {"type": entry.get("type")}
        else:
            target, extra = token_table(entry["html"])
            extra["imgid"] = entry.get("imgid")
        return Item(
            id=name,
            image=picture,
            task="table",
            target=target,
            split=part,
            source="pubtabnet",
            licence=LICENCE,
            extra=extra,
        )

    if path.suffix == ".json":
        entries = _final_eval(path)
        return Stream(entries, read, lambda: len(entries))
    return Stream(json_lines(path), read, lambda: count_lines([path]))


def token_table(html: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return (target, extra with the boxes) of an "html" entry. Raises KeyError or ValueError for a broken one."""
    cells = html["cells"] if "cells" in html or "cell" not in html else html["cell"]
    return {"html": table_html(html["structure"]["tokens"], cells)}, {"boxes": cell_boxes(cells)}


def find_lines(path: Path, pattern: str, expected: str) -> list[Path]:
    """Return the file, or the files of a folder that match a pattern, sorted. Raises ValueError if there is none."""
    if path.is_file():
        return [path]
    found = sorted(file for file in path.glob(pattern) if file.is_file()) if path.is_dir() else []
    if not found:
        raise ValueError(f"{path}: no {pattern} there; give {expected}")
    return found


def read_entries(files: Iterable[Path]) -> Iterator[tuple[str, dict[str, Any] | Rejected]]:
    """The lines of several files, one after the other."""
    for file in files:
        yield from json_lines(file)


def split_of(entry: dict[str, Any]) -> str | None:
    """Return the split that an entry names. Raises ValueError for what cannot be the name of one."""
    split = entry.get("split")
    if split is not None and not (isinstance(split, str) and split.isidentifier()):
        raise ValueError(f"the split is {split!r}; expected a word such as train")
    return split


def _final_eval(path: Path) -> list[tuple[str, dict[str, Any] | Rejected]]:
    """The entries of the test split. Raises ValueError for another file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        if not isinstance(content, dict) or not content:
            raise ValueError("expected an object of file names")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: no final_eval.json of PubTabNet ({error})") from error
    return [
        (
            f"{path}: {name}",
            {**entry, "filename": name, "split": "test"}
            if isinstance(entry, dict)
            else Rejected(f"{path}: {name}", f"expected an object with html, got {entry!r}"),
        )
        for name, entry in content.items()
    ]
