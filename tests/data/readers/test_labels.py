"""Files of truth: every form is read into the same table, other tasks too."""

import json

import pytest
from own_folders import HTML, TABLE, read, save
from token_tables import save_image, token_form

from samvlm.data.tables import Table


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        ("html", HTML),
        (
            "htm",
            f"<!doctype html><head><title>x</title></head><p>Text before.</p>{TABLE.to_html(wrap=False)}",
        ),
        ("csv", TABLE.to_csv()),
        ("csv", TABLE.to_csv().replace(",", ";")),
        ("csv", "\ufeff" + TABLE.to_csv()),
        ("tsv", TABLE.to_csv().replace(",", "\t")),
        ("md", "# A heading\n\n" + TABLE.to_markdown()),
        ("markdown", TABLE.to_markdown()),
        ("txt", TABLE.to_otsl()),
        ("otsl", TABLE.to_otsl()),
        ("json", TABLE.to_json()),
        ("json", json.dumps({"html": HTML})),
        ("json", json.dumps({"otsl": TABLE.to_otsl()})),
        ("json", json.dumps({"task": "table", "page": 1, "tables": [TABLE.to_dict()], "text": ""})),
        ("json", json.dumps({"target": {"html": HTML}})),
        ("json", json.dumps({"html": token_form(TABLE)})),
        ("HTML", HTML),
    ],
)
def test_every_form_of_truth(tmp_path, suffix, text):
    save_image(tmp_path / "a.b.PNG")
    (tmp_path / f"a.b.{suffix}").write_text(text, "utf-8")
    items, rejected = read(tmp_path)
    assert not rejected
    item = items["a.b.PNG"]
    assert Table.from_html(item.target["html"]) == TABLE
    assert item.target["html"].startswith("<html><body><table>") and "Text before" not in item.target["html"]
    assert (item.image, item.task, item.split, item.source) == (
        tmp_path / "a.b.PNG",
        "table",
        None,
        tmp_path.name,
    )


def test_workbooks(tmp_path):
    table = Table.from_html(
        "<table><thead><tr><th colspan=2>a</th></tr></thead><tr><td>1</td><td>b</td></tr></table>"
    )
    for name in ("one", "broken"):
        save_image(tmp_path / f"{name}.png")
    table.to_xlsx(tmp_path / "one.xlsx")
    (tmp_path / "broken.xlsx").write_bytes(b"PK and no more")
    items, rejected = read(tmp_path)
    assert Table.from_html(items["one.png"].target["html"]) == table
    assert list(rejected) == ["broken.xlsx"]


def test_several_tables_are_told(tmp_path):
    for name in "abc":
        save_image(tmp_path / f"{name}.png")
    one = TABLE.to_markdown()
    save(
        tmp_path, a_dot_md=f"{one}\n{one}", b_dot_md=f"```\n{one}```\n```\n{one}```\n", c_dot_html=HTML + HTML
    )
    _, rejected = read(tmp_path)
    assert sorted(rejected) == ["a.md", "b.md", "c.html"]
    assert all("one image has one table" in reason for reason in rejected.values())


def test_utf_16_and_header_rows(tmp_path):
    save_image(tmp_path / "a.png")
    (tmp_path / "a.csv").write_bytes("é,b\n1,2\n".encode("utf-16"))
    items, _ = read(tmp_path, header_rows=0, licence="CC0-1.0", source="mine")
    item = items["a.png"]
    assert Table.from_html(item.target["html"]) == Table.from_rows([["é", "b"], ["1", "2"]])
    assert (item.licence, item.source) == ("CC0-1.0", "mine")


def test_inline_tags_are_kept(tmp_path):
    save_image(tmp_path / "a.png")
    bare = '<table class="x"><tr><td><b>a</b><sup>2</sup></td><td>p &lt; 1</td></tr></table>'
    save(tmp_path, a_dot_html=f"\n{bare}\n")
    items, _ = read(tmp_path)
    assert items["a.png"].target["html"] == f"<html><body>{bare}</body></html>"


def test_other_tasks_in_json(tmp_path):
    for name in "abc":
        save_image(tmp_path / f"{name}.png")
    save(
        tmp_path,
        a_dot_json='{"text": "one\\ntwo"}',
        b_dot_json='{"fields": {"Total": "5"}}',
        c_dot_json='{"question": "How many?", "answer": "2"}',
    )
    items, rejected = read(tmp_path)
    assert not rejected
    assert [(item.task, item.target) for item in items.values()] == [
        ("text", {"text": "one\ntwo"}),
        ("form", {"fields": {"Total": "5"}}),
        ("question", {"question": "How many?", "answer": "2"}),
    ]
