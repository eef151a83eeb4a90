"""LLaVA's conversations (Liu et al., arXiv 2304.08485): LLaVA-Pretrain, LLaVA-Instruct and whatever has their form.

    [{"id": "004539375", "image": "00453/004539375.jpg",
      "conversations": [{"from": "human", "value": "Render a summary.\\n<image>"}, {"from": "gpt", "value": "…"}]}]

One JSON list (blip_laion_cc_sbu_558k.json, llava_v1_5_mix665k.json) or JSON Lines; `messages` of role and content are
read too, as is ms-swift's `images` of one path. Conversations are kept as they are. The licences of the sources are
mixed, and not told per entry. Quirks: `<image>` comes first or last; some entries have no image; ids are numbers or
texts, and some occur twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from ..conversations import read_conversation
from .image_files import find_image
from .items import Item, Rejected, Stream, count_lines, json_lines
from .json_list import json_list, starts_with

LICENCE = "mixed, by source"
KEYS = ("conversations", "messages")  # one of them holds the turns
_PROBED = 20  # entries that are looked at to tell the kind of a file
FOLDERS = (".", "images", "train2017", "coco")  # where the images may stand beside the file


def read_llava(
    path: Path, split: str | None = None, images: str | Path | None = None
) -> Iterator[Item | Rejected]:
    """Read a .json or .jsonl file of conversations.

    images: the folder that image paths are relative to; None: the file's own, or images/ beside it. Raises ValueError
    if the file is neither a JSON list nor JSON Lines. There are no splits: with one, there is no item.
    """
    folder = Path(images) if images is not None else path.parent

    def read(entry: dict[str, Any]) -> Item | None:
        if split is not None and entry.get("split") != split:
            return None
        return Item(
            id=entry_id(entry, "id"),
            image=picture_of(entry, folder),
            messages=turns_of(entry),
            split=entry.get("split"),
            source="llava",
            licence=LICENCE,
        )

    return entries_of(path, "a .json list or .jsonl of conversations", KEYS, read)


def entries_of(path: Path, expected: str, keys: tuple[str, ...], read: Any) -> Stream[dict[str, Any]]:
    """Stream the objects of a JSON list or of JSON Lines.

    Raises ValueError for another file, and where none of the first objects has one of the keys.
    """
    lines = path.suffix == ".gz" or (path.is_file() and starts_with(path, "{"))
    if not path.is_file() or not (lines or starts_with(path, "[")):
        raise ValueError(f"{path}: expected {expected}")
    start = (json_lines if lines else json_list)(path)
    probed = [entry for _, entry in islice(start, _PROBED) if isinstance(entry, dict)]
    if not any(key in entry for entry in probed for key in keys):
        seen = f"one with {', '.join(list(probed[0])[:5])}" if probed else "none that can be read"
        raise ValueError(f"{path}: expected {expected}; its first entry is {seen}")
    if lines:
        return Stream(json_lines(path), read, lambda: count_lines([path]))
    return Stream(json_list(path), read)


def entry_id(entry: dict[str, Any], name: str) -> str:
    """The id as a text. Raises ValueError if it is missing or neither a text nor a number."""
    value = entry.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise ValueError(f"{name!r} is {value!r}; each entry needs a name of its own")
    return str(value)


def picture_of(entry: dict[str, Any], folder: Path, places: tuple[str, ...] = FOLDERS) -> Path | None:
    """The image file of an entry; None if it has none. Raises ValueError if it is not there, or there are several."""
    name = entry.get("image") or entry.get("images")
    if isinstance(name, list):
        if len(name) > 1:
            raise ValueError(f"{len(name)} images in one conversation; a record holds one")
        name = name[0] if name else None
    if not name:
        return None
    return find_image(name, [folder / place for place in places])


def turns_of(entry: dict[str, Any]) -> list[dict[str, Any]]:
    """The turns of an entry, checked. Raises ValueError as `read_conversation`."""
    turns = entry.get("conversations", entry.get("messages"))
    return read_conversation(turns, bool(entry.get("image") or entry.get("images")))
