"""Time TEDS and GriTS against apted, the official algorithm and plain difflib, in one run; check that scores agree.

    python scripts/bench_teds.py                 # minutes: the official algorithm takes half a minute for 629 cells
    python scripts/bench_teds.py --quick         # seconds: small tables only
    python scripts/bench_teds.py -o bench.json   # the figures as JSON, too

Everything runs on one core, the methods taking turns on each pair; the figures are medians. "apted" is the tree edit
distance of the package apted with rapidfuzz's Levenshtein in C; "official" is the same with the Levenshtein of the
package distance in Python, as PubTabNet's own code has it. Both packages come with the extra `dev`. The pairs are
PubTabNet's 20 official samples, if `--official` has them, and drawn tables of growing size.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from difflib import SequenceMatcher
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import NamedTuple

import distance
from apted import APTED, Config
from lxml.html import HTMLParser, fromstring
from rapidfuzz.distance import Levenshtein

from samvlm import Table
from samvlm.data.tables import Cell
from samvlm.metrics import grits_con, teds

OFFICIAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "teds"
SIZES = [(10, 5), (15, 13), (23, 13), (34, 17), (37, 17)]  # rows x columns, up to 629 cells
QUICK_SIZES = [(4, 3), (6, 4)]
SLOW = 100  # from so many cells on, the official algorithm and plain difflib run once


class Pair(NamedTuple):
    """Two tables as HTML, and the places of the true one."""

    name: str
    prediction: str
    truth: str
    cells: int


class Node:
    """A node of the tree that the official code compares."""

    def __init__(self, element) -> None:
        self.tag = element.tag
        self.spans = (
            (int(element.get("colspan", 1)), int(element.get("rowspan", 1))) if self.tag == "td" else None
        )
        self.content = tokens(element)[1:-1] if self.tag == "td" else []
        self.children = [] if self.tag == "td" else [Node(child) for child in element]


def tokens(element) -> list[str]:
    """Characters, and each inline tag as one token."""
    found = [f"<{element.tag}>", *(element.text or "")]
    for child in element:
        found += tokens(child)
    if element.tag != "unk":
        found.append(f"</{element.tag}>")
    return found if element.tag == "td" else found + list(element.tail or "")


class Costs(Config):
    """The costs of the official code, with a Levenshtein distance of choice."""

    def __init__(self, levenshtein: Callable[[list, list], int]) -> None:
        self.levenshtein = levenshtein

    def rename(self, first: Node, second: Node) -> float:
        """1 for another tag or span; between cells the distance of their tokens over the longer list."""
        if first.tag != second.tag or first.spans != second.spans:
            return 1.0
        if not first.content and not second.content:
            return 0.0
        longest = max(len(first.content), len(second.content))
        return self.levenshtein(first.content, second.content) / longest


def teds_by_apted(pair: Pair, levenshtein: Callable[[list, list], int]) -> float:
    """TEDS by the definition, without a word of ours."""
    parser = HTMLParser(remove_comments=True, encoding="utf-8")
    tables = [fromstring(text, parser=parser).xpath("body/table")[0] for text in pair[1:3]]
    n_nodes = max(len(table.xpath(".//*")) for table in tables)
    edits = APTED(*map(Node, tables), Costs(levenshtein)).compute_edit_distance()
    return 1.0 - edits / n_nodes


def grits_by_difflib(pair: Pair) -> float:
    """GriTS-Con with one difflib call for each two places and plain loops, as in the paper's code."""
    predicted, true = (
        [[" ".join(cell.text.split()) for cell in line] for line in Table.from_html(text).grid()]
        for text in pair[1:3]
    )
    size1, size2 = (len(true), len(true[0])), (len(predicted), len(predicted[0]))
    reward = {
        (row, col, other, at): _matching(true[row][col], predicted[other][at])
        for row, col, other, at in product(*map(range, size1 + size2))
    }
    rows = _aligned(
        size1[0],
        size2[0],
        lambda r, s: _aligned(size1[1], size2[1], lambda c, d: reward[r, c, s, d])[0],
    )[1]
    cols = _aligned(
        size1[1],
        size2[1],
        lambda c, d: _aligned(size1[0], size2[0], lambda r, s: reward[r, c, s, d])[0],
    )[1]
    total = sum(reward[row, col, other, at] for (row, other), (col, at) in product(rows, cols))
    return 2 * total / (size1[0] * size1[1] + size2[0] * size2[1])


