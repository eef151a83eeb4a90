"""MMTab: conversations whose answer is a table in HTML, Markdown or LaTeX, and the test data with questions."""

import json
import random
from pathlib import Path

import pytest
from documents import drawing
from layouts import as_held, converted, split_items, table_in
from random_tables import random_table

from samvlm.data.readers import READERS
from samvlm.data.readers.mmtab import table_of_answer
from samvlm.data.tables import Table

TABLE = Table.from_rows([["Day", "Sold"], ["Friday", "81"]], header_rows=1)
LATEX = (
    "\\begin{tabular}{|c|c|}\n\\hline\nDay & Sold \\\\\n\\hline\nFriday & 81 \\\\\n\\hline\n\\end{tabular}"
)
PRE = "MMTab-pre_pretrain_data_llava_format_150K.json"
EVAL = "MMTab-eval_test_data_49K.json"


def trained(answer: str, name: str = "pre_1", **changes) -> dict:
    turns = [
        {"from": "human", "value": "<image>\nTurn this table into text."},
        {"from": "gpt", "value": answer},
    ]
    return {"id": name, "image": "table_pretrain_part_2/TABMWP_1.jpg", "conversations": turns} | changes


def evaluated(output: str, task: str = "TR", **changes) -> dict:
    return {
        "item_id": f"{task}_test_item_1",
        "image_id": "TABMWP_24663",
        "table_id": "TABMWP_24663",
        "input": "This image displays a table. Could you provide me its HTML?",
        "output": output,
        "answer_list": ["81"],
        "dataset_name": "TABMWP",
        "task_type": task,
        "original_query_type": "table recognition with HTML",
    } | changes


def write(folder: Path, entries, name: str = PRE) -> Path:
    for image in ("table_pretrain_part_2/TABMWP_1.jpg", "all_test_image/TABMWP_24663.jpg"):
        (folder / image).parent.mkdir(parents=True, exist_ok=True)
        drawing().save(folder / image)
    path = folder / name
    lines = "".join(json.dumps(one) + "\n" for one in entries)
    path.write_text(lines if name.endswith("l") else json.dumps(entries))
    return path


@pytest.mark.parametrize(
    ("answer", "form"),
    [
        ("```html\n" + TABLE.to_html(wrap=False) + "\n```", "html"),
        ("Here it is:\n" + TABLE.to_html(), "html"),
        ("```markdown\n" + TABLE.to_markdown() + "```", "markdown"),
        ("Sure, the table:\n\n" + TABLE.to_markdown(), "markdown"),
        (f"```latex\n{LATEX}\n```", "latex"),
        (LATEX, "latex"),
    ],
)
def test_tables_in_the_three_forms(tmp_path, answer, form):
    items, rejected = split_items(READERS["mmtab"](write(tmp_path, [trained(answer)])))
    assert not rejected
    (item,) = items
    assert (item.id, item.task, item.split, item.extra["format"]) == ("pre_1", "table", "train", form)
    assert (item.source, item.licence) == ("mmtab", "Apache-2.0")
    assert item.target["html"].startswith("<html><body><table")
    read = table_in(item.target)
    assert read.to_rows() == TABLE.to_rows() and read.header_rows == (form != "latex")
    assert item.messages[1]["content"] == [{"type": "text", "text": answer}]
    assert item.image == tmp_path / "table_pretrain_part_2" / "TABMWP_1.jpg"


def test_html_stays_as_it_stands(tmp_path):
    html = '<table border="1">\n<tr><th>a</th><td rowspan=2><b>x</b> &lt; y</td></tr>\n<tr><td>c</td></tr></table>'
    (item,) = READERS["mmtab"](write(tmp_path, [trained(html)]))
    assert item.target == {"html": f"<html><body>{html}</body></html>"}


@pytest.mark.parametrize("seed", range(20))
def test_random_tables_come_back(tmp_path, seed):
    table = as_held(random_table(random.Random(seed), hostile=False))
    (item,) = READERS["mmtab"](write(tmp_path, [trained(table.to_html(wrap=False))]))
    assert table_in(item.target) == table
    flat = Table.from_rows(table.to_rows(), header_rows=1)
    if any(flat.to_rows()[0]):
        (item,) = READERS["mmtab"](write(tmp_path, [trained(flat.to_markdown())]))
        assert table_in(item.target) == flat


@pytest.mark.parametrize(
    "answer",
    [
        "The answer is 81.",
        'Find the numbers in the table. Therefore: {"answer": ["81"]}',
        "a | b",
        "The cell <table><tr><td>x</td></tr></table> is far shorter than this explanation of what it says "
        * 2,
        "See \\begin{tabular}{l} x \\end{tabular}, which is far shorter than this explanation of what it says.",
    ],
)
def test_other_answers_stay_conversations(tmp_path, answer):
    (item,) = READERS["mmtab"](write(tmp_path, [trained(answer)]))
    assert item.task is None and item.target is None and item.extra == {}


