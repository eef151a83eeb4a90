"""MMTab (Zheng et al., "Multimodal Table Understanding", arXiv 2406.08100; github.com/SpursGoZmy/Table-LLaVA).

    MMTab-pre_pretrain_data_llava_format_150K.json    table recognition, in LLaVA's form (see `llava.py`)
    MMTab-instruct_sft_data_llava_format_232K.json    14 tasks on tables, in the same form
    MMTab-eval_test_data_49K.json                     [{"item_id", "image_id", "input", "output", "answer_list",
                                                        "dataset_name", "task_type", "original_query_type", …}]
    MMTab-eval_test_data_49K_llava_jsonl_format.jsonl {"question_id", "image", "text", "category"}, without answers
    IID_train_image/ table_pretrain_part_2/ all_test_image/    the images, as the archives unpack

Apache-2.0. Conversations are kept as they are. Where the answer is a table, in HTML, Markdown or LaTeX, the item has
the task "table" and its target's "html"; extra's "format" tells which. The other entries of the test data are
questions, with all accepted answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..conversations import text_of
from ..latex import read_latex
from ..tables import Table
from ..tasks import messages
from .items import Item, Rejected
from .llava import FOLDERS, KEYS, entries_of, entry_id, picture_of, turns_of
from .truth import truth

LICENCE = "Apache-2.0"
IMAGES = (*FOLDERS, "all_test_image", "IID_train_image", "table_pretrain_part_1", "table_pretrain_part_2")
_PLACES = (*IMAGES, *(f"images/{folder}" for folder in IMAGES[len(FOLDERS) :]))
_HTML = re.compile(r"<table\b.*</table\s*>", re.DOTALL | re.IGNORECASE)
_MOST = 0.5  # share of an answer that a table must be, for the answer to be one


def read_mmtab(
    path: Path, split: str | None = None, images: str | Path | None = None
) -> Iterator[Item | Rejected]:
    """Read one of MMTab's files. MMTab-eval is the split "test", the others are "train".

    images: the folder that image names are relative to; None: the file's own and those in it that the archives make.
    Raises ValueError if the file is no JSON of MMTab.
    """
    folder = Path(images) if images is not None else path.parent
    own = "test" if "eval" in path.name.lower() else "train"

    def read(entry: dict[str, Any]) -> Item | None:
        if split is not None and split != own:
            return None
        kind = _evaluated if "item_id" in entry else _asked if "question_id" in entry else _trained
        item = kind(entry, folder)
        item.split = own
        return item

    return entries_of(path, "one of MMTab's .json or .jsonl files", (*KEYS, "item_id", "question_id"), read)


def table_of_answer(text: str) -> tuple[str, Table | None, str] | None:
    """Return (format, table, html as it stands) of an answer that is a table for the most part; else None.

    The table is None for HTML, which stays as it stands. Raises ValueError for a table that cannot be read.
    """
    if match := _HTML.search(text):
        tables = Table.all_from_html(match[0])
        if len(match[0]) < _MOST * len(text) or len(tables) > 1:
            return None
        if not tables:
            raise ValueError("the table of the answer has no cell")
        return "html", None, f"<html><body>{match[0]}</body></html>"
    if (start := text.find("\\begin{tab")) >= 0:
        end = text.rfind("\\end{tab")
        if (end if end > start else len(text)) - start < _MOST * len(text):
            return None
        return "latex", Table(*read_latex(text[start:])), ""
    lines = [line for line in text.splitlines() if "|" in line]
    if len("\n".join(lines)) < _MOST * len(text):
        return None
    try:
        return "markdown", Table.from_markdown(text), ""
    except ValueError:
        return None  # lines with bars, but no table


def _table_fields(text: str) -> dict[str, Any] | None:
    """The task, target and extra of an answer that is a table; None for another answer."""
    found = table_of_answer(text)
    if found is None:
        return None
    form, table, html = found
    target, extra = ({"html": html}, {}) if table is None else truth(table)
    return {"task": "table", "target": target, "extra": extra | {"format": form}}


def _trained(entry: dict[str, Any], folder: Path) -> Item:
    """An entry in LLaVA's form."""
    turns = turns_of(entry)
    answers = [turn for turn in turns if turn["role"] == "assistant"]
    fields = _table_fields(text_of(answers[0])) if len(answers) == 1 else None
    return Item(
        id=entry_id(entry, "id"),
        image=picture_of(entry, folder, _PLACES),
        messages=turns,
        source="mmtab",
        licence=LICENCE,
        **(fields or {}),
    )


def _evaluated(entry: dict[str, Any], folder: Path) -> Item:
    """An entry of the test data."""
    question, answer = _text(entry, "input"), _text(entry, "output")
    image = picture_of({"image": f"{_text(entry, 'image_id').removesuffix('.jpg')}.jpg"}, folder, _PLACES)
    about = {
        name: entry[name]
        for name in ("dataset_name", "task_type", "original_query_type", "table_id")
        if isinstance(entry.get(name), str | int)
    }
    fields = _table_fields(answer) if str(entry.get("task_type", "")).endswith("TR") else None
    if fields is None:
        accepted = entry.get("answer_list")
        answers = [str(value) for value in accepted] if isinstance(accepted, list) and accepted else [answer]
        target = {"question": question, "answer": answer, "answers": answers}
        fields = {"task": "question", "target": target, "extra": {}}
    fields["extra"] |= about
    return Item(
        id=entry_id(entry, "item_id"),
        image=image,
        messages=messages("question", answer, question),
        source="mmtab",
        licence=LICENCE,
        **fields,
    )


def _asked(entry: dict[str, Any], folder: Path) -> Item:
    """A question of the test data without its answer."""
    question = _text(entry, "text")
    return Item(
        id=entry_id(entry, "question_id"),
        image=picture_of({"image": _text(entry, "image")}, folder, _PLACES),
        task="question",
        target={"question": question},
        messages=messages("question", None, question),
        source="mmtab",
        licence=LICENCE,
        extra={"category": entry["category"]} if isinstance(entry.get("category"), str) else {},
    )


def _text(entry: dict[str, Any], name: str) -> str:
    """A text of an entry. Raises ValueError if it is empty or none."""
    value = entry[name]
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name!r} is {value!r}; a text is needed")
    return value
