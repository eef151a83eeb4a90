"""scripts/bench_readers.py: two readers in turns, one of them a false img2table in a process of its own."""

import json
import sys
from pathlib import Path

import pytest
from PIL import Image

from samvlm.data.tables import Table
from samvlm.evaluation.benchmarks import open_benchmark
from samvlm.evaluation.predictions import Prediction
from scripts import bench_readers as bench
from scripts.draw_readme_picture import draw_table

TRUTH = "<table><tr><td>a</td><td>b</td></tr><tr><td>1</td><td>2</td></tr></table>"
# Reads by the width of the image: 300 one table of two, 301 no table, 302 fails, 303 dies, 304 never answers.
IMG2TABLE = """
import os, struct, sys, time
class Found:
    def __init__(self, rows):
        self.content = dict(enumerate(rows))
        cells = ["".join(f"<td>{cell}</td>" for cell in row) for row in rows]
        self.html = "<table>" + "".join(f"<tr>{row}</tr>" for row in cells) + "</table>"
class Image:
    def __init__(self, src):
        self.width = struct.unpack(">I", open(src, "rb").read(20)[16:])[0]
    def extract_tables(self, ocr, borderless_tables, implicit_rows, min_confidence):
        assert borderless_tables and ocr.psm == 6
        if self.width == 302: raise KeyError("oh")
        if self.width == 303: os._exit(9)
        if self.width == 304: time.sleep(99)
        return [Found(["x"]), Found(["ab", "12"])] if self.width == 300 else []
class TesseractOCR:
    def __init__(self, psm):
        print("Tesseract says its version")
        self.psm = psm
"""


class Perfect:
    """Knows the answer."""

    folder, identity, versions = "perfect", {"kind": "model", "name": "perfect"}, {"perfect": "1"}

    def __init__(self):
        self.seen = []

    def prepare(self, image):
        self.seen.append(image.size)

    def read(self, case):
        assert Image.open(case.image).size == self.seen[-1]
        return Prediction(case.id, case.truth_html)

    def memory(self):
        return {"process": 2**20}


@pytest.fixture
def false_img2table(tmp_path, monkeypatch):
    package = tmp_path / "packages" / "img2table"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "document.py").write_text(IMG2TABLE)
    (package / "ocr.py").write_text("from img2table.document import TesseractOCR")
    tesseract = tmp_path / "packages" / "tesseract"
    tesseract.write_text("#!/bin/sh\necho tesseract 5.3.0\n")
    tesseract.chmod(0o755)
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    monkeypatch.setenv("PATH", str(package.parent))
    return package


@pytest.fixture
def tables(tmp_path):
    folder = tmp_path / "tables"
    folder.mkdir()
    lines = []
    for width in (300, 301, 302, 303, 304, 305):
        path = folder / f"{width}.png"
        Image.new("RGB", (width, 40), "white").save(path)
        lines.append(json.dumps({"image": path.name, "html": TRUTH}))
    (folder / "305.png").write_bytes(b"no image")
    (folder / "gt.jsonl").write_text("\n".join(lines))
    return open_benchmark(str(folder))


def test_both_read_all_in_turns_and_nothing_stops_them(false_img2table, tables, tmp_path):
    settings = {**bench.SETTINGS, "margin": 0, "psm": 6}
    other = bench.Img2table(sys.executable, settings, 1.0, timeout=2)
    try:
        perfect = Perfect()
        results = bench.compare_readers([perfect, other], tables, tmp_path / "out")
        assert len(perfect.seen) == 5
        told = [
            bench.figures(*each) for each in zip([perfect, other], *zip(*results, strict=True), strict=True)
        ]
    finally:
        other.stop()
    right, left = [{Path(example.id).stem: example for example in result.examples} for result, _ in results]
    assert [right[name].scores["teds_normalised"] for name in ("300", "303", "305")] == [1, 1, 0]
    assert left["300"].scores["teds_normalised"] == 1 and left["301"].scores["teds_normalised"] == 0
    errors = {name: example.error for name, example in left.items() if example.error}
    assert set(errors) == {"302", "303", "304", "305"}
    assert "oh" in errors["302"] and "ended with 9" in errors["303"] and "no answer" in errors["304"]
    assert other.found == {2: 2, 0: 1}  # the first image is read twice, as the first reading is not timed
    assert [one["no_table"] for one in told] == [1 / 6, 5 / 6]
    assert told[1]["name"] == "img2table unknown + Tesseract 5.3.0"
    rows = bench.shown(told).to_rows()
    assert rows[0] == ["", "perfect", told[1]["name"]]
    assert ["no table", "16.7%", "83.3%"] in rows
    compared = bench.compare_runs(tmp_path / "out/img2table", tmp_path / "out/perfect")
    assert (compared.pairs, compared.metrics["teds_normalised"].wins) == (6, 4)


def test_small_text_is_enlarged(false_img2table):
    other = bench.Img2table(sys.executable, bench.SETTINGS, None, timeout=9)
    other.stop()
    table = Table.from_rows([["Country", "Hours 2026", "Share"]] * 8)
    scales = []
    for size in (9.0, 30.0):
        other.prepare(draw_table(table, 500, size))
        scales.append(other.scale)
    assert 1.4 < scales[0] <= 4 and scales[1] == 1


@pytest.mark.parametrize("package", ["img2table", "tesseract"])
def test_what_is_missing_is_one_line(false_img2table, package, capsys, tmp_path):
    if package == "img2table":
        (false_img2table / "__init__.py").write_text("raise ImportError('not here')")
    else:
        (false_img2table.parent / "tesseract").unlink()
    assert bench.main(["--data", "synth:1", "-o", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and f"{package} is not installed" in said and "install" in said
    assert not (tmp_path / "out").exists()