def _matching(first: str, second: str) -> float:
    if not first and not second:
        return 1.0
    blocks = SequenceMatcher(None, first, second).get_matching_blocks()
    return 2 * sum(block.size for block in blocks) / (len(first) + len(second))


def _aligned(n1: int, n2: int, gain: Callable[[int, int], float]) -> tuple[float, list[tuple[int, int]]]:
    best = [
        [(0.0, 0)] * (n2 + 1) for _ in range(n1 + 1)
    ]  # gain so far; 0 both, 1 the first, 2 the second left out
    for i, j in product(range(1, n1 + 1), range(1, n2 + 1)):
        both = best[i - 1][j - 1][0] + gain(i - 1, j - 1)
        best[i][j] = max((both, 0), (best[i - 1][j][0], -1), (best[i][j - 1][0], -2))
    pairs, i, j = [], n1, n2
    while i and j:
        step = best[i][j][1]
        if step == 0:
            pairs.append((i - 1, j - 1))
        i, j = i - (step > -2), j - (step != -1)
    return best[n1][n2][0], pairs[::-1]


def official_pairs(folder: Path, count: int | None) -> list[Pair]:
    """The samples that come with PubTabNet's code; none where they are not."""
    if not (folder / "gt.json").is_file():
        return []
    truths, predictions = (json.loads((folder / name).read_text()) for name in ("gt.json", "pred.json"))
    found = []
    for name, prediction in list(predictions.items())[:count]:
        table = Table.from_html(truths[name]["html"])
        found.append(Pair(name, prediction, truths[name]["html"], len(table.cells)))
    return found


def drawn_pair(n_rows: int, n_cols: int, rng: random.Random) -> Pair:
    """A table with a header row and texts of two kinds; the prediction has one text in five wrong and a row less."""

    def text(col: int) -> str:
        if col == 0:
            return " ".join(rng.choices(["Mean", "body", "mass", "index", "at", "baseline", "(kg)"], k=3))
        return f"{rng.uniform(0, 200):.{col % 3}f}" + rng.choice(["", " ± 0.1", "*"])

    cells = [
        Cell(text(col), row, col, header="column" if row == 0 else None)
        for row, col in product(range(n_rows), range(n_cols))
    ]
    lost = rng.randrange(1, n_rows)
    wrong = [
        Cell(
            cell.text[1:] + "8" if rng.random() < 0.2 else cell.text,
            cell.row - (cell.row > lost),
            cell.col,
            header=cell.header,
        )
        for cell in cells
        if cell.row != lost
    ]
    tables = Table(wrong, n_rows - 1, n_cols), Table(cells, n_rows, n_cols)
    return Pair(f"drawn {n_rows}x{n_cols}", *(table.to_html() for table in tables), n_rows * n_cols)


TEDS: dict[str, Callable[[Pair], float]] = {
    "samvlm": lambda pair: teds(pair.prediction, pair.truth),
    "apted": lambda pair: teds_by_apted(pair, Levenshtein.distance),
    "official": lambda pair: teds_by_apted(pair, distance.levenshtein),
}
GRITS: dict[str, Callable[[Pair], float]] = {
    "samvlm": lambda pair: grits_con(pair.prediction, pair.truth),
    "difflib": grits_by_difflib,
}


def compare(pair: Pair, methods: dict[str, Callable[[Pair], float]], repeats: int) -> dict:
    """Median seconds and score of each method on a pair, the methods taking turns."""
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    scores: dict[str, float] = {}
    for turn in range(repeats):
        for name, method in methods.items():
            if turn and pair.cells >= SLOW and name in ("official", "difflib"):
                continue
            start = time.perf_counter()
            scores[name] = method(pair)
            seconds[name].append(time.perf_counter() - start)
    apart = max(scores.values()) - min(scores.values())
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    return {
        "pair": pair.name,
        "cells": pair.cells,
        "seconds": medians,
        "score": scores["samvlm"],
        "apart": apart,
    }


