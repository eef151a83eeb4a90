"""What is scored on: names, paths, limits, and what is left out with which words."""

import json
from pathlib import Path

import pytest
from documents import drawing, encode, pdf, text_page

from samvlm.data.images import DocumentError
from samvlm.data.synth import sample
from samvlm.evaluation.benchmarks import open_benchmark
from samvlm.evaluation.cases import Case

HTML = "<table><tr><td>a</td></tr></table>"


def save(path: Path, *lines: object) -> str:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def record(name: str, **more) -> dict:
    return {"id": name, "image": f"{name}.png", "task": "table", "target": {"html": HTML}} | more


def test_drawn_tables_are_those_of_the_renderer():
    options = {"damage": 0.7, "max_area": 128 * 128}
    benchmark = open_benchmark("synth:3", seed=5, options=options)
    assert [case.id for case in benchmark.cases] == [f"synth-5-{index}" for index in range(3)]
    for index, case in enumerate(benchmark.cases):
        drawn = sample("table", 5, index, **options)
        assert case.truth_html == drawn.table.to_html() and case.open().tobytes() == drawn.image.tobytes()
        assert case.pixels() == drawn.image.width * drawn.image.height
    assert len(open_benchmark("synth", limit=2).cases) == 2
    assert open_benchmark("synth:2").identity() == open_benchmark("synth:2").identity()
    assert open_benchmark("synth:2").identity() != open_benchmark("synth:2", seed=6).identity()


def test_drawn_questions_and_texts():
    (asked,) = open_benchmark("synth:1", options={"kind": "question"}).cases
    assert asked.task == "question" and asked.question and len(asked.truths) == 1 and not asked.truth_html
    (text,) = open_benchmark("synth:1", options={"kind": "text", "size": [256, 128]}).cases
    assert text.open().size == (256, 128) and text.truths == (sample("text", 900001, 0, (256, 128)).answer,)


def test_records_of_every_task(tmp_path):
    path = save(
        tmp_path / "records.jsonl",
        record("html"),
        record("otsl", target={"otsl": "<fcel>a<nl>"}),
        record(
            "said", messages=[{"role": "user", "content": "<image>"}, {"role": "assistant", "content": HTML}]
        ),
        record("form", task="form", target={"fields": {"Name": "Ada"}}),
        record(
            "asked", task="question", target={"question": "Who?", "answer": "Ada", "answers": ["Ada", "A."]}
        ),
        {
            "id": "chat",
            "image": "x.png",
            "conversations": [
                {"from": "human", "value": "<image>\nWhat?"},
                {"from": "gpt", "value": "That."},
            ],
        },
        record("empty", structure_only=True),
    )
    cases = {case.id: case for case in open_benchmark(path).cases}
    whole = f"<html><body>{HTML}</body></html>"
    assert cases["html"].truth_html == cases["said"].truth_html == whole
    assert (
        cases["otsl"].truth_html
        == "<html><body><table><tbody><tr><td>a</td></tr></tbody></table></body></html>"
    )
    assert cases["form"].truths == ("Name: Ada",)
    assert cases["asked"].truths == ("Ada", "A.") and cases["asked"].question == "Who?"
    assert (cases["chat"].task, cases["chat"].question, cases["chat"].truths) == (
        "question",
        "What?",
        ("That.",),
    )
    assert cases["empty"].structure_only and not cases["html"].structure_only


def test_truths_stay_as_they_are_where_the_official_score_finds_them(tmp_path):
    html = "<html><body><table><tr><td><b>a</b> </td></tr></table></body></html>"
    (case,) = open_benchmark(save(tmp_path / "a.jsonl", record("1", target={"html": html}))).cases
    assert case.truth_html == html


def test_what_is_wrong_is_left_out_and_named(tmp_path):
    path = save(
        tmp_path / "records.jsonl",
        record("1"),
        {"id": "2"},
        record("1"),
        record("3", messages=[{"role": "user", "content": "<image>"}], task="text", target=None),
        record("4", target={"html": "<p>none</p>"}, messages=[{"role": "user", "content": "<image>"}]),
        record("5"),
    )
    benchmark = open_benchmark(path)
    assert [case.id for case in benchmark.cases] == ["1", "5"]
    told = [f"{entry.where}: {entry.reason}" for entry in benchmark.left_out]
    assert len(told) == 4 and told[0].startswith(f"{path}:2: there are no 'messages'")
    assert "another entry has this id" in told[1]
    assert "no true answer" in told[2] and "no table with cells" in told[3]


def test_limit_and_split(tmp_path):
    path = save(tmp_path / "a.jsonl", *(record(str(n), split=("val", "train")[n % 2]) for n in range(9)))
    assert [case.id for case in open_benchmark(path, split="val", limit=3).cases] == ["0", "2", "4"]
    with pytest.raises(ValueError, match=r"nothing to score in the split 'test' \(--split"):
        open_benchmark(path, split="test")


