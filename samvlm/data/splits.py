"""`samvlm data split`: a record file in parts that share no image."""

from __future__ import annotations

import contextlib
import os
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .check.examination import fingerprint, read_picture
from .parallel import ordered_map
from .records import parse_record, path_in_record, record_lines
from .safe_text import dump_json
from .whole_files import whole_file

NAMES = {2: ("train", "val"), 3: ("train", "val", "test")}
KEPT = 100  # messages about lines that are left out


@dataclass
class Rearranged:
    """What `split_records` and `mix_records` did.

    written:  number of records of each file that was written
    left_out: lines that are no record; `problems` says what is wrong with the first ones
    unread:   images that could not be read, so that only their path tells whether they are the same
    groups:   of records that belong together (one image, one value of a field)
    """

    written: dict[Path, int] = field(default_factory=dict)
    left_out: int = 0
    problems: list[str] = field(default_factory=list)
    unread: int = 0
    groups: int = 0

    def leave_out(self, problem: str) -> None:
        """Count a line that is no record."""
        self.left_out += 1
        if len(self.problems) < KEPT:
            self.problems.append(problem)


def split_records(
    file: str | Path,
    output: str | Path,
    fractions: Sequence[float],
    names: Sequence[str] | None = None,
    by: Sequence[str] = (),
    seed: int = 0,
    workers: int = 1,
    progress: Callable[[], Any] = lambda: None,
) -> Rearranged:
    """Part a record file into several that share no image.

    Records of one image (equal decoded pixels) or of one value of a field in `by` stay together. The same seed and
    data give the same parts. Records keep their order; their field "split" names the part.

    Args:
        file: the record file.
        output: folder for NAME.jsonl of each part; image paths are made right for it.
        fractions: of the records; they sum to 1. Met to the record where the groups allow it.
        names: of the parts; None: train, val and test.
        by: fields of the records, such as "document".
        seed: of the shuffling.
        workers: processes that decode images.
        progress: called once for each line.

    Raises:
        ValueError: bad fractions or names, no file, or no record in it.
        OSError: the parts cannot be written.
    """
    names = _check_split(fractions, names)
    folder, output = Path(file).absolute().parent, Path(output)
    targets = [output / f"{name}.jsonl" for name in names]
    if os.path.realpath(file) in map(os.path.realpath, targets):
        raise ValueError(f"{file} would be written over by one of its parts; give another -o DIR")
    report = Rearranged()
    groups = _Groups()
    for line, keys in ordered_map(Keys(str(folder), tuple(by)), record_lines(file), workers, lost):
        if isinstance(keys, str):
            report.leave_out(placed(line[0], keys))
        else:
            report.unread += keys[1]
        groups.add([] if isinstance(keys, str) else keys[0], not isinstance(keys, str))
        progress()
    if not groups.kept:
        raise ValueError(f"{file}: no records; give at least one line that is one")
    parts, report.groups = groups.deal(fractions, seed)
    output.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(whole_file(target)) for target in targets]
        report.written = dict.fromkeys(targets, 0)
        for part, (_, item) in zip(parts, record_lines(file), strict=True):
            if part < 0:
                continue
            item = moved(item, folder, output.absolute()) | {"split": names[part]}
            files[part].write(dump_json(item).encode() + b"\n")
            report.written[targets[part]] += 1
    return report


def _check_split(fractions: Sequence[float], names: Sequence[str] | None) -> Sequence[str]:
    if not all(0 < fraction < 1 for fraction in fractions) or abs(sum(fractions) - 1) > 1e-6:
        raise ValueError(f"the fractions {', '.join(map(str, fractions))} are not above 0 with a sum of 1")
    names = names or NAMES.get(len(fractions))
    if names is None:
        raise ValueError(f"{len(fractions)} fractions have no names of their own; give --names a,b,…")
    if len(names) != len(fractions) or len({name.casefold() for name in names}) < len(names):
        raise ValueError(f"{len(fractions)} fractions need as many different names, got {', '.join(names)}")
    for name in names:
        if not name.strip() or any(mark in name for mark in "/\\\0") or name.startswith("."):
            raise ValueError(f"{name!r} is no name for a file; give plain words")
    return names


@dataclass
class Keys:
    """In a worker: what a line shares with others, or what is wrong with it."""

    folder: str
    by: tuple[str, ...] = ()
    images: bool = True  # False: they are not looked at

    def __call__(self, line: tuple[str, Any]) -> tuple[list[int], bool] | str:
        """Return (hashes of its image and fields, whether the image could not be read), or the error."""
        _, item = line
        if isinstance(item, ValueError):
            return str(item)
        try:
            record = parse_record(item, Path(self.folder))
        except ValueError as error:
            return str(error)
        keys, unread = [], False
        if self.images and record.image is not None:
            _, pixels, _ = read_picture(str(record.image))
            unread = not pixels
            keys.append(pixels or fingerprint(f"path {record.image}"))
        for name in self.by:
            value = item.get(name)
            if value is not None:
                keys.append(fingerprint(f"field {name} {dump_json(value)}"))
        return keys, unread


def lost(line: tuple[str, Any]) -> str:
    """What is said of a line at which a process died."""
    return "reading its image ended the process; out of memory?"


class _Groups:
    """Records that must stay together: a union-find over the keys they share."""

    def __init__(self) -> None:
        self._parent = array("q")  # -1: left out
        self._owner: dict[int, int] = {}  # key -> a record that has it
        self.kept = 0

    def add(self, keys: list[int], keep: bool) -> None:
        """Add the next record, joined with all that share a key with it."""
        index = len(self._parent)
        self._parent.append(index if keep else -1)
        self.kept += keep
        for key in keys:
            owner = self._owner.setdefault(key, index)
            self._parent[self._root(index)] = self._root(owner)

    def _root(self, index: int) -> int:
        while self._parent[index] != index:
            self._parent[index] = index = self._parent[self._parent[index]]
        return index

    def deal(self, fractions: Sequence[float], seed: int) -> tuple[np.ndarray, int]:
        """Return (the part of each record, -1 for those left out; the number of groups).

        The groups are shuffled, those larger than the smallest part set in front, and each goes to the part that
        lacks most.
        """
        roots = np.array([-1 if self._parent[i] < 0 else self._root(i) for i in range(len(self._parent))])
        kept = roots >= 0
        names, group, sizes = np.unique(roots[kept], return_inverse=True, return_counts=True)
        order = np.random.default_rng(seed).permutation(len(names))
        large = sizes[order] > min(fractions) * kept.sum()
        lacks = np.array(fractions) * kept.sum()
        part = np.zeros(len(names), np.int64)
        for index in np.concatenate([order[large], order[~large]]):
            part[index] = int(np.argmax(lacks))
            lacks[part[index]] -= sizes[index]
        parts = np.full(len(roots), -1)
        parts[kept] = part[group]
        return parts, len(names)


def moved(item: dict[str, Any], folder: Path, target: Path) -> dict[str, Any]:
    """The record with an image path that holds in another folder."""
    image = item.get("image")
    return item if image is None else item | {"image": path_in_record(folder / image, target)}


def placed(where: str, problem: str) -> str:
    """The problem with its place in front, once."""
    return problem if problem.startswith(where) else f"{where}: {problem}"
