"""Which records repeat each other: by id, by image, by question and answer, within a split and across splits.

A record takes 36 bytes, so that millions fit: hashes of 64 bits, of which two among a million records are equal by
chance in one of 36 million data sets.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np


class Repeat(NamedTuple):
    """Record `index` does what `code` (a kind of finding) says, beside record `other`; it stands for `count` cases."""

    code: str
    index: int
    other: int
    count: int = 1


class RepeatIndex:
    """Collects records, in order, then says which repeat another."""

    def __init__(self) -> None:
        self._ids, self._pixels = array("Q"), array("Q")
        self._asked, self._answered = array("Q"), array("Q")
        self._files, self._labels = array("H"), array("H")
        self.labels: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, name: int, pixels: int, asked: int, answered: int, file: int, label: str) -> None:
        """Add the next record: hashes (0: it has none, or could not be read), the number of its file, its split."""
        self._ids.append(name)
        self._pixels.append(pixels)
        self._asked.append(asked)
        self._answered.append(answered)
        self._files.append(file)
        self._labels.append(self.labels.setdefault(label, len(self.labels)))

    def repeated_ids(self) -> Iterator[Repeat]:
        """Yield the records whose id stands in the same file before."""
        ids, files = np.asarray(self._ids), np.asarray(self._files)
        for group in _groups(files, ids):
            for index in group[1:]:
                yield Repeat("id_twice", int(index), int(group[0]))

    def repeated_images(self, free: frozenset[str] = frozenset()) -> Iterator[Repeat]:
        """Yield what is wrong with records of equal images.

        Images that stand under several labels leak, each once. Under one label, records of one image that are asked
        the same are duplicates if they answer the same, else they contradict each other. Labels in `free` are only
        compared with others: what repeats within them is not told.
        """
        labels, asked = np.asarray(self._labels), np.asarray(self._asked)
        answered = np.asarray(self._answered)
        silent = {number for label, number in self.labels.items() if label in free}
        for group in _groups(np.asarray(self._pixels)):
            first = int(group[0])
            strange = group[labels[group] != labels[first]]
            if len(strange):
                yield Repeat("leak", int(strange[0]), first)
            by_question: dict[tuple[int, int], list[int]] = {}
            for index in map(int, group):
                if labels[index] not in silent:
                    by_question.setdefault((int(labels[index]), int(asked[index])), []).append(index)
            if len({question for _, question in by_question}) > 1:
                yield Repeat("shared_image", int(group[1]), first)
            for indices in by_question.values():
                for index in indices[1:]:
                    same = answered[index] == answered[indices[0]]
                    yield Repeat("duplicate" if same else "truth_conflict", index, indices[0])

    def label(self, index: int) -> str:
        """The split of a record."""
        return list(self.labels)[self._labels[index]]


def _groups(*keys: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the indices, ascending, of each group of records whose keys are equal; 0 in the last key is no key."""
    known = np.flatnonzero(keys[-1])
    if not len(known):
        return
    order = known[np.lexsort([known, *(key[known] for key in keys)])]
    differs = np.zeros(len(order) - 1, bool)
    for key in keys:
        differs |= key[order][1:] != key[order][:-1]
    starts = np.concatenate([[0], np.flatnonzero(differs) + 1, [len(order)]])
    for start, end in pairwise(starts):
        if end - start > 1:
            yield order[start:end]
