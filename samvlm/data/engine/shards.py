"""Printed tables on disk: a folder of shards that training reads at random, made once by scripts/make_engine_tables.py.

A shard is two files. `00003.bin` holds one table behind the other: its image as PNG, its truth as JSON, its centres
(float32) and positions (int32). `00003.json`, written last, says where each lies, and how large its image and text are.
`engine.json` says what the tables were made with; a folder holds tables of one making.
"""

import io
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ..safe_text import dump_json
from ..whole_files import whole_file

ABOUT = "engine.json"


@dataclass
class KeptTable:
    """One table: see `printed.Printed`; `em` is its font size in pixels as the image processor estimates it, 0: unknown."""

    id: str
    image: Image.Image
    answer: str
    chars: str
    centres: np.ndarray
    positions: np.ndarray
    em: float
    meta: dict[str, Any]


class Place(NamedTuple):
    """Where a table lies, and what training plans with: pixels of its image, `em`, characters of its answer."""

    shard: int
    parts: tuple[
        int, int, int, int, int
    ]  # offset of the image, of the truth, of centres, of positions, and the end
    width: int
    height: int
    em: float
    length: int


class TableShards:
    """The tables of a folder, by number. Raises ValueError where there is none."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._open: dict[tuple[int, int], Any] = {}
        if not self.places:
            raise ValueError(
                f"{folder}: no printed tables there; make them with scripts/make_engine_tables.py {folder}"
            )

    @cached_property
    def places(self) -> list[Place]:
        """Of every table, in the order of their making."""
        found = []
        for path in sorted(self.folder.glob("[0-9]*.json")):
            try:
                rows = json.loads(path.read_text(encoding="utf-8"))["tables"]
                found += [Place(int(path.stem), tuple(row[:5]), *row[5:]) for row in rows]
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(
                    f"{path}: no index of printed tables ({error}); delete the shard and make it again"
                ) from None
        return found

    def __len__(self) -> int:
        return len(self.places)

    def _bytes(self, shard: int, start: int, end: int) -> bytes:
        key = (os.getpid(), shard)  # a forked worker would share the place in the file with its parent
        file = self._open.get(key)
        if file is None:
            file = self._open[key] = (self.folder / f"{shard:05}.bin").open("rb")
        file.seek(start)
        return file.read(end - start)

    def read(self, number: int) -> dict[str, Any]:
        """`id`, `answer`, `chars` and `meta` of a table, without its picture."""
        place = self.places[number]
        return json.loads(self._bytes(place.shard, place.parts[1], place.parts[2]))

    def __getitem__(self, number: int) -> KeptTable:
        place = self.places[number]
        start, truth, centres, positions, end = place.parts
        data = self._bytes(place.shard, start, end)
        told = json.loads(data[truth - start : centres - start])
        return KeptTable(
            id=told["id"],
            image=Image.open(io.BytesIO(data[: truth - start])).convert("RGB"),
            answer=told["answer"],
            chars=told["chars"],
            centres=np.frombuffer(data[centres - start : positions - start], "<f4").reshape(-1, 2).copy(),
            positions=np.frombuffer(data[positions - start :], "<i4").copy(),
            em=place.em,
            meta=told["meta"],
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}  # a worker opens its own


def finished(folder: Path) -> set[int]:
    """The numbers of the shards that are complete."""
    return {int(path.stem) for path in folder.glob("[0-9]*.json") if path.with_suffix(".bin").is_file()}


def write_shard(folder: Path, number: int, tables: Iterable[KeptTable]) -> int:
    """Write shard `number`; returns how many tables it has. A broken run leaves no half of it."""
    rows = []
    with whole_file(folder / f"{number:05}.bin") as file:
        at = 0
        for table in tables:
            picture = io.BytesIO()
            image = table.image
            red, green, blue = image.split()
            if red.tobytes() == green.tobytes() == blue.tobytes():
                image = red
            image.save(picture, "PNG", compress_level=6)
            told = {"id": table.id, "answer": table.answer, "chars": table.chars, "meta": table.meta}
            edges = [at]
            for part in (
                picture.getvalue(),
                dump_json(told).encode(),
                table.centres.astype("<f4").tobytes(),
                table.positions.astype("<i4").tobytes(),
            ):
                file.write(part)
                at += len(part)
                edges.append(at)
            rows.append([*edges, *table.image.size, round(table.em, 3), len(table.answer)])
    with whole_file(folder / f"{number:05}.json") as file:
        file.write(dump_json({"tables": rows}).encode())
    return len(rows)


def note(folder: Path, about: dict[str, Any]) -> None:
    """Write what a folder's tables are made with. Raises ValueError if it holds tables of another making."""
    path = folder / ABOUT
    if path.is_file():
        there = json.loads(path.read_text(encoding="utf-8"))
        if there != about:
            wrong = ", ".join(key for key in about if there.get(key) != about[key])
            raise ValueError(
                f"{folder} holds tables of another making ({wrong} differ): give another folder, or delete it"
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(dump_json(about).encode())
