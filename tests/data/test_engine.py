"""Tables set by Chromium: valid plans, exact truth, shards that resume, a source that plans what it loads."""

import hashlib
import pickle
import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from samvlm.data.datasets import MixtureDataset, source_of
from samvlm.data.engine import (
    KeptTable,
    Outcome,
    TableShards,
    check_mix,
    find_chromium,
    finished,
    note,
    write_shard,
)
from samvlm.data.engine.markup import document, make_table, page_of
from samvlm.data.engine.printed import truth_of
from samvlm.data.engine.wear import KINDS, worn
from samvlm.data.printed_source import EngineSource
from samvlm.data.synth import CHARSET, sample
from samvlm.data.synth.dice import Dice
from samvlm.data.synth.fonts import families
from samvlm.data.synth.subjects import PROFILES
from samvlm.data.tables import Table
from samvlm.evaluation.benchmarks import open_benchmark

DRAWN = ["7a1979817fd3d538", "1cc26ea938bc7830", "893214794d3dd2c0"]
SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "make_engine_tables.py"


def has_chromium() -> bool:
    try:
        find_chromium()
    except ValueError:
        return False
    return True


needs_chromium = pytest.mark.skipif(not has_chromium(), reason="no Chromium on this machine")


def kept(index: int) -> KeptTable:
    """A drawn table in the place of a printed one."""
    made = sample("table", 3, index, max_area=256 * 192, damage=0)
    return KeptTable(
        f"t{index}", made.image, made.answer, made.chars, made.centres, made.positions, 9.0, {"n": index}
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for shard in range(3):
        write_shard(tmp_path, shard, (kept(4 * shard + place) for place in range(4)))
    return tmp_path


@pytest.mark.parametrize("manner", PROFILES)
def test_plans_are_tables(manner: str):
    kinds, spans, strange, beside = set(), 0, 0, 0
    for number in range(120):
        draft, style, kind = make_table(manner, 5, number)
        answer, chars, positions = truth_of(draft)
        table = draft.table()
        read = Table.from_otsl(answer)
        assert read == table and not read.repairs and table.to_otsl() == answer
        assert all(answer[place] == char for place, char in zip(positions, chars, strict=True) if place >= 0)
        assert (positions < 0).sum() == len((draft.above + draft.below).replace(" ", ""))
        beside += bool(draft.above or draft.below)
        assert table.header_rows == draft.header_rows
        assert (draft, style.css) == (lambda d, s, _: (d, s.css))(*make_table(manner, 5, number))
        kinds.add(kind)
        spans += any(cell.rowspan > 1 or cell.colspan > 1 for cell in table.cells)
        strange += not set(chars) <= set(CHARSET)
    assert len(kinds) >= min(6, len(PROFILES[manner]) - 1)
    assert spans > 10
    assert strange <= 6 and 0 < beside < 40


def test_markup_holds_the_text_and_nothing_else():
    from lxml import html

    for number in range(30):
        draft, style, _ = make_table("journal", 6, number)
        page = html.document_fromstring(document([page_of(draft, style, number)]))
        cells = page.findall(".//td")
        ordered = sorted(draft.items, key=lambda item: (item.row, item.col))
        assert len(cells) == len(ordered)
        assert [" ".join(c.text_content().split()) for c in cells] == [
            cell.text for cell in draft.table().cells
        ]


def test_wear_moves_the_centres_with_the_picture():
    spots = np.array([(x, y) for x in (20, 150, 280) for y in (20, 100, 180)], np.float32)
    page = np.full((200, 300, 3), 255, np.uint8)
    for x, y in spots.astype(int):
        page[y - 3 : y + 4, x - 3 : x + 4] = 0
    seen = set()
    for number in range(60):
        image, moved, kind = worn(Dice("wear", number), Image.fromarray(page), spots + 0.5, 20.0, 1.0)
        assert image.size == (300, 200) and image.mode == "RGB"
        seen.add(kind)
        grey = np.asarray(image.convert("L")).astype(float)
        for x, y in moved:
            box = grey[int(y) - 9 : int(y) + 10, int(x) - 9 : int(x) + 10]
            dark = box < (box.min() + box.max()) / 2
            rows, columns = np.nonzero(dark)
            middle = np.array([columns.mean() - 9 + int(x) + 0.5, rows.mean() - 9 + int(y) + 0.5])
            assert np.abs(middle - (x, y)).max() < 1.2, kind
    assert seen == set(KINDS)
    assert worn(Dice(1), Image.fromarray(page), spots, 20.0, 0.0)[2] == ""


def test_shards_give_back_what_was_put_in(folder: Path):
    shards = pickle.loads(pickle.dumps(TableShards(folder)))
    assert len(shards) == 12 and finished(folder) == {0, 1, 2}
    for number in (11, 0, 5):
        found, put = shards[number], kept(number)
        assert (found.id, found.answer, found.chars, found.em, found.meta) == (
            put.id,
            put.answer,
            put.chars,
            9.0,
            put.meta,
        )
        assert found.image.tobytes() == put.image.tobytes()
        assert (found.centres == put.centres).all() and (found.positions == put.positions).all()
    (folder / "00001.bin").unlink()
    assert finished(folder) == {0, 2}
    note(folder, {"seed": 1})
    note(folder, {"seed": 1})
    with pytest.raises(ValueError, match=r"another making \(seed differ"):
        note(folder, {"seed": 2})


def test_a_forked_worker_opens_its_own_file(folder: Path, monkeypatch: pytest.MonkeyPatch):
    shards = TableShards(folder)
    ours, again = shards._bytes(0, 0, 4), shards._bytes(0, 0, 4)
    assert ours == again and len(shards._open) == 1
    monkeypatch.setattr("os.getpid", lambda: -1)
    assert shards._bytes(0, 0, 4) == ours and len(shards._open) == 2


def test_printed_tables_as_a_benchmark(folder: Path):
    benchmark = open_benchmark(f"engine:{folder}", limit=5)
    assert [case.id for case in benchmark.cases] == [f"t{number}" for number in range(5)]
    for number, case in enumerate(benchmark.cases):
        assert case.open().tobytes() == kept(number).image.tobytes()
        assert Table.from_html(case.truth_html) == Table.from_html(
            Table.from_otsl(kept(number).answer).to_html()
        )
        assert case.pixels() == kept(number).image.width * kept(number).image.height
    with pytest.raises(ValueError, match="neither a split nor options"):
        open_benchmark(f"engine:{folder}", options={"damage": 0})
    with pytest.raises(ValueError, match="no printed tables there"):
        open_benchmark("engine:/nowhere")


def test_a_broken_write_leaves_nothing(tmp_path: Path):
    def tables():
        yield kept(0)
        raise ValueError("no engine")

    with pytest.raises(ValueError, match="no engine"):
        write_shard(tmp_path, 0, tables())
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="no printed tables there; make them with"):
        TableShards(tmp_path)


