"""samvlm/data/check: every kind of finding is found, nothing is found in good data, files of any size."""

import json
from pathlib import Path

import pytest
from documents import drawing, encode
from PIL import Image
from record_files import GOOD, html, noise, record, save

from samvlm.data.check import Report, check_records
from samvlm.data.check.findings import EXAMPLES, KINDS
from samvlm.evaluation.ceiling import round_trip_ceiling


def codes(report: Report) -> dict[str, int]:
    return {found.kind.code: found.count for found in report.findings}


def check_one(folder: Path, item: dict | str, **options) -> tuple[dict[str, int], str]:
    """Check a file of one record whose image is good; return the codes and all that was said."""
    noise(folder / "own.png", 0)
    if isinstance(item, dict):
        item = {"image": "own.png", **{key: value for key, value in item.items() if value is not None}}
    report = check_records([save(folder / "one.jsonl", item)], ceiling=round_trip_ceiling, **options)
    return codes(report), " ".join(example.detail for f in report.findings for example in f.examples)


def test_good_data_have_no_finding(tmp_path):
    items = [record(str(n), noise(tmp_path / f"{n}.png", n)) for n in range(5)]
    report = check_records([save(tmp_path / "r.jsonl", *items)], count_tokens=len, ceiling=round_trip_ceiling)
    assert report.findings == [] and report.exit_code == 0
    assert (report.statistics.records, report.statistics.images, report.statistics.tables) == (5, 5, 5)
    assert report.statistics.ceiling() == (1.0, 1.0)


TURNS = [{"role": "user", "content": "<image>What?"}]