def test_several_turns_stay_a_conversation(tmp_path):
    turns = trained(TABLE.to_html())["conversations"]
    turns += [{"from": "human", "value": "again"}, {"from": "gpt", "value": TABLE.to_html()}]
    (item,) = READERS["mmtab"](write(tmp_path, [trained("", conversations=turns)]))
    assert item.task is None and len(item.messages) == 4


def test_test_data(tmp_path):
    entries = [
        evaluated(TABLE.to_html(wrap=False)),
        evaluated(LATEX, "OOD_TR", original_query_type="table recognition with Latex"),
        evaluated("On Friday 81 were sold.", "TQA", item_id="TABMWP_8", answer_list=["81", 81.0]),
        evaluated(TABLE.to_html(), "T2T", item_id="T", answer_list=None),
    ]
    items, rejected = split_items(READERS["mmtab"](write(tmp_path, entries, EVAL)))
    assert not rejected and {item.split for item in items} == {"test"}
    assert [item.task for item in items] == ["table", "table", "question", "question"]
    assert [item.extra.get("format") for item in items] == ["html", "latex", None, None]
    assert table_in(items[1].target).to_rows() == TABLE.to_rows()
    assert items[2].target == {
        "question": entries[2]["input"],
        "answer": "On Friday 81 were sold.",
        "answers": ["81", "81.0"],
    }
    assert items[3].target["answers"] == [TABLE.to_html()]
    assert items[2].extra["task_type"] == "TQA" and items[2].extra["dataset_name"] == "TABMWP"
    assert items[0].image == tmp_path / "all_test_image" / "TABMWP_24663.jpg"
    assert items[0].messages[0]["content"][1]["text"] == entries[0]["input"]
    assert list(READERS["mmtab"](tmp_path / EVAL, split="train")) == []


def test_questions_without_answers(tmp_path):
    asked = {
        "question_id": "TSD_1",
        "image": "TABMWP_24663.jpg",
        "text": "How many rows?",
        "category": "X_for_TSD",
    }
    path = write(tmp_path, [asked], "MMTab-eval_test_data_49K_llava_jsonl_format.jsonl")
    (item,) = READERS["mmtab"](path)
    assert (item.id, item.task, item.target) == ("TSD_1", "question", {"question": "How many rows?"})
    assert [turn["role"] for turn in item.messages] == ["user"] and item.extra == {"category": "X_for_TSD"}


@pytest.mark.parametrize(
    ("name", "bad", "reason"),
    [
        (PRE, trained("```html\n<table></table>```"), "has no cell"),
        (PRE, trained("\\begin{tabular}{l}\\end{tabular}"), "has no cell"),
        (PRE, trained("x", image="missing.jpg"), "no image 'missing.jpg'"),
        (PRE, trained("x", id=""), "'id' is ''"),
        (PRE, trained(""), "is empty"),
        (EVAL, evaluated(""), "'output' is ''"),
        (EVAL, evaluated("x", image_id="missing"), "no image 'missing.jpg'"),
        (EVAL, evaluated("x", image_id=None), "'image_id' is None"),
        (EVAL, evaluated("x", item_id={}), "'item_id' is {}"),
        (EVAL, {"item_id": "x"}, "'input' is missing"),
    ],
)
def test_a_broken_entry_is_rejected_alone(tmp_path, name, bad, reason):
    good = (trained if name == PRE else evaluated)("81")
    items, (rejected,) = split_items(READERS["mmtab"](write(tmp_path, [good, bad, good], name)))
    assert len(items) == 2 and reason in rejected.reason and rejected.where.endswith(": item 2")


def test_paths_of_another_kind(tmp_path):
    for entries in ([{"a": 1}], []):
        with pytest.raises(ValueError, match="MMTab's"):
            READERS["mmtab"](write(tmp_path, entries))
    with pytest.raises(ValueError, match="MMTab's"):
        READERS["mmtab"](tmp_path)


def test_table_of_answer_says_the_form():
    assert table_of_answer("no") is None
    assert table_of_answer(LATEX)[0] == "latex"
    assert table_of_answer("| a |\n|---|\n| b |")[1].header_rows == 1


def test_records(tmp_path):
    entries = [
        evaluated(TABLE.to_html()),
        evaluated("81", "TQA", item_id="q", answer_list=["81", "eighty-one"]),
    ]
    path = write(tmp_path / "data", entries, EVAL)
    table, question = converted("mmtab", path, tmp_path)
    assert Table.from_html(table.target["html"]) == TABLE and table.answer == TABLE.to_html()
    assert question.target["answers"] == ["81", "eighty-one"] and question.answer == "81"