def test_source_plans_what_it_loads(folder: Path):
    source = source_of({"engine": str(folder), "damage": 0.7, "weight": 2})
    assert isinstance(source, EngineSource) and source.drawn and source.ordered
    for index in range(24):
        loaded = source.load(4, index)
        assert loaded.image.size == source.plan(4, index)
        assert loaded.image.width % 64 == loaded.image.height % 64 == 0
        assert source.length(4, index) == len(loaded.answer)
        assert len(loaded.chars) == len(loaded.centres) == len(loaded.positions)
        for char, position in zip(loaded.chars, loaded.positions, strict=True):
            assert position < 0 or loaded.answer[position] == char
        assert (loaded.centres >= 0).all() and (loaded.centres < np.array(loaded.image.size)).all()
        again = source.load(4, index)
        assert again.image.tobytes() == loaded.image.tobytes() and (again.centres == loaded.centres).all()
    assert {source.load(4, index).id for index in range(12)} == {f"t{number}" for number in range(12)}
    orders = [
        [source.pick(seed, index) for index in range(start, start + 12)]
        for seed, start in ((4, 0), (4, 12), (5, 0))
    ]
    assert orders[0] != orders[1] and orders[0] != orders[2]


def test_source_takes_the_scale_of_a_model(folder: Path):
    fitted = EngineSource(str(folder), jitter=0.0)
    given = EngineSource(str(folder), jitter=0.0, text_height=8)
    for source in (fitted, given):
        source.fit(text_height=12.0, max_side=1024, max_upscale=None)
    assert (given.text_height, given.max_side) == (8, 1024)
    widths = [source.load(1, 0).centres[:, 0].max() for source in (fitted, given)]
    assert widths[0] == pytest.approx(1.5 * widths[1], rel=0.02)
    unbound = EngineSource(str(folder), jitter=0.0)
    unbound.fit(text_height=None, max_side=512, max_upscale=None)
    assert {max(unbound.plan(1, index)) for index in range(12)} == {512}


def test_source_leaves_out_what_is_too_large(folder: Path):
    source = EngineSource(str(folder), max_area=192 * 256, text_height=11, max_side=768)
    assert 0 < len(source.rows) < 12
    for index in range(2 * len(source.rows)):
        width, height = source.plan(1, index)
        assert width * height <= 192 * 256
    short, long = EngineSource(str(folder), max_length=150), EngineSource(str(folder), min_length=150)
    assert all(short.length(1, index) <= 150 <= long.length(1, index) for index in range(20))
    with pytest.raises(ValueError, match="none of its 12 tables has at most max_area=64"):
        EngineSource(str(folder), max_area=64).load(0, 0)
    with pytest.raises(ValueError, match="damage=2: a share"):
        source_of({"engine": str(folder), "damage": 2})


