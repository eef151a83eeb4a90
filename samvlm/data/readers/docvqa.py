"""DocVQA (Mathew et al., arXiv 2007.00398; rrc.cvc.uab.es, "single page document VQA").

    train_v1.0_withQT.json   {"dataset_name", "dataset_version", "dataset_split", "data": [{"questionId": 337,
                              "question": "what is the date?", "question_types": ["…"], "image":
                              "documents/xnbl0037_1.png", "docId": 279, "ucsf_document_id": "xnbl0037",
                              "ucsf_document_page_no": "1", "answers": ["1/8/93", "1/8/1993"], "data_split": "train"}]}
    documents/ or spdocvqa_images/     the pages

or Hugging Face's parquet (lmms-lab/DocVQA), with the same columns, the image's bytes and questionId as a text. For
research only, by the terms of the Robust Reading Competition. The target has "question", "answer" (the first) and
"answers": all that are accepted, as ANLS scores the best of them. The test split has no answers: its items ask only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..tasks import messages
from .image_files import find_image
from .items import Item, Picture, Rejected, Stream, split_named
from .json_list import json_list
from .llava import entry_id
from .parquet import count_rows, image_bytes, parquet_files, parquet_rows

LICENCE = "RRC terms, research only"
_ABOUT = ("docId", "ucsf_document_id", "ucsf_document_page_no", "question_types")
_PLACES = (".", "images", "spdocvqa_images", "train", "val", "test")


def read_docvqa(
    path: Path, split: str | None = None, images: str | Path | None = None
) -> Iterator[Item | Rejected]:
    """Read a .json file, a .parquet file, or the folder of one or the other.

    images: the folder that image paths are relative to; None: the JSON file's own. Raises ValueError if the path is
    none of these.
    """
    files = sorted(path.glob("*_v*.json")) if path.is_dir() else [path]
    if files and all(file.suffix == ".json" and file.is_file() for file in files):
        for file in files:
            where, first = next(json_list(file, "data"), (str(file), None))
            if isinstance(first, Rejected) and where == str(file):
                raise ValueError(f'{file}: expected DocVQA\'s JSON with a list "data" ({first.reason})')
        folder = Path(images) if images is not None else files[0].parent
        return Stream(_entries(files), lambda entry: _item(entry, split, lambda image: _page(image, folder)))
    if path.is_file() and path.suffix != ".parquet":
        raise ValueError(f'{path}: expected DocVQA\'s JSON with "data", or a .parquet file')
    files = parquet_files(path)
    rows = parquet_rows(files, ("questionId", "question", "image"), ("answers", "data_split", *_ABOUT))
    return Stream(rows, lambda entry: _item(entry, split, image_bytes), lambda: count_rows(files))


def _entries(files: list[Path]) -> Iterator[tuple[str, tuple[Path, dict[str, Any]] | Rejected]]:
    for file in files:
        for where, entry in json_list(file, "data"):
            yield where, entry if isinstance(entry, Rejected) else (file, entry)


def _split(values: dict[str, Any], file: Path) -> str | None:
    """The split that an entry tells, else the one in the name of its file or folder."""
    given = values.get("data_split")
    if isinstance(given, str) and given:
        return split_named(given) or given
    return split_named(*re.split("[-_]", file.stem)[:1], file.parent.name)


def _page(name: Any, folder: Path) -> Path:
    """The image file of a page; the competition's newer archive leaves out the folder of its name."""
    try:
        return find_image(name, [folder / place for place in _PLACES])
    except ValueError:
        other = folder / "spdocvqa_images" / str(name).rsplit("/", 1)[-1]
        if other.is_file():
            return other
        raise


def _item(
    row: tuple[Path, dict[str, Any]], wanted: str | None, picture: Callable[[Any], Picture]
) -> Item | None:
    """The item of an entry and its file; None if it is of another split."""
    file, entry = row
    split = _split(entry, file)
    return None if wanted not in (None, split) else docvqa_item(entry, split, picture)


def docvqa_item(entry: dict[str, Any], split: str | None, picture: Callable[[Any], Picture]) -> Item:
    """The item of an entry, whose image `picture` finds. Raises ValueError, KeyError or TypeError if it is wrong."""
    question = entry["question"]
    if not isinstance(question, str) or not question.strip():
        raise ValueError(f"the question is {question!r}; a text is needed")
    answers = entry.get("answers") or []
    if not isinstance(answers, list) or not all(isinstance(text, str) for text in answers):
        raise ValueError(f"the answers are {answers!r}; a list of texts is needed")
    given = [text for text in answers if text.strip()]
    if answers and not given:
        raise ValueError("all answers are empty")
    target: dict[str, Any] = {"question": question}
    if given:
        target |= {"answer": given[0], "answers": given}
    return Item(
        id=entry_id(entry, "questionId"),
        image=picture(entry["image"]),
        task="question",
        target=target,
        messages=None if given else messages("question", None, question),
        split=split,
        source="docvqa",
        licence=LICENCE,
        extra={name: entry[name] for name in _ABOUT if entry.get(name) is not None},
    )
