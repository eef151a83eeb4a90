"""What to score on: drawn tables, public benchmarks and folders by name and path, record files, files of truths."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from ..data import synth
from ..data.engine.shards import TableShards
from ..data.readers import READERS, Item, Rejected
from ..data.readers.items import json_lines
from ..data.readers.labels import is_label
from ..data.records import Record, each_record
from ..data.tables import Table
from .cases import Case, case_of_item, case_of_record

SYNTH_NUMBER = 100
SYNTH_SEED = 900001  # training uses small seeds
_HINT = (
    f"give synth, synth:NUMBER, engine:FOLDER, a .jsonl file of records, a folder, or NAME:PATH with a NAME of "
    f"{', '.join(READERS)}"
)


@dataclass
class Benchmark:
    """Cases to read, what they are called, and the entries of the data that could not be used.

    `settings` are what was chosen (split, seed, limit …), as they are written to run.json.
    """

    name: str
    path: str | None
    cases: list[Case]
    left_out: list[Rejected] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)

    def identity(self) -> dict[str, Any]:
        """What tells these data from others; `fingerprint` covers every question, truth and image file's size."""
        digest = hashlib.sha256()
        for case in self.cases:
            digest.update(f"{case.key} {_weight(case)}\n".encode())
        return {
            "name": self.name,
            "path": self.path,
            **self.settings,
            "cases": len(self.cases),
            "fingerprint": digest.hexdigest()[:16],
        }


def open_benchmark(
    data: str,
    split: str | None = None,
    limit: int | None = None,
    seed: int = SYNTH_SEED,
    options: dict[str, Any] | None = None,
) -> Benchmark:
    """Find the data of a name or path.

    Args:
        data: "synth" or "synth:500"; "engine:FOLDER" of printed tables (scripts/make_engine_tables.py); the path of a file of records or of lines {"image", "html"}, of a folder of images
            with their truths or of a JSON object {file name: HTML} without images; or "NAME:PATH" for a reader of
            `samvlm.data.readers`.
            Of a folder with a `gt.jsonl` (lines of {"image", "html"}) that file alone is read.
        split: of the data; None: the one that results are reported on (PubTabNet: val, FinTabNet: test), or all.
        limit: only the first so many.
        seed: of drawn tables.
        options: of the renderer, for example {"damage": 0.3} ("kind" may be "text", "form" or "question"), or of
            the reader, for example {"images": "where/they/are"}.

    Raises:
        ValueError: there are no such data, or nothing in them can be scored.
    """
    name, path = _name_and_path(data)
    settings: dict[str, Any] = {"limit": limit, "split": split}
    entries: Iterator[Item | Record | Case | Rejected | ValueError]
    if name == "synth" and split:
        raise ValueError(f"drawn tables have no split {split!r}; choose others by the seed")
    if name is None and options:
        raise ValueError(f"{data} takes no options; they are for drawn tables and for NAME:PATH")
    if name == "synth":
        number = int(path) if path else limit or SYNTH_NUMBER
        settings = {"limit": limit, "seed": seed, "options": options or {}}
        entries, path = _drawn(number, seed, options or {}), None
    elif name == "engine":
        if split or options:
            raise ValueError(f"{data} takes neither a split nor options; `limit` takes the first tables")
        entries = _printed(TableShards(path))
    elif name is None:
        entries = _of_file(Path(path), split)
    elif (Path(path) / "gt.jsonl").is_file():
        entries = READERS["folder"](Path(path) / "gt.jsonl", split=split)
    else:
        split = split or _usual_split(name, Path(path))
        settings |= {"split": split, "options": options or {}}
        READERS[name].check_options(options or {})
        entries = READERS[name](path, split=split, **(options or {}))
    benchmark = Benchmark(name or Path(path).stem, path, [], settings=settings)
    _fill(benchmark, entries, limit)
    if not benchmark.cases:
        reason = f"; the first entry: {benchmark.left_out[0].reason}" if benchmark.left_out else ""
        chosen = f" in the split {split!r} (--split chooses another)" if split else ""
        raise ValueError(f"{data}: nothing to score{chosen}{reason}; {_HINT}")
    return benchmark


def _name_and_path(data: str) -> tuple[str | None, str | None]:
    """The name of a benchmark and where it is; a path alone is a "folder", or a file without a name."""
    if Path(data).exists():
        return ("folder" if Path(data).is_dir() else None), data
    name, colon, path = data.partition(":")
    if name == "synth":
        if colon and not re.fullmatch("[1-9][0-9]{0,6}", path):
            raise ValueError(f"{data}: {path!r} is no number of tables; write synth:500, for example")
        return name, path or None
    if name == "engine" and path:
        return name, path
    if name in READERS and not path:
        raise ValueError(f"{name} needs its path: write {name}:PATH, where PATH is {READERS[name].path}")
    if name in READERS and not Path(path).exists():
        raise ValueError(f"{path}: no such file or folder; {name}:PATH needs {READERS[name].path}")
    if name not in READERS:
        raise ValueError(f"{data}: no such file, folder or benchmark; {_HINT}")
    return name, path


