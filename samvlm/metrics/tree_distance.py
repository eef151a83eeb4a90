"""Exact edit distance of ordered trees, with numpy rows in place of the textbook's inner loop.

Zhang and Shasha, "Simple fast algorithms for the editing distance between trees" (1989): insertion and deletion cost
1, a rename between 0 and 1. Three things make it fast on tables, whose nodes are nearly all leaves:

* a leaf against a subtree needs no recursion: one node is renamed, the others are inserted;
* each row of the forest table is computed at once for all the subtrees ("segments") of the second tree;
* the table holds savings, not costs: cost - (nodes deleted) - (nodes inserted). Insertions then cost nothing, and the
  left-to-right dependency of a row becomes one running minimum.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MAX_WORK = 1_000_000_000  # places of all forest tables; flat tables of 2,000 cells have 40 million


def tree_distance(sizes1: Ints, sizes2: Ints, rename: Floats) -> float:
    """Return the edit distance of two trees.

    sizes1 (n1,), sizes2 (n2,): the number of nodes of each node's subtree, itself included, in postorder.
    rename (n1, n2): the cost in [0, 1] of turning one node into the other.
    Raises ValueError for trees so deep and branched that it would take minutes.
    """
    roots1, roots2 = _keyroots(sizes1), _keyroots(sizes2)
    if int(sizes1[roots1].sum()) * int(sizes2[roots2].sum()) > MAX_WORK:
        raise ValueError(
            "the tables are too deeply nested to compare; flatten the tables or tags within headers"
        )
    if sizes1[roots1].sum() > sizes2[roots2].sum():  # rows cost more than columns
        sizes1, sizes2, rename = sizes2, sizes1, np.ascontiguousarray(rename.T)
        roots1, roots2 = roots2, roots1
    saving = _leaf_savings(sizes1, sizes2, rename)
    if roots1 and roots2:
        _fill(sizes1, roots1, _Segments(sizes2, roots2), rename, saving)
    n1, n2 = rename.shape
    return float(saving[n1 - 1, n2 - 1]) + n1 + n2


def _keyroots(sizes: Ints) -> list[int]:
    """Nodes that are no leaves and start a left path of their own, in postorder."""
    lefts = np.arange(len(sizes)) - sizes + 1
    highest = {int(left): node for node, left in enumerate(lefts)}
    return sorted(node for node in highest.values() if sizes[node] > 1)


def _leaf_savings(sizes1: Ints, sizes2: Ints, rename: Floats) -> Floats:
    """Savings of each subtree pair of which one is a leaf, (n1, n2 + 1); the last column is infinite padding."""
    n1, n2 = rename.shape
    base = rename - 2.0
    saving = np.full((n1, n2 + 1), np.inf)
    saving[:, :n2] = base
    for node, below in _children(sizes2):
        saving[:, node] = np.minimum(base[:, node], saving[:, below].min(axis=1))
    best = base.copy() if (sizes1 > 1).any() else base
    for node, below in _children(sizes1):
        np.minimum(base[node], best[below].min(axis=0), out=best[node])
        saving[node, :n2] = np.where(sizes2 > 1, np.inf, best[node])
    return saving


def _children(sizes: Ints) -> Iterator[tuple[int, slice | list[int]]]:
    """Yield each node that is no leaf, in postorder, and its children."""
    waiting: list[int] = []  # nodes whose parent is still to come
    for node, size in enumerate(sizes.tolist()):
        if size > 1:
            below = []
            while waiting and waiting[-1] > node - size:
                below.append(waiting.pop())
            yield node, slice(node - size + 1, node) if len(below) == size - 1 else below
        waiting.append(node)


class _Segments:
    """The second tree's keyroot subtrees side by side; each position is a forest, the first of a segment empty.

    The segments stand by nesting level, so that a level reads only what earlier ones wrote. Each has an offset so
    far below what the one before can save that the running minimum never leaks over the border.
    """

    def __init__(self, sizes: Ints, keyroots: list[int]) -> None:
        pad = len(sizes)
        levels: dict[int, int] = {}
        outermost: list[int] = []  # of those seen so far
        for root in keyroots:
            levels[root] = 0
            while outermost and outermost[-1] > root - sizes[root]:
                levels[root] = max(levels[root], 1 + levels[outermost.pop()])
            outermost.append(root)
        nodes, before, offsets, paths, owners, self.slices = [], [], [], [], [], []
        start, offset, level = 0, 0.0, 0
        begin = 0
        for root in sorted(keyroots, key=lambda node: levels[node]):
            if levels[root] != level:
                self.slices.append(slice(begin, start))
                begin, level = start, levels[root]
            size = int(sizes[root])
            inner = np.arange(root - size + 1, root + 1)
            places = np.arange(start + 1, start + size + 1)
            nodes += [[pad], inner]
            before += [[start], places - sizes[inner]]
            offsets.append(np.full(size + 1, offset))
            on_path = sizes[inner] == np.arange(1, size + 1)
            paths.append(places[on_path])
            owners.append(np.full(int(on_path.sum()), levels[root]))
            start += size + 1
            offset -= 2.0 * size + 1.0
        self.slices.append(slice(begin, start))
        self.node = np.concatenate(nodes).astype(np.intp)  # (L,) node at the right end of the forest
        self.before = np.concatenate(before).astype(np.intp)  # (L,) the forest without that node's subtree
        self.offset = np.concatenate(offsets)  # (L,)
        path, owner = np.concatenate(paths), np.concatenate(owners)
        self.paths = [path[owner == number] for number in range(len(self.slices))]  # whole trees, by level


def _fill(sizes1: Ints, roots1: list[int], segments: _Segments, rename: Floats, saving: Floats) -> None:
    """Fill `saving` for every pair of subtrees, up to the two whole trees."""
    node, before, offset = segments.node, segments.before, segments.offset
    match, part = np.empty_like(offset), np.empty_like(offset)
    keyroots = set(roots1)
    for root in roots1:
        left = root - sizes1[root] + 1
        inner = range(left, root + 1)
        needed = {int(i - sizes1[i] + 1) for i in inner if sizes1[i] > 1}
        kept = {}  # node -> row of the forest that ends before it, where a later subtree starts there
        row = offset
        for i in inner:
            first = i - sizes1[i] + 1
            if i in needed and i not in kept:
                kept[i] = row
            if first == left:
                row = _path_row(i, row, segments, rename, saving)
                continue
            (row if first == i else kept[first]).take(before, out=match, mode="clip")
            if i in keyroots:  # no later subtree starts there
                del kept[first]
            saving[i].take(node, out=part, mode="clip")
            np.add(match, part, out=match)
            np.minimum(match, row, out=match)
            row = np.minimum.accumulate(match)


def _path_row(i: int, above: Floats, segments: _Segments, rename: Floats, saving: Floats) -> Floats:
    """One row whose forest is the whole subtree of `i`: whole trees meet here, and their savings are recorded."""
    row = np.empty_like(above)
    for span, path in zip(segments.slices, segments.paths, strict=True):
        row[span] = segments.offset[span] + saving[i].take(segments.node[span])
        nodes = segments.node[path]
        row[path] = above[path - 1] + (rename[i, nodes] - 2.0)
        row[span] = np.minimum.accumulate(np.minimum(row[span], above[span]))
        saving[i, nodes] = row[path] - segments.offset[path]
    return row
