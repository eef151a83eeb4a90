"""Synthetic samples: the same for everyone, the announced size, exact truth, real variety."""

import hashlib
import os
import subprocess
import sys
from collections import Counter
from decimal import Decimal

import numpy as np
import pytest

from samvlm.data.synth import CHARSET, KINDS, SynthSample, plan_size, sample
from samvlm.data.synth.characters import ASCII
from samvlm.data.synth.damage import move, skew_matrix
from samvlm.data.synth.dice import Dice
from samvlm.data.synth.fonts import families
from samvlm.data.synth.manner_tables import STYLES
from samvlm.data.synth.page import SUPER, Page, plain
from samvlm.data.synth.typefaces import draw_type
from samvlm.data.tables import Table


def fingerprint(made: SynthSample) -> str:
    parts = (made.image.tobytes(), made.answer.encode(), made.chars.encode(), made.centres.tobytes())
    return hashlib.sha256(b"|".join((*parts, made.positions.tobytes()))).hexdigest()


@pytest.fixture(scope="module")
def tables() -> list[SynthSample]:
    return [sample("table", 5, index, max_area=384 * 320) for index in range(150)]


def test_the_same_in_another_process_and_order():
    here = {kind: [fingerprint(sample(kind, 7, index)) for index in (2, 0, 1)] for kind in KINDS}
    code = (
        "from tests.data.test_synth import KINDS, fingerprint, sample\n"
        "print(*(fingerprint(sample(kind, 7, index)) for kind in KINDS for index in (0, 1, 2)))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "77", "OMP_NUM_THREADS": "1"}
    there = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert there.stdout.split() == [found[at] for found in here.values() for at in (1, 2, 0)]
    for kind, found in here.items():
        assert len(set(found)) == 3
        assert fingerprint(sample(kind, 8, 0)) != found[1]


@pytest.mark.parametrize("kind", KINDS)
def test_plan_size_is_the_size(kind: str):
    for index in range(10):
        planned = plan_size(kind, 3, index)
        assert sample(kind, 3, index).image.size == planned
        assert planned[0] % 64 == planned[1] % 64 == 0
    sizes = [plan_size(kind, 3, index) for index in range(500)]
    assert max(w * h for w, h in sizes) <= 768 * 512
    assert max(max(size) for size in sizes) <= 768
    if kind != "strip":
        assert len(set(sizes)) > 15
        limited = [plan_size(kind, 3, index, max_side=320, max_area=256 * 192) for index in range(200)]
        assert max(max(size) for size in limited) <= 320
        assert max(w * h for w, h in limited) <= 256 * 192
        assert sample(kind, 3, 1, max_side=320, max_area=256 * 192).image.size == limited[1]


@pytest.mark.parametrize("kind", KINDS)
def test_any_size_on_request(kind: str):
    for size in ((64, 32), (100, 70), (600, 90), (128, 500)):
        for index in range(3):
            assert sample(kind, 1, index, size=size).image.size == size


def test_wrong_arguments_say_what_to_do():
    with pytest.raises(ValueError, match="choose from strip"):
        sample("tabel", 0, 0)
    with pytest.raises(ValueError, match="choose from"):
        plan_size("tabel", 0, 0)
    with pytest.raises(ValueError, match="at least 64x32"):
        sample("table", 0, 0, size=(32, 32))


@pytest.mark.parametrize("kind", KINDS)
def test_truth_is_consistent(kind: str):
    for index in range(12):
        made = sample(kind, 11, index, max_area=384 * 320)
        n = len(made.chars)
        assert n > 0 and made.centres.shape == (n, 2) and made.positions.shape == (n,)
        assert made.centres.dtype == np.float32 and made.positions.dtype == np.int32
        assert made.image.mode == "RGB"
        assert not set(made.chars) & set(" \n") and set(made.chars) <= set(CHARSET)
        assert (made.centres >= 0).all() and (made.centres < np.array(made.image.size)).all()
        in_answer = made.positions >= 0
        assert in_answer.any() == (kind != "question")
        for char, position in zip(made.chars, made.positions, strict=True):
            assert position < 0 or made.answer[position] == char
        seen = made.positions[in_answer]
        assert len(set(seen.tolist())) == len(seen)
        if kind in ("strip", "text"):  # nothing but blanks is answered without being drawn
            assert "".join(made.answer.split()) == made.chars


@pytest.mark.parametrize("kind", KINDS)
def test_centres_lie_on_ink(kind: str):
    """In a box of a character's size around each centre there is contrast; beside the text there is none."""
    for index in range(8):
        made = sample(kind, 21, index, max_area=256 * 256, damage=0.0)
        grey = np.asarray(made.image.convert("L")).astype(int)
        reach = int(made.meta["size"] * 0.5)
        for x, y in made.centres.astype(int):
            box = grey[max(0, y - reach) : y + reach + 1, max(0, x - 1) : x + 2]
            assert box.max() - box.min() > 25, (index, x, y)


@pytest.mark.parametrize("hinted", [False, True])
def test_centre_is_the_middle_of_the_glyph(hinted: bool):
    style = draw_type(Dice(3), 15.0, 17.0)
    style = type(style)(style.family, style.size, hinted=hinted)
    for char in "o+Hx8w":
        for x in (10.0, 20.25, 30.5, 40.75):
            page = Page(80, 40)
            page.text(x, 25, char, style)
            columns = np.flatnonzero(page.ink.max(axis=0) > 0)
            (middle, height), *_ = page.centres
            assert abs((columns[0] + columns[-1] + 1) / 2 - middle) <= 1.0
            assert height == pytest.approx(25.5 - 0.3 * style.size)


def test_centres_follow_a_skew():
    style = draw_type(Dice(4), 12.0, 14.0)
    page = Page(300, 200)
    for x, y in ((10, 20), (280, 20), (10, 190), (280, 190), (150, 100)):
        page.text(x, y, "o", style)
    image = page.composed()
    _, centres, _ = page.truth()
    matrix = skew_matrix(Dice(8), 300, 200)
    turned = np.asarray(image.transform(image.size, 0, matrix, 2, fillcolor=255)).astype(float)
    before = np.asarray(image).astype(float)
    moved = move(centres, matrix)
    assert np.abs(moved - centres).max() > 1.0
    for old, new in zip(centres, moved, strict=True):
        shift = centroid(turned, new) - centroid(before, old)
        assert np.abs(shift - (new - old)).max() < 0.2


def centroid(grey: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Middle of the ink within 9 pixels of a point."""
    x, y = near.round().astype(int)
    box = 255 - grey[max(0, y - 9) : y + 10, max(0, x - 9) : x + 10]
    rows, columns = np.mgrid[
        max(0, y - 9) : max(0, y - 9) + box.shape[0], max(0, x - 9) : max(0, x - 9) + box.shape[1]
    ]
    return np.array([(columns * box).sum(), (rows * box).sum()]) / box.sum()


def test_marks_are_no_text():
    style = draw_type(Dice(5), 12.0, 13.0)
    page = Page(100, 40)
    page.text(5, 30, f"x{SUPER}2", style, position=7)
    assert plain(f"x{SUPER}2") == "x2"
    assert page.chars == ["x", "2"] and page.positions == [7, 8]
    assert page.centres[1][1] < page.centres[0][1]


def test_answer_is_the_table(tables: list[SynthSample]):
    for made in tables:
        read = Table.from_otsl(made.answer)
        assert read == made.table and not read.repairs
        assert made.table.to_otsl() == made.answer
        for row in range(made.meta["header_rows"]):
            assert {cell.header for cell in made.table.grid()[row]} == {"column"}
        later = {cell.header for cell in made.table.cells if cell.row >= made.meta["header_rows"]}
        assert later <= {None, "section"}


def test_tables_vary(tables: list[SynthSample]):
    cells = [cell for made in tables for cell in made.table.cells]
    assert {made.meta["rules"] for made in tables} == {
        "booktabs",
        "grid",
        "rows",
        "columns",
        "head",
        "frame",
        "none",
    }
    assert {made.meta["header_rows"] for made in tables} >= {0, 1, 2}
    assert len({made.meta["size"] for made in tables}) >= 6
    assert len({made.table.n_cols for made in tables}) >= 7
    assert max(made.table.n_rows for made in tables) >= 15
    assert any(cell.colspan > 1 and cell.header == "column" for cell in cells)
    assert any(cell.rowspan > 1 and cell.header == "column" for cell in cells)
    assert any(cell.rowspan > 1 and cell.header is None for cell in cells)
    assert any(cell.header == "section" and cell.colspan > 1 for cell in cells)
    texts = Counter(cell.text for cell in cells)
    assert texts[""] > 0.01 * len(cells) and max(texts[t] for t in texts if t) < 0.05 * len(cells)
    everything = " ".join(texts)
    for sign in set("±%–(<×$") & frozenset.union(*(family.drawable for family in families())):
        assert sign in everything
    damage = Counter(name for made in tables for name in made.meta["damage"])
    assert set(damage) == {"gain", "relow", "skew", "blur", "contrast", "noise", "jpeg"}
    assert len({made.image.size for made in tables}) > 8
    if len(families()) >= 20:
        assert len({made.meta["family"] for made in tables}) >= 20


def test_strips_are_dense_and_spell_all_of_ascii():
    made = [sample("strip", 2, index) for index in range(120)]
    letters = Counter(char for one in made for char in one.chars)
    assert set(ASCII[1:]) <= set(letters)
    assert min(letters[char] for char in ASCII[1:]) > 5
    assert np.mean([len(one.chars) for one in made]) > 100
    beyond = frozenset.union(*(family.drawable for family in families())) - set(ASCII)
    assert len(beyond & set(letters)) > 0.3 * len(beyond)


def test_questions_have_exact_answers():
    kinds = Counter()
    for index in range(80):
        made = sample("question", 4, index)
        kinds[made.meta["question"]] += 1
        assert answer_again(made) == made.answer, (index, made.question)
    assert len(kinds) >= 7


def answer_again(made: SynthSample) -> str:
    """The answer, from nothing but the question and the table."""
    header, *rows = [[cell.text for cell in line] for line in made.table.grid()]
    question, kind = made.question, made.meta["question"]

    def number(text: str) -> Decimal:
        digits = "".join(c for c in text if c.isdigit())
        tail = len(text) - 1 - max(text.rfind("."), text.rfind(","))
        is_decimal = tail < len(text) and tail in (1, 2)
        return Decimal(digits).scaleb(-tail if is_decimal else 0)

    if kind == "rows":
        return str(len(rows))
    if kind == "columns":
        return str(len(header))
    if kind == "cell":
        return next(
            row[col]
            for row in rows
            for col in range(1, len(header))
            if question == f"What is the {header[col]} of {row[0]}?"
        )
    col = max((c for c in range(1, len(header)) if header[c] in question), key=lambda c: len(header[c]))
    values = [number(row[col]) for row in rows]
    if kind == "sum":
        assert sum(values) == number(made.answer)
        return made.answer
    if kind == "above":
        bar = number(question.split(" above ")[1].rstrip("?"))
        return str(sum(value > bar for value in values))
    best = max(values) if "largest" in kind else min(values)
    row = rows[values.index(best)]
    return row[0] if kind.startswith("row") else row[col]


def test_forms_answer_with_fields():
    layouts = Counter()
    for index in range(60):
        made = sample("form", 4, index)
        layouts[made.meta["layout"]] += 1
        for line in made.answer.split("\n"):
            key, separator, value = line.partition(": ")
            assert key and separator and value
    assert len(layouts) == 5


@pytest.mark.parametrize("style", STYLES)
def test_styles_have_exact_truth(style: str):
    rows, columns = set(), set()
    for index in range(25):
        made = sample("table", 31, index, max_area=384 * 320, style=style)
        assert made.image.size == plan_size("table", 31, index, max_area=384 * 320, style=style)
        assert fingerprint(made) == fingerprint(sample("table", 31, index, max_area=384 * 320, style=style))
        read = Table.from_otsl(made.answer)
        assert read == made.table and not read.repairs
        assert made.meta["manner"] == style or style == "any"
        assert read.header_rows < read.n_rows
        for char, position in zip(made.chars, made.positions, strict=True):
            assert position < 0 or made.answer[position] == char
        written = "".join(cell.text.replace(" ", "") for cell in read.cells)
        assert len(written) == (made.positions >= 0).sum()
        assert (made.centres >= 0).all() and (made.centres < np.array(made.image.size)).all()
        rows.add(read.n_rows)
        columns.add(read.n_cols)
    assert len(rows) >= 6 and len(columns) >= 3
    with pytest.raises(ValueError, match="tables have the styles any, journal"):
        sample("table", 0, 0, style="novel")
    with pytest.raises(ValueError, match="leave it out"):
        plan_size("text", 0, 0, style=style)


@pytest.mark.parametrize("kind", list(KINDS))
def test_type_and_page_of_another_scale(kind):
    size = plan_size(kind, 5, 3, scale=1.5, max_side=1024, max_area=1024 * 1024)
    made = sample(kind, 5, 3, scale=1.5, max_side=1024, max_area=1024 * 1024, damage=0.0)
    assert made.image.size == size and all(side % 64 == 0 for side in size)
    usual = plan_size(kind, 5, 3, max_area=1024 * 1024)
    assert size[0] > usual[0]


def test_scale_enlarges_the_type():
    usual = [sample("strip", 5, i, size=(384, 192), damage=0.0).meta["size"] for i in range(12)]
    large = [sample("strip", 5, i, size=(384, 192), damage=0.0, scale=1.5).meta["size"] for i in range(12)]
    assert [abs(a - 1.5 * b) <= 0.25 for a, b in zip(large, usual, strict=True)] == [True] * 12
    assert plan_size("table", 1, 1, scale=4.0, max_side=128)[0] == 128