def _fill(
    benchmark: Benchmark, entries: Iterable[Item | Record | Case | Rejected | ValueError], limit: int | None
) -> None:
    """Make cases of entries until there are enough; what cannot be one is left out with the reason."""
    seen: set[str] = set()
    for entry in entries:
        if isinstance(entry, Rejected):
            benchmark.left_out.append(entry)
            continue
        if isinstance(entry, ValueError):
            where, _, reason = str(entry).partition(": ")
            benchmark.left_out.append(Rejected(where, reason))
            continue
        try:
            case = case_of_record(entry) if isinstance(entry, Record) else entry
            case = case_of_item(case) if isinstance(case, Item) else case
            if case.id in seen:
                raise ValueError("another entry has this id; make ids unique")
        except ValueError as problem:
            benchmark.left_out.append(Rejected(entry.id, str(problem)))
            continue
        seen.add(case.id)
        benchmark.cases.append(case)
        if len(benchmark.cases) == limit:
            break


def _usual_split(name: str, path: Path) -> str | None:
    if name == "pubtabnet" and path.suffix != ".json":  # final_eval.json is the test split
        return "val"
    return "test" if name == "fintabnet" and path.is_dir() else None


def _of_file(path: Path, split: str | None) -> Iterator[Item | Record | ValueError | Rejected]:
    """The records of a file, its lines of {"image", "html"}, or the truths of a JSON object."""
    if path.suffix == ".json":
        try:
            value = json.loads(path.read_text(encoding="utf-8-sig"))
        except (ValueError, RecursionError) as problem:
            raise ValueError(f"{path}: no JSON ({problem}); is the file complete?") from None
        if isinstance(value, dict):
            yield from _true_tables(value)
            return
    if path.is_file() and path.name.endswith((".jsonl", ".jsonl.gz")):
        first = next((value for _, value in json_lines(path) if isinstance(value, dict)), {})
        if is_label(first) and not first.keys() & {"target", "messages", "conversations"}:
            yield from READERS["folder"](path, split=split)
            return
    for record in each_record(path):
        if split is None or not isinstance(record, Record) or record.extra.get("split") == split:
            yield record


def _true_tables(truths: dict[str, Any]) -> Iterator[Item | Rejected]:
    """The tables of a JSON object {file name: HTML or {"html": HTML}}, as ICDAR-2021's; there are no images."""
    for name, value in truths.items():
        html = value.get("html") if isinstance(value, dict) else value
        if isinstance(html, str):
            yield Item(name, None, "table", {"html": html}, source=None, licence=None)
        else:
            yield Rejected(name, "there is no HTML; give {file name: HTML}")


def _drawn(number: int, seed: int, options: dict[str, Any]) -> Iterator[Case]:
    options = dict(options)
    kind, size = options.pop("kind", "table"), options.pop("size", None)
    synth.check_options(options, ("kind", "size"))
    if size is not None and not (
        isinstance(size, list | tuple) and len(size) == 2 and all(type(side) is int for side in size)
    ):
        raise ValueError(f"the option size={size!r}: give [width, height] in pixels")
    size = tuple(size) if size else None
    synth.sample(kind, seed, 0, size=size, **options)
    for index in range(number):
        plain = synth.sample(kind, seed, index, size=size, **(options | {"damage": 0}))  # a tenth of the time
        width, height = size or synth.plan_size(kind, seed, index, **options)
        is_table = plain.task == "table"
        yield Case(
            id=f"synth-{seed}-{index}" if is_table else f"synth-{kind}-{seed}-{index}",
            task=plain.task,
            image=partial(_draw, kind, seed, index, size, options),
            truth_html=plain.table.to_html() if is_table else "",
            truths=() if is_table else (plain.answer,),
            question=plain.question,
            area=width * height,
        )


def _printed(shards: TableShards) -> Iterator[Case]:
    for number, place in enumerate(shards.places):
        kept = shards.read(number)
        yield Case(
            id=kept["id"],
            task="table",
            image=partial(_open_printed, shards, number),
            truth_html=Table.from_otsl(kept["answer"]).to_html(),
            area=place.width * place.height,
        )


def _open_printed(shards: TableShards, number: int) -> Image.Image:
    return shards[number].image


def _draw(
    kind: str, seed: int, index: int, size: tuple[int, int] | None, options: dict[str, Any]
) -> Image.Image:
    return synth.sample(kind, seed, index, size=size, **options).image


def _weight(case: Case) -> int:
    """Bytes of the image's file; 0 for what is drawn and for a file that is not there or may not be looked at."""
    if isinstance(case.image, bytes):
        return len(case.image)
    try:
        return case.image.stat().st_size if isinstance(case.image, Path) and case.image.is_file() else 0
    except OSError:  # a name too long, a folder that may not be entered: opening it says so
        return 0