@pytest.mark.parametrize(
    ("code", "item", "said"),
    [
        ("unreadable", "{", "is the line complete?"),
        ("unreadable", "7", "a JSON object"),
        ("unreadable", record("1", task="tables"), "use one of table"),
        ("unreadable", record("1", truth="no table"), "no table with cells"),
        ("unreadable", record("1", truth="x", messages=[*TURNS, {"role": "assistant", "content": "y"}]), "no table"),
        ("empty_answer", record("1", truth=" "), "html=' '"),
        ("empty_answer", {"id": "1", "messages": [*TURNS, {"role": "assistant", "content": ""}]}, "is empty"),
        ("empty_answer", {"id": "1", "task": "question", "target": {"question": "How many?", "answer": ""}}, "answer=''"),
        ("empty_answer", {"id": "1", "task": "form", "target": {"fields": {}}}, "fields"),
        ("no_answer", {"id": "1", "messages": TURNS}, "the last turn is the user's"),
        ("image_missing", record("1", "none.png"), "no file at"),
        ("image_broken", record("1", "one.jsonl"), "not an image"),
        ("spans_overlap", record("1", truth=html('<tr><td>a</td><td rowspan="2">b</td></tr><tr><td colspan="2">c</td></tr>')), "row 1, column 0: colspan 2 overlaps"),
        ("ragged", record("1", truth=html("<tr><td>a</td><td>b</td></tr><tr><td>c</td></tr>")), "row 1: 1 of 2 columns"),
        ("spans_beyond", record("1", truth=html('<tr><td rowspan="3">a</td></tr>')), "rowspan 3 cut to the table"),
        ("spans_beyond", record("1", truth=html('<tr><td rowspan="1000000000">a</td></tr>')), "in a table of 1 rows"),
        ("spans_beyond", record("1", truth=html('<tr><td colspan="1000000000">a</td></tr>')), "x 1 columns"),
        ("mended", {"id": "1", "task": "table", "target": {"otsl": "<fcel>a<fcel>b<nl><ucel>"}}, "not closed"),
        ("blank_cells", record("1", truth=html("<tr><td>a</td><td> </td></tr>")), "'<td> </td>'"),
        ("blank_cells", record("1", truth=html("<tr><td>a</td><td><b>&nbsp;</b></td></tr>")), "<b>&nbsp;</b>"),
        ("empty_table", record("1", truth=html("<tr><td></td></tr>")), "1 cells"),
        ("bare_table", record("1", truth="<table><tr><td>a</td></tr></table>"), "starts with '<table>"),
        ("unscorable", record("1", truth=html('<tr><td colspan="100%">a</td></tr>')), 'colspan="100%"'),
        ("boxes_broken", record("1", boxes=[[0, 0, 9, 9], [9, 0, 1, 9], None, "x"]), "box 1 is [9, 0, 1, 9] (and 1 more)"),
        ("boxes_broken", record("1", boxes={}), "no list"),
        ("boxes_outside", record("1", boxes=[[0, 0, 9, 9], None, None, [0, 30, 9, 200]]), "box 3 is"),
        ("boxes_count", record("1", boxes=[[0, 0, 9, 9]]), "1 boxes, 4 cells"),
        ("boxes_flipped", record("1", boxes=[[0, 30, 9, 40], None, [0, 10, 9, 20], None]), "100%"),
        ("ceiling", record("1", truth=html("<tr><td><b>a</b></td></tr>")), "TEDS (official)"),
        ("no_image", json.dumps({"id": "1", "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}), "a text"),
    ],
)  # fmt: skip
def test_each_kind_is_found(tmp_path, code, item, said):
    found, words = check_one(tmp_path, item)
    assert code in found and said in words, (found, words)


def test_structure_alone_may_be_empty(tmp_path):
    empty = record("1", truth=html("<tr><td></td><td> </td></tr>"), structure_only=True)
    assert codes_but_ceiling(check_one(tmp_path, empty)[0]) == {}


def codes_but_ceiling(found: dict[str, int]) -> dict[str, int]:
    return {code: count for code, count in found.items() if code != "ceiling"}


def test_tables_that_lose_in_otsl(tmp_path):
    noise(tmp_path / "a.png", 1)
    path = save(tmp_path / "r.jsonl", record("1", "a.png"))
    assert codes(check_records([path], ceiling=lambda truth: (1.0, 0.5))) == {"otsl_loss": 1}


def test_boxes_out_of_order(tmp_path):
    rows = html("".join(f"<tr><td>{n}</td></tr>" for n in range(5)))
    for order, expected in (
        ((0, 1, 2, 3, 4), {}),
        ((0, 2, 1, 3, 4), {}),
        ((0, 2, 1, 4, 3), {"boxes_order": 1}),
    ):
        boxes = [[0, 8 * place, 20, 8 * place + 6] for place in order]
        assert codes_but_ceiling(check_one(tmp_path, record("1", truth=rows, boxes=boxes))[0]) == expected


@pytest.mark.parametrize("edge", [float("nan"), float("inf"), 10**400, True, "0", None, [0]])
def test_edges_that_are_no_numbers(tmp_path, edge):
    found, words = check_one(tmp_path, record("1", boxes=[[0, 0, 9, edge], None, None, None]))
    assert found == {"boxes_broken": 1} and "box 0 is" in words


def test_a_record_that_trips_the_check_costs_no_other(tmp_path):
    def count_tokens(text):
        if "trip" in text:
            raise RuntimeError("tripped")
        return 1

    noise(tmp_path / "a.png", 1)
    items = [record("1", "a.png", GOOD.replace(">a<", ">trip<")), record("2", "a.png")]
    report = check_records([save(tmp_path / "r.jsonl", *items)], count_tokens=count_tokens)
    assert codes(report) == {"unreadable": 1} and report.statistics.records == 1
    assert "RuntimeError: tripped" in report.findings[0].examples[0].detail


def test_over_long(tmp_path):
    asked = len("Parse this table.") + len("<fcel>a<fcel>b<nl><fcel>c<fcel>d<nl>")
    for limit, expected in ((asked, {}), (asked - 1, {"over_long": 1})):
        found, words = check_one(tmp_path, record("1"), count_tokens=len, max_tokens=limit)
        assert found == expected and (f"{asked} tokens" in words) == bool(expected)


def test_ids_images_and_answers_that_repeat(tmp_path):
    noise(tmp_path / "a.png", 1)
    Image.open(tmp_path / "a.png").save(tmp_path / "same.bmp")
    noise(tmp_path / "b.png", 2)
    other = GOOD.replace(">d<", ">e<")
    ask = {"task": "question", "target": {"question": "What is it?", "answer": "noise"}}
    path = save(
        tmp_path / "r.jsonl",
        record("1", "a.png"),
        record("2", "same.bmp"),  # the same picture in another format, the same truth
        record("3", "same.bmp", other),
        record("4", "a.png") | ask,
        record("4", "b.png"),
        record("6", "a.png", GOOD.replace("<td>a</td>", "<td><b>a</b></td>")),  # the same table for a model
    )
    report = check_records([path])
    assert codes(report) == {"id_twice": 1, "truth_conflict": 1, "duplicate": 2, "shared_image": 1}
    seen = {f.kind.code: [(e.id, e.where, e.detail) for e in f.examples] for f in report.findings}
    assert seen["truth_conflict"] == [("3", f"{path}:3", f"see {path}:1")]
    assert seen["duplicate"][0] == ("2", f"{path}:2", f"see {path}:1")
    assert report.exit_code == 2


def test_leaks_by_field_by_file_and_against(tmp_path):
    for seed in range(4):
        noise(tmp_path / f"{seed}.png", seed)
    marked = save(
        tmp_path / "marked.jsonl",
        record("1", "0.png", split="train"),
        record("2", "1.png", split="train"),
        record("3", "0.png", split="val"),
    )
    (leak,) = check_records([marked]).findings
    assert (leak.kind.code, leak.count) == ("leak", 1)
    assert leak.examples[0].detail == f"in val; also in train, at {marked}:1"
    train = save(tmp_path / "train.jsonl", record("1", "0.png"), record("2", "1.png"))
    val = save(tmp_path / "val.jsonl", record("1", "2.png"), record("2", "1.png"))
    test = save(tmp_path / "test.jsonl", record("1", "0.png"), record("x", "3.png"), record("y", "3.png"))
    assert codes(check_records([train])) == {} and codes(check_records([test])) == {"duplicate": 1}
    (leak,) = check_records([train, val]).findings
    assert leak.examples[0].detail == f"in {val}; also in {train}, at {train}:2"
    report = check_records([train, val], against=[test])
    assert codes(report) == {"leak": 2} and (report.statistics.records, report.references) == (4, 3)
    assert {example.where for example in report.findings[0].examples} == {f"{test}:1", f"{val}:2"}


def test_files_to_compare_with_are_looked_at_too(tmp_path):
    good = save(tmp_path / "good.jsonl", record("1", noise(tmp_path / "0.png", 0)))
    bad = save(
        tmp_path / "bad.jsonl",
        record("1", "none.png"),
        "{",
        record("2", "0.png", html("<tr><td> </td></tr>")),
    )
    report = check_records([good], against=[bad])
    assert codes(report) == {"unreadable": 1, "image_missing": 1, "leak": 1}
    with pytest.raises(ValueError, match="no record file at"):
        check_records([good], against=[tmp_path / "none.jsonl"])


def test_empty_files_and_llava_files(tmp_path):
    empty = save(tmp_path / "empty.jsonl", "")
    assert codes(check_records([empty])) == {"no_records": 1}
    noise(tmp_path / "0.png", 0)
    turns = [{"from": "human", "value": "Say it.\n<image>"}, {"from": "gpt", "value": "It."}]
    path = tmp_path / "llava.json"
    path.write_text(json.dumps([{"id": "1", "image": "0.png", "conversations": turns}] * 2))
    report = check_records([path])
    assert codes(report) == {"id_twice": 1, "duplicate": 1}
    assert report.findings[0].examples[0].where == f"{path}: item 2"


def test_many_cases_are_counted_and_a_few_are_kept(tmp_path):
    items = [record("same", "none.png") for _ in range(30)]
    report = check_records([save(tmp_path / "r.jsonl", *items)])
    assert codes(report) == {"id_twice": 29, "image_missing": 30}
    assert all(len(found.examples) == EXAMPLES for found in report.findings)


def test_workers_find_the_same(tmp_path):
    items = [record(str(n % 60), noise(tmp_path / f"{n}.png", n % 50)) for n in range(70)]
    items[40]["image"] = "none.png"
    path = save(tmp_path / "r.jsonl", *items)
    done = []
    alone = check_records([path], ceiling=round_trip_ceiling)
    report = check_records([path], ceiling=round_trip_ceiling, workers=2, progress=lambda: done.append(1))
    assert report.findings == alone.findings and len(done) == 70
    assert report.statistics.lines() == alone.statistics.lines()


def test_every_kind_is_explained():
    for code, kind in KINDS.items():
        assert code == kind.code and kind.meaning and kind.remedy


def test_what_is_no_fault(tmp_path):
    (tmp_path / "grey.png").write_bytes(encode(drawing(mode="L"), "PNG"))
    first = save(tmp_path / "r.jsonl", record("1", "grey.png", GOOD, licence="CC0-1.0", page=3))
    assert codes(check_records([first], ceiling=round_trip_ceiling)) == {}
