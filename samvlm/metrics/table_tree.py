"""The tree that TEDS compares, and the cost of turning one of its nodes into another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import cdist

from .table_pair import check_product
from .tree_distance import Floats, Ints, tree_distance

MAX_CHARACTERS = 100_000_000_000  # of one table times those of the other

Label = tuple[object, int, int]  # tag, colspan, rowspan
Content = tuple[str, ...]  # the tokens of a cell: characters and inline tags


@dataclass(frozen=True)
class TableTree:
    """A tree in postorder, children from right to left (which changes no distance and makes it faster).

    `contents` holds the tokens of each td, None for any other node. `n_counted` is what the score divides by.
    """

    labels: list[Label]
    sizes: Ints
    contents: list[Content | None]
    n_counted: int

    @classmethod
    def from_preorder(
        cls, labels: list[Label], depths: list[int], contents: list[Content | None], n_counted: int
    ) -> TableTree:
        """Turn nodes in document order, each with its depth, into a tree.

        Document order read backwards is the postorder of the mirrored tree.
        """
        sizes = np.ones(len(labels), dtype=np.int64)
        ancestors: list[int] = []
        for node, depth in enumerate(depths):
            while len(ancestors) > depth:
                closed = ancestors.pop()
                sizes[closed] = node - closed
            ancestors.append(node)
        for node in ancestors:
            sizes[node] = len(labels) - node
        return cls(labels[::-1], sizes[::-1].copy(), contents[::-1], n_counted)


def similarity(prediction: TableTree, truth: TableTree) -> float:
    """Return 1 - distance / the larger node count.

    Raises ValueError if neither tree has a node to count, or if the trees are too large to compare.
    """
    check_product(len(prediction.labels), len(truth.labels), "nodes")
    n_counted = max(prediction.n_counted, truth.n_counted)
    if n_counted == 0:
        raise ValueError("neither table has a row; check the truth, which must hold at least one cell")
    rename = _rename_costs(prediction, truth)
    return 1.0 - tree_distance(prediction.sizes, truth.sizes, rename) / n_counted


def _rename_costs(first: TableTree, second: TableTree) -> Floats:
    """Costs (n1, n2): 1 for unequal labels; between cells the edit distance over the longer length; else 0."""
    numbers: dict[Label, int] = {}
    labels1 = np.array([numbers.setdefault(label, len(numbers)) for label in first.labels])
    labels2 = np.array([numbers.setdefault(label, len(numbers)) for label in second.labels])
    unequal = labels1[:, None] != labels2[None, :]
    texts1, which1 = _unique(first.contents)
    texts2, which2 = _unique(second.contents)
    length1, length2 = (sum(map(len, texts)) for texts in (texts1, texts2))
    if length1 * length2 > MAX_CHARACTERS:
        raise ValueError(
            f"the texts of the cells are too long to compare: {length1} characters against {length2}; "
            f"their product may be {MAX_CHARACTERS} at most"
        )
    texts = _as_strings([*texts1, *texts2])
    # the last row and column: nodes without content, which cost nothing between equal labels
    between = np.zeros((len(texts1) + 1, len(texts2) + 1))
    if texts1 and texts2:
        between[:-1, :-1] = cdist(
            texts[: len(texts1)],
            texts[len(texts1) :],
            scorer=Levenshtein.normalized_distance,
            dtype=np.float64,
        )
    costs = between[which1][:, which2]
    costs[unequal] = 1.0
    return costs


def _unique(contents: Iterable[Content | None]) -> tuple[list[Content], Ints]:
    """Return the distinct contents and the number of each node's (-1 for None)."""
    numbers: dict[Content | None, int] = {None: -1}
    which = [numbers.setdefault(content, len(numbers) - 1) for content in contents]
    del numbers[None]
    return list(numbers), np.array(which)  # type: ignore[arg-type]


def _as_strings(contents: list[Content]) -> list[str]:
    """Write each token as one character: inline tags become code points that none of the texts uses."""
    tokens = set().union(*contents)
    tags = {token for token in tokens if len(token) != 1}
    spare = (chr(code) for code in range(0x10FFFF, 0xE000, -1) if chr(code) not in tokens)
    written = dict(zip(tags, spare, strict=False))
    return [
        "".join(content)
        if tags.isdisjoint(content)
        else "".join([written.get(token, token) for token in content])
        for content in contents
    ]