def test_folders(tmp_path):
    for name in ("b", "a"):
        drawing().save(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.html").write_text(HTML)
    for data in (str(tmp_path), f"folder:{tmp_path}"):
        benchmark = open_benchmark(data)
        assert [case.id for case in benchmark.cases] == ["a.png", "b.png"] and benchmark.name == "folder"
    save(tmp_path / "gt.jsonl", {"image": "b.png", "html": HTML}, {"image": "gone.png", "html": HTML})
    for data in (str(tmp_path), f"icdar2013:{tmp_path}", str(tmp_path / "gt.jsonl")):
        benchmark = open_benchmark(data)
        assert [case.id for case in benchmark.cases] == ["b.png"] and len(benchmark.left_out) == 1


def test_pubtabnet_is_scored_on_its_validation_split(tmp_path):
    (tmp_path / "val").mkdir()
    drawing().save(tmp_path / "val" / "x.png")
    html = {
        "structure": {"tokens": ["<tbody>", "<tr>", "<td>", "</td>", "</tr>", "</tbody>"]},
        "cells": [{"tokens": ["5"]}],
    }
    lines = [{"filename": "x.png", "split": split, "imgid": 1, "html": html} for split in ("train", "val")]
    save(tmp_path / "PubTabNet_2.0.0.jsonl", *lines)
    benchmark = open_benchmark(f"pubtabnet:{tmp_path}")
    assert [case.id for case in benchmark.cases] == ["x.png"] and benchmark.identity()["split"] == "val"
    assert "<td>5</td>" in benchmark.cases[0].truth_html
    (tmp_path / "val" / "x.png").rename(tmp_path / "val" / "y.png")
    with pytest.raises(ValueError, match="nothing to score in the split 'val'"):
        open_benchmark(f"pubtabnet:{tmp_path}")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "val").rename(tmp_path / "elsewhere" / "val")
    (tmp_path / "elsewhere" / "val" / "y.png").rename(tmp_path / "elsewhere" / "val" / "x.png")
    assert open_benchmark(f"pubtabnet:{tmp_path}", options={"images": str(tmp_path / "elsewhere")}).cases


def test_truths_without_images(tmp_path):
    path = tmp_path / "final_eval.json"
    path.write_text(json.dumps({"x.png": {"html": HTML, "type": "simple"}, "y.png": HTML, "z.png": 3}))
    benchmark = open_benchmark(str(path))
    assert [case.id for case in benchmark.cases] == ["x.png", "y.png"] and len(benchmark.left_out) == 1
    with pytest.raises(DocumentError, match="no image is given"):
        benchmark.cases[0].open()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("nowhere", "no such file, folder or benchmark"),
        ("synth:0", "no number of tables"),
        ("synth:many", "no number of tables"),
        ("pubtabnet", "needs its path"),
        ("pubtabnet:nowhere", "no such file or folder"),
    ],
)
def test_what_is_no_benchmark(data, words):
    with pytest.raises(ValueError, match=words):
        open_benchmark(data)


def test_broken_files_and_options(tmp_path):
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(ValueError, match="is the file complete"):
        open_benchmark(str(tmp_path / "bad.json"))
    with pytest.raises(ValueError, match=r"nothing to score; the first entry: 'id' is missing"):
        open_benchmark(save(tmp_path / "none.jsonl", {"image": "x.png"}))
    with pytest.raises(ValueError, match=r"unknown option 'colour': there are max_side, .*style, kind, size"):
        open_benchmark("synth:1", options={"colour": 3})
    with pytest.raises(ValueError, match=r"size='big': give \[width, height\]"):
        open_benchmark("synth:1", options={"size": "big"})
    with pytest.raises(ValueError, match="takes no options"):
        open_benchmark(save(tmp_path / "a.jsonl", record("1")), options={"damage": 0})
    with pytest.raises(ValueError, match=r"the reader llava has no option damage; it has images"):
        open_benchmark(f"llava:{tmp_path / 'a.jsonl'}", options={"damage": 0})
    with pytest.raises(ValueError, match="no split 'val'"):
        open_benchmark("synth", split="val")
    with pytest.raises(ValueError, match="unknown kind"):
        open_benchmark("synth:1", options={"kind": "tables"})


def test_the_fingerprint_sees_truths_and_images(tmp_path):
    def fingerprint() -> str:
        return open_benchmark(path).identity()["fingerprint"]

    path = save(tmp_path / "a.jsonl", record("1"))
    drawing().save(tmp_path / "1.png")
    first = fingerprint()
    assert first == fingerprint()
    drawing(64, 64).save(tmp_path / "1.png")
    second = fingerprint()
    save(tmp_path / "a.jsonl", record("1", target={"html": HTML.replace("a<", "b<")}))
    assert len({first, second, fingerprint()}) == 3


def test_an_image_with_an_impossible_name_costs_itself(tmp_path):
    drawing().save(tmp_path / "1.png")
    benchmark = open_benchmark(
        save(tmp_path / "a.jsonl", record("1"), record("2", image="a" * 5000 + ".png"))
    )
    assert benchmark.identity()["fingerprint"] and len(benchmark.cases) == 2
    assert benchmark.cases[0].open().size == drawing().size and benchmark.cases[1].pixels() == 0
    with pytest.raises((ValueError, OSError)):
        benchmark.cases[1].open()


def test_images_of_every_kind(tmp_path):
    page = drawing(96, 64)
    (tmp_path / "a.pdf").write_bytes(pdf(text_page("A"), text_page("B")))
    for image in (encode(page, "PNG"), lambda: page):
        assert Case("1", "table", image).open().size == (96, 64)
    assert Case("1", "table", encode(page, "PNG")).pixels() == 96 * 64
    assert Case("1", "table", tmp_path / "a.pdf").open().size == (400, 200)
    assert (
        Case("1", "table", lambda: page).pixels() == Case("1", "table", tmp_path / "gone.png").pixels() == 0
    )