def peak_memory(pair: Pair, methods: dict[str, Callable[[Pair], float]]) -> dict[str, float]:
    """Megabytes that each method has allocated at most on a pair."""
    found = {}
    for name in methods.keys() - {"official"}:  # it holds what apted holds
        tracemalloc.start()
        methods[name](pair)
        found[name] = tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
    return dict(sorted(found.items(), reverse=True))


def total(rows: list[dict], name: str) -> dict:
    """The rows added up as one."""
    seconds = {method: sum(row["seconds"][method] for row in rows) for method in rows[0]["seconds"]}
    score = statistics.mean(row["score"] for row in rows)
    cells = sum(row["cells"] for row in rows)
    return {
        "pair": name,
        "cells": cells,
        "seconds": seconds,
        "score": score,
        "apart": max(row["apart"] for row in rows),
    }


def lines(title: str, rows: list[dict]) -> Iterator[str]:
    """A table for the terminal: seconds of each method and how many times those of samvlm they are."""
    methods = list(rows[0]["seconds"])
    yield f"\n{title:<24}{'cells':>6}" + "".join(f"{name:>20}" for name in methods) + f"{'score':>9}"
    for row in rows:
        own = row["seconds"]["samvlm"]
        figures = [f"{seconds:.4f} s" for seconds in row["seconds"].values()]
        ratios = ["" if name == "samvlm" else f" {row['seconds'][name] / own:5.0f}x" for name in methods]
        yield (
            f"{row['pair']:<24.24}{row['cells']:>6}"
            + "".join(f"{figure + ratio:>20}" for figure, ratio in zip(figures, ratios, strict=True))
            + f"{row['score']:>9.5f}"
        )


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small tables only, once")
    parser.add_argument("--repeats", type=int, default=5, help="of each measurement (default: 5)")
    parser.add_argument("--official", type=Path, default=OFFICIAL, help="folder with gt.json and pred.json")
    parser.add_argument("-o", "--output", type=Path, help="write all figures here as JSON")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run all; returns 0, or 1 if a method gave another score, 2 if the machine cannot be asked for one core."""
    args = arguments().parse_args(argv)
    if args.repeats < 1:
        print(f"bench_teds: --repeats must be at least 1, got {args.repeats}", file=sys.stderr)
        return 2
    repeats = 1 if args.quick else args.repeats
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    rng = random.Random(0)
    official = official_pairs(args.official, 3 if args.quick else None)
    drawn = [drawn_pair(*size, rng) for size in (QUICK_SIZES if args.quick else SIZES)]
    about = {name: version(name) for name in ("numpy", "rapidfuzz", "lxml", "apted", "distance")}
    about |= {"python": platform.python_version(), "machine": platform.processor() or platform.machine()}
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    result: dict = {"about": about, "repeats": repeats}
    for title, methods in (("TEDS", TEDS), ("GriTS-Con", GRITS)):
        compare(drawn_pair(3, 2, rng), methods, 1)  # what is loaded on first use is not timed
        rows = []
        if official:
            rows.append(
                total(
                    [compare(pair, methods, repeats) for pair in official],
                    f"{len(official)} official samples",
                )
            )
        rows += [compare(pair, methods, repeats) for pair in drawn]
        memory = peak_memory(drawn[-1], methods)
        print("\n".join(lines(title, rows)))
        print(
            f"peak memory, {drawn[-1].name}: "
            + ", ".join(f"{name} {mb:.1f} MB" for name, mb in memory.items())
        )
        result[title] = {"rows": rows, "peak_megabytes": memory}
    if args.output:
        args.output.write_text(json.dumps(result, indent=1), encoding="utf-8")
    apart = max(row["apart"] for title in ("TEDS", "GriTS-Con") for row in result[title]["rows"])
    print(f"\nscores differ by {apart:.1e} at most: {'they agree' if apart < 1e-9 else 'THEY DO NOT AGREE'}")
    return 0 if apart < 1e-9 else 1


if __name__ == "__main__":
    sys.exit(main())
