"""Records: what is read, what is refused and with which words."""

import json

import pytest

from samvlm.data.check import check_records
from samvlm.data.records import Record, each_record, read_records, write_records

TABLE = {
    "id": "1",
    "image": "a/b.png",
    "task": "table",
    "target": {"html": "<table><tr><td>x</td></tr></table>"},
}
ASKED = [{"type": "image"}, {"type": "text", "text": "Parse this table."}]


def save(folder, *lines, name="records.jsonl"):
    path = folder / name
    path.write_text(
        "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), encoding="utf-8"
    )
    return path


def test_task_and_target_say_it_all(tmp_path):
    path = save(
        tmp_path,
        TABLE,
        "",
        {
            **TABLE,
            "id": 2,
            "target": {"otsl": "<fcel>x<fcel>y<nl><ecel><nl>"},
            "page": 3,
            "licence": "CC0-1.0",
        },
        {"id": "3", "image": "c.png", "task": "form", "target": {"fields": {"Name": "Ada", "Born": 1815}}},
        {"id": "4", "image": "c.png", "task": "question", "target": {"question": "How many?", "answer": "2"}},
        {"id": "5", "image": "c.png", "task": "text", "target": {"text": "a\nb"}},
    )
    records = list(read_records(path))
    assert records[0].messages[0] == {"role": "user", "content": ASKED}
    assert [record.answer for record in records] == [
        "<fcel>x<nl>",
        "<fcel>x<fcel>y<nl><ecel><ecel><nl>",
        "Name: Ada\nBorn: 1815",
        "2",
        "a\nb",
    ]
    assert records[0].image == tmp_path / "a" / "b.png"
    assert (records[1].id, records[1].extra, records[1].licence) == ("2", {"page": 3}, "CC0-1.0")
    assert records[3].messages[0]["content"][1]["text"] == "How many?"


@pytest.mark.parametrize("value", ["<image>\nRead it.", "Read it.\n<image>", "Read it."])
def test_llava_conversations(tmp_path, value):
    item = {
        "id": "1",
        "image": "x.jpg",
        "conversations": [{"from": "human", "value": value}, {"from": "gpt", "value": "Done."}],
    }
    (record,) = read_records(save(tmp_path, item))
    assert sorted(part["type"] for part in record.messages[0]["content"]) == ["image", "text"]
    assert {"type": "text", "text": "Read it."} in record.messages[0]["content"]
    assert record.answer == "Done."
    (same,) = read_records(save(tmp_path, json.dumps([item], indent=1), name="llava.json"))
    assert same.messages == record.messages


def test_a_bad_record_comes_as_its_error(tmp_path):
    path = save(tmp_path, {**TABLE, "id": None}, TABLE, "{", {**TABLE, "id": "2"})
    first, good, third, last = each_record(path)
    assert (good.id, last.id) == ("1", "2")
    assert str(first).startswith(f"{path}:1: 'id' is missing") and str(third).startswith(f"{path}:3: no JSON")


def test_several_turns_and_a_text_without_image(tmp_path):
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"},
             {"role": "user", "content": [{"type": "text", "text": "More"}]}]  # fmt: skip
    (record,) = read_records(save(tmp_path, {"id": "1", "messages": turns}))
    assert record.image is None and record.answer is None
    assert [turn["role"] for turn in record.messages] == ["system", "user", "assistant", "user"]


