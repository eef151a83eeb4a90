"""How near are our tables to real ones? Medians and ranges of what can be counted, side by side.

    python scripts/compare_synth.py synth:200 pubtabnet=../data/pubtabnet engine:tables --limit 200

Each argument is what `samvlm eval` takes, or engine:FOLDER (scripts/make_engine_tables.py); NAME= in front names its
column. Printed are the median and, in brackets, the range from the 10th to the 90th percentile. --json writes the same.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from samvlm.data.printed_source import SCALE
from samvlm.data.tables import Table
from samvlm.evaluation.benchmarks import open_benchmark
from samvlm.model.text_scale import text_height

_FIGURE = re.compile(r"[-−–+<>≤≥$€£(]*\s*\d[\d.,\s%±()–−\-/*a-c†‡]*")
ROWS = {
    "rows": "rows",
    "columns": "columns",
    "header_rows": "header rows",
    "spans": "cells that span, %",
    "sections": "rows of one text, %",
    "empty": "empty cells, %",
    "numeric": "figures among full cells, %",
    "characters": "characters a full cell",
    "longest": "characters, longest cell",
    "answer": "characters, all cells",
    "em": "font size in the file, px",
    "scaled_em": "font size as the model sees it, px",
    "side": "longest side as the model sees it, px",
    "area": "pixels as the model sees it, 1000",
    "ink": "dark pixels, %",
    "colour": "images with colour, %",
}


def measure(table: Table, image: Image.Image, at_scale: bool) -> dict[str, float]:
    """What one table shows. `at_scale`: it was drawn at the model's scale and is not resized."""
    full = [cell for cell in table.cells if cell.text.strip()]
    lengths = [len(cell.text) for cell in full] or [0]
    pixels = np.asarray(image.convert("RGB")).astype(np.int16)
    grey = pixels.mean(2)
    em = text_height(grey)
    scale = 1.0
    if not at_scale:
        most = SCALE["max_upscale"]
        scale = min(SCALE["max_side"] / max(image.size), most, SCALE["text_height"] / em if em else most)
    single = [row for row in table.to_rows() if sum(bool(text.strip()) for text in row) == 1]
    found = {
        "rows": table.n_rows,
        "columns": table.n_cols,
        "header_rows": table.header_rows,
        "spans": 100 * sum(c.rowspan > 1 or c.colspan > 1 for c in table.cells) / len(table.cells),
        "sections": 100 * len(single) / table.n_rows if table.n_cols > 1 else 0.0,
        "empty": 100 * (1 - len(full) / len(table.cells)),
        "numeric": 100 * sum(bool(_FIGURE.fullmatch(c.text.strip())) for c in full) / max(1, len(full)),
        "characters": sum(lengths) / len(lengths),
        "longest": max(lengths),
        "answer": sum(lengths),
        "side": max(image.size) * scale,
        "area": image.width * image.height * scale**2 / 1000,
        "ink": 100 * float((grey < np.median(grey) - 64).mean()),
        "colour": 100.0 * bool((np.ptp(pixels, axis=2) > 40).mean() > 0.005),
    }
    if em:
        found |= {"em": em, "scaled_em": em * scale}
    return found


def tables(data: str, limit: int, drawing: dict[str, Any]) -> Iterator[tuple[Table, Image.Image, bool]]:
    """(truth, image, whether it is at the model's scale) of up to `limit` tables."""
    drawn = data.partition(":")[0] == "synth"
    data = f"synth:{limit}" if data == "synth" else data
    for case in open_benchmark(data, limit=limit, options=drawing if drawn else None).cases:
        if case.truth_html:
            yield Table.from_html(case.truth_html), case.open(), drawn


def summary(values: list[float], mean: bool) -> str:
    if not values:
        return "-"
    if mean:
        return f"{np.mean(values):.0f}"
    low, middle, high = np.percentile(values, (10, 50, 90))
    digits = 1 if high < 20 else 0
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "data", nargs="+", help="synth[:N], engine:FOLDER, a folder, NAME:PATH; NAME=… in front"
    )
    parser.add_argument("--limit", type=int, default=200, help="tables of each (200)")
    parser.add_argument("--damage", type=float, default=0.3, help="to the drawn ones, 0 to 1 (0.3)")
    parser.add_argument("--scale", type=float, default=1.4, help="of the type of the drawn ones (1.4)")
    parser.add_argument("--style", help="of the drawn ones: any, journal, report, business")
    parser.add_argument("--json", metavar="FILE", help="write every measure of every table")
    options = parser.parse_args(argv)
    drawing = {"damage": options.damage, "scale": options.scale, "max_side": SCALE["max_side"]}
    drawing |= {"style": options.style} if options.style else {}
    columns: dict[str, list[dict[str, float]]] = {}
    for entry in options.data:
        name, equals, data = entry.rpartition("=")
        data = data if equals else entry
        try:
            columns[name or data] = [
                measure(table, image, at_scale)
                for table, image, at_scale in tables(data, options.limit, drawing)
            ]
        except ValueError as error:
            print(f"compare_synth: {error}", file=sys.stderr)
            return 2
    print("| | " + " | ".join(f"{name} ({len(found)})" for name, found in columns.items()) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for key, label in ROWS.items():
        values = [[row[key] for row in found if key in row] for found in columns.values()]
        mean = key == "colour"
        print(f"| {label} | " + " | ".join(summary(each, mean) for each in values) + " |")
    if options.json:
        Path(options.json).write_text(json.dumps(columns, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
