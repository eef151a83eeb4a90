"""Rows of tables of any of the layouts in which image-and-text data are stored, as Items.

    image + otsl + cells          the *_OTSL sets; see `otsl.py`
    image + question + answers    DocVQA; see `docvqa.py`
    images + messages             chats (TRL, ms-swift), or LLaVA's conversations, as `conversations.py` reads them
    images + texts                [{"user": …, "assistant": …}] (the_cauldron, Docmatix)
    image + task + target         our own records; see `records.py`

`image` is an encoded image, alone or in a struct {"bytes", "path"}; `images` a list of at most one. Columns that have
other names are renamed first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from ..conversations import read_conversation
from .docvqa import docvqa_item
from .items import Item, Picture
from .otsl import otsl_item
from .parquet import image_bytes

Row = dict[str, Any]
_LAYOUTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("otsl", ("image", "otsl")),
    ("messages", ("messages",)),
    ("messages", ("conversations",)),
    ("texts", ("texts",)),
    ("docvqa", ("image", "question", "answers")),
    ("record", ("task", "target")),
)
PICTURES = ("image", "images")
# What is read of a row, so that other columns are not fetched.
COLUMNS = {
    *PICTURES, "otsl", "cells", "html", "filename", "imgid", "dataset", "split", "table_bbox", "messages",
    "conversations", "texts", "questionId", "question", "answers", "id", "task", "target", "source",
}  # fmt: skip


def row_reader(columns: Collection[str], folder: Path | None = None) -> Callable[[Row, str], Item]:
    """What makes an Item of a row and a name for it, where it has no id of its own.

    Args:
        columns: of the table, renamed.
        folder: what paths of images are relative to; None: images must be in the rows.

    Raises ValueError for columns of no known layout; the reader raises it for a row that is wrong.
    """
    layout = next((name for name, needed in _LAYOUTS if set(needed) <= set(columns)), None)
    if layout is None:
        raise ValueError(
            f"the columns {', '.join(sorted(columns))} are of no known layout: name those that hold messages, texts, "
            "otsl, question and answers, or task and target, and image, in `columns`, for example {messages: chat, "
            "image: page}"
        )

    def picture(value: Any) -> Picture:
        named = value.get("path") if isinstance(value, dict) else value if isinstance(value, str) else None
        if named and folder is not None and not (isinstance(value, dict) and value.get("bytes")):
            return folder / named
        return image_bytes(value)

    def read(row: Row, name: str) -> Item:
        if layout == "otsl":
            item = otsl_item(row, Path(name))
            item.id = row.get("filename") or name
            return item
        if layout == "docvqa":
            named = row if row.get("questionId") else {**row, "questionId": name}
            return docvqa_item(named, None, picture)
        images = row.get("images") if row.get("images") is not None else row.get("image")
        images = images if isinstance(images, list) else [] if images is None else [images]
        if len(images) > 1:
            raise ValueError(f"{len(images)} images in one row; a record holds one")
        item = Item(
            id=str(row["id"]) if row.get("id") not in (None, "") else name,
            image=picture(images[0]) if images else None,
            task=row.get("task"),
            source=row.get("source") or "rows",
            licence=None,
        )
        if layout == "record":
            item.target = json.loads(row["target"]) if isinstance(row["target"], str) else row["target"]
            item.target = {key: value for key, value in item.target.items() if value is not None}
        else:
            turns = (
                _texts(row["texts"]) if layout == "texts" else row.get("messages", row.get("conversations"))
            )
            item.messages = read_conversation(_plain(turns), bool(images))
        return item

    return read


def _texts(texts: Any) -> list[Row]:
    """Turns of questions and answers."""
    turns = []
    for text in texts:
        turns.append({"role": "user", "content": text["user"]})
        turns.append({"role": "assistant", "content": text["assistant"]})
    return turns


def _plain(turns: Any) -> Any:
    """Turns whose parts have no keys of other parts: a table gives all its structs the same keys, some of them None."""
    if not isinstance(turns, list):
        return turns
    found = []
    for turn in turns:
        if isinstance(turn, dict):
            turn = {key: value for key, value in turn.items() if value is not None}
            if isinstance(turn.get("content"), list):
                turn["content"] = [
                    {key: value for key, value in part.items() if value is not None}
                    if isinstance(part, dict)
                    else part
                    for part in turn["content"]
                ]
                for part in turn["content"]:
                    if isinstance(part, dict) and part.get("type") == "image":
                        part.pop("text", None)
        found.append(turn)
    return found