def turns(*pairs):
    return {
        "id": "1",
        "image": "x.png",
        "messages": [{"role": role, "content": content} for role, content in pairs],
    }


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("{", "no JSON"),
        ('{"id": "1"', "is the line complete"),
        ("[1, 2]\n", "a record is a JSON object"),
        ("7", "a record is a JSON object, got int"),
        ({"image": "x.png"}, "'id' is missing"),
        ({"id": "1", "image": "x.png"}, "there are no 'messages'"),
        ({"id": " "}, "'id' is ' '"),
        ({"id": "1", "image": ["a.png"]}, "'image' is ['a.png']"),
        ({**TABLE, "image": "https://x.org/a.png"}, "download it"),
        ({**TABLE, "image": None}, "needs an 'image'"),
        ({**TABLE, "image": "a\0b"}, "null character"),
        ({**TABLE, "task": "tables"}, "use one of table, text"),
        ({**TABLE, "target": "x"}, "'target' is 'x'"),
        ({**TABLE, "target": {"html": "no"}}, "no table with cells"),
        ({**TABLE, "target": {"text": "no"}}, "html or otsl"),
        ({**TABLE, "task": "form", "target": {"fields": []}}, "'fields' is []"),
        ({**TABLE, "task": "question", "target": {"answer": "2"}}, "question=None"),
        ({"id": "1", "messages": []}, "'messages' is []"),
        ({"id": "1", "messages": ["x"]}, "a turn is 'x'"),
        (turns(("assistant", "x")), "user first"),
        (turns(("user", "x"), ("user", "y")), "must alternate"),
        (turns(("user", "x"), ("system", "y")), "only the first"),
        (turns(("system", "x")), "by nobody"),
        (turns(("robot", "x")), "role 'robot' is unknown"),
        (turns(("user", 5)), "neither a text nor a list"),
        (turns(("user", [{"type": "text"}])), "neither a text nor a list"),
        (turns(("user", "<image><image>x")), "2 <image>"),
        (turns(("user", "x"), ("assistant", "<image>")), "only the user shows images"),
        (turns(("user", "x"), ("assistant", " ")), "turn of the assistant is empty"),
        ({"id": "1", "messages": [{"role": "user", "content": "<image>x"}]}, "the record has 0 image"),
    ],
)
def test_errors_name_the_line_and_the_remedy(tmp_path, item, message):
    path = save(tmp_path, TABLE, item)
    records = read_records(path)
    next(records)
    with pytest.raises(ValueError) as caught:
        next(records)
    assert str(caught.value).startswith(f"{path}:2: ") and message in str(caught.value)
    found = check_records([path]).findings
    assert any(message in example.detail for finding in found for example in finding.examples)


def test_files_that_are_no_utf8_or_cut_off(tmp_path):
    path = tmp_path / "latin.jsonl"
    path.write_bytes(json.dumps(TABLE).encode() + b'\n{"id": "\xe9"}\n')
    good, bad = each_record(path)
    assert good.id == "1" and str(bad).startswith(f"{path}:2: no UTF-8")
    path.write_text('{"id": ' + "9" * 5000 + "}\n" + "[" * 100_000 + "\n{}")
    assert ["no JSON" in str(error) for error in each_record(path)] == [True, True, False]
    (cut,) = each_record(save(tmp_path, '[{"id": "1"', name="cut.json"))
    assert "no JSON" in str(cut)
    (deep,) = each_record(save(tmp_path, "[" * 100_000, name="deep.json"))
    assert "no JSON" in str(deep)
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(TABLE).encode())
    assert len(list(read_records(path))) == 1


def test_written_records_read_back(tmp_path):
    path = save(
        tmp_path,
        {**TABLE, "source": "mine", "page": 3},
        turns(("system", "s"), ("user", "What?\n<image>"), ("assistant", "é")),
    )
    records = list(read_records(path))
    for record in records:
        record.id += "x"
    out = tmp_path / "out" / "copy.jsonl"
    assert write_records(out, records) == 2
    back = list(read_records(out))
    assert back == records
    assert "é" in out.read_text(encoding="utf-8")
    near = tmp_path / "near.jsonl"
    write_records(near, records)
    assert json.loads(near.read_text(encoding="utf-8").splitlines()[0])["image"] == "a/b.png"
    assert list(read_records(near)) == records


def test_a_bad_record_leaves_the_old_file(tmp_path):
    path = save(tmp_path, TABLE)
    with pytest.raises(ValueError, match="record 2: "):
        write_records(path, [TABLE, {"id": "2"}])
    assert [file.name for file in tmp_path.iterdir()] == ["records.jsonl"]
    assert len(list(read_records(path))) == 1
    assert write_records(path, []) == 0


def test_a_record_needs_turns():
    record = Record("1", None, [{"role": "user", "content": [{"type": "text", "text": "x"}]}])
    assert record.answer is None
