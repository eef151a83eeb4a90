"""Parquet files with images in them, in the layouts that training reads, for the tests."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
from PIL import Image


def png(number: int, size: tuple[int, int] | None = None) -> bytes:
    """A small image like no other."""
    width, height = size or (40 + 8 * (number % 5), 32)
    pixels = np.random.default_rng(number).integers(0, 255, (height, width, 3)).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def chat_row(number: int, **more: Any) -> dict[str, Any]:
    """A row of `images` and `messages`."""
    turns = [
        {"role": "user", "content": f"<image>\nRead number {number}."},
        {"role": "assistant", "content": f"{number} " * (number % 7 + 1)},
    ]
    return {"id": f"c{number}", "images": [{"bytes": png(number), "path": None}], "messages": turns, **more}


def write(path: Path, rows: list[dict[str, Any]], group: int = 4) -> Path:
    """Write rows in groups of `group`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=group)
    return path


def chats(folder: Path, files: int = 3, rows: int = 10) -> Path:
    """A folder of parquet files of chats c0, c1, …; returns it."""
    for file in range(files):
        numbers = range(file * rows, (file + 1) * rows)
        write(folder / f"train-{file:05}-of-{files:05}.parquet", [chat_row(number) for number in numbers])
    return folder