def test_source_in_a_mixture(folder: Path):
    sources = [source_of({"engine": str(folder)}), source_of({"synth": "strip", "weight": 3.0})]
    mixture = MixtureDataset(sources, seed=2)
    names = [mixture[index].id for index in range(256)]
    printed = [name for name in names if name.startswith("t")]
    assert len(printed) == 64
    assert {names.count(f"t{number}") for number in range(12)} <= {5, 6}


def test_without_an_engine_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    main = runpy.run_path(str(SCRIPT))["main"]
    monkeypatch.setenv("SAMVLM_CHROMIUM", str(tmp_path / "nothing"))
    assert main([str(tmp_path / "out"), "--number", "4"]) == 2
    assert "is no program; give the path of a Chromium" in capsys.readouterr().err
    monkeypatch.delenv("SAMVLM_CHROMIUM")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main([str(tmp_path / "out"), "--number", "4"]) == 2
    assert "{synth: table}, need none" in capsys.readouterr().err
    assert main([str(tmp_path / "out"), "--sheet", "x.png"]) == 2
    assert main([str(tmp_path / "out"), "--number", "4", "--mix", "novel=1"]) == 2
    assert "choose from journal" in capsys.readouterr().err
    with pytest.raises(ValueError, match="one above it"):
        check_mix({"journal": 0})


@needs_chromium
def test_what_is_printed_is_the_truth(tmp_path: Path, capsys: pytest.CaptureFixture):
    """Each character of a cell lies within the cell's place: right of the columns before it, below the rows above."""
    main = runpy.run_path(str(SCRIPT))["main"]
    out = tmp_path / "out"
    arguments = [str(out), "--number", "16", "--shard", "16"]
    assert main([*arguments, "--sheet", str(tmp_path / "sheet.png"), "--dots", "--count"]) == 0
    told = capsys.readouterr().out
    assert "tables in" in told and "journal" in told
    shards = TableShards(out)
    assert len(shards) >= 13  # now and then one is too large
    for number in range(len(shards)):
        made = shards[number]
        check_places(made)
        check_ink(made)
    before = (out / "00000.bin").read_bytes()
    (out / "00000.json").unlink()  # as if it had been stopped
    assert main(arguments) == 0
    assert (out / "00000.bin").read_bytes() == before
    assert main([*arguments, "--seed", "2"]) == 2
    assert "seed differ" in capsys.readouterr().err


def check_places(made: KeptTable) -> None:
    table = Table.from_otsl(made.answer)
    inside = made.positions >= 0
    chars, centres = "".join(np.array([*made.chars])[inside]), made.centres[inside]
    assert made.answer == table.to_otsl() and "".join(made.answer[p] for p in made.positions[inside]) == chars
    texts = [cell for cell in table.cells if cell.text]
    edges = np.cumsum([0, *(len(cell.text.replace(" ", "")) for cell in texts)])
    assert edges[-1] == len(chars)
    boxes = {}
    for cell, start, end in zip(texts, edges, edges[1:], strict=False):
        assert chars[start:end] == cell.text.replace(" ", "")
        boxes[id(cell)] = (*centres[start:end].min(0), *centres[start:end].max(0))
    for one in texts:
        for other in texts:
            if one.row + one.rowspan <= other.row and one.col == other.col:
                assert boxes[id(one)][3] < boxes[id(other)][1] + 0.5
            if (
                one.col + one.colspan <= other.col
                and one.row == other.row
                and one.rowspan == other.rowspan == 1
            ):
                assert boxes[id(one)][2] < boxes[id(other)][0] + 0.5


def check_ink(made: KeptTable) -> None:
    grey = np.asarray(made.image.convert("L")).astype(int)
    reach = max(3, round(made.meta["size"] * 0.5))
    shown = 0
    for x, y in made.centres.astype(int):
        box = grey[max(0, y - reach) : y + reach + 1, max(0, x - 1) : x + 2]
        shown += box.max() - box.min() > 25
    assert shown >= 0.98 * len(made.chars)


@needs_chromium
def test_text_of_the_pdf_is_compared(tmp_path: Path):
    from samvlm.data.engine.making import make_tables

    outcome = Outcome()
    made = list(make_tables(3, 0, 6, {"report": 1.0}, lambda grey: None, outcome))
    assert outcome.made == len(made) and outcome.made + sum(outcome.left_out.values()) == 6
    assert all(table.em == 0 for table in made)


def test_drawn_tables_are_what_they_were():
    """The shipped checkpoint's scores are those of these tables. Depends on the fonts found: asked where all are there."""
    names = ",".join(family.name for family in families())
    if digest(names.encode()) != "a2d136fa7bfd742a":
        pytest.skip("other fonts than those of the reference")
    made = [sample("table", 900001, index) for index in range(3)]
    assert [digest(each.answer.encode() + each.image.tobytes()) for each in made] == DRAWN


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
