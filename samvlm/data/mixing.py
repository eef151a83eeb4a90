"""`samvlm data mix`: several record files as one, by weight."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .check.examination import fingerprint
from .parallel import ordered_map
from .records import record_lines
from .safe_text import dump_json
from .splits import Keys, Rearranged, lost, moved, placed
from .whole_files import whole_file


def mix_records(
    files: Sequence[str | Path],
    output: str | Path,
    weights: Sequence[float] | None = None,
    limits: Sequence[int | None] | None = None,
    total: int | None = None,
    seed: int = 0,
    workers: int = 1,
    progress: Callable[[], Any] = lambda: None,
) -> Rearranged:
    """Join record files into one, in random order of the files; no record is taken twice.

    Args:
        files: record files; ids that stand in several get the name of their file in front.
        output: the file to write; image paths are made right for its folder.
        weights: share of each file in the mixture; None: as many as each has. The mixture is as large as the file
            that runs out first allows.
        limits: at most so many records of each file; None: no limit.
        total: at most so many records altogether.
        seed: of what is taken and how it is mixed.
        workers: processes that check records.
        progress: called once for each line.

    Raises:
        ValueError: bad weights, a missing file, one without records, or an output that is one of the files.
        OSError: the file cannot be written.
    """
    output, count = Path(output), len(files)
    limits = list(limits) if limits is not None else [None] * count
    if len(limits) != count or (weights is not None and len(weights) != count):
        raise ValueError(f"{count} files need as many weights and limits; give one for each")
    if weights is not None and not all(0 < weight < float("inf") for weight in weights):
        raise ValueError(f"weights {list(weights)}: give numbers above 0")
    if os.path.realpath(output) in map(os.path.realpath, files):
        raise ValueError(f"{output} is one of the files that are mixed; give another -o FILE")
    report = Rearranged()
    good = [_good_lines(file, report, workers, progress) for file in files]
    for file, lines in zip(files, good, strict=True):
        if not len(lines):
            raise ValueError(f"{file}: no records; give at least one line that is one")
    random = np.random.default_rng(seed)
    room = [min(len(lines), limit or len(lines)) for lines, limit in zip(good, limits, strict=True)]
    numbers = _shares(room, weights, total)
    chosen = [np.sort(random.permutation(lines)[:n]) for lines, n in zip(good, numbers, strict=True)]
    order = random.permutation(np.repeat(np.arange(count), numbers))
    output.parent.mkdir(parents=True, exist_ok=True)
    streams = [_chosen(file, set(lines.tolist())) for file, lines in zip(files, chosen, strict=True)]
    taken: set[int] = set()
    with whole_file(output) as stream:
        for number in order.tolist():
            file = Path(files[number])
            item = moved(next(streams[number]), file.absolute().parent, output.absolute().parent)
            item["id"] = _free_id(str(item["id"]), file.stem, taken)
            stream.write(dump_json(item).encode() + b"\n")
    report.written = {output: len(order)}
    return report


def _good_lines(file: str | Path, report: Rearranged, workers: int, progress: Callable[[], Any]) -> array:
    """The numbers of the lines that are records."""
    good = array("q")
    keys = Keys(str(Path(file).absolute().parent), images=False)
    for number, (line, found) in enumerate(ordered_map(keys, record_lines(file), workers, lost)):
        if isinstance(found, str):
            report.leave_out(placed(line[0], found))
        else:
            good.append(number)
        progress()
    return good


def _shares(room: list[int], weights: Sequence[float] | None, total: int | None) -> list[int]:
    """How many records to take of each file."""
    shares = np.array(weights if weights is not None else room, float)
    shares /= shares.sum()
    most = min(sum(room), *(int(r / share + 1e-9) for r, share in zip(room, shares, strict=True)))
    wanted = shares * (most if total is None else min(total, most))
    numbers = np.minimum(np.floor(wanted + 1e-9).astype(int), room)
    for index in np.argsort(numbers - wanted, kind="stable"):  # the rest to those that were cut most
        if numbers.sum() < round(wanted.sum()) and numbers[index] < room[index]:
            numbers[index] += 1
    return numbers.tolist()


def _chosen(file: str | Path, lines: set[int]) -> Iterator[dict[str, Any]]:
    for number, (_, item) in enumerate(record_lines(file)):
        if number in lines:
            yield item


def _free_id(name: str, stem: str, taken: set[int]) -> str:
    free, number = name, 1
    while fingerprint(free) in taken:
        free = f"{stem}/{name}" if number == 1 else f"{stem}/{name}#{number}"
        number += 1
    taken.add(fingerprint(free))
    return free
