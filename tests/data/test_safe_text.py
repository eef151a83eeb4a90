"""Text that leaves the package: no control characters in documents, JSON that any reader takes."""

import json
import unicodedata

import pytest

from samvlm.data.safe_text import dump_json, printable
from samvlm.data.tables import Cell, Table


def test_printable_takes_what_no_document_may_hold():
    every = "".join(map(chr, range(0x11_0000)))
    kept = printable(every)
    assert len(kept) == len(every)  # a blank for each
    gone = {old for old, new in zip(every, kept, strict=True) if old != new}
    assert {unicodedata.category(c) for c in gone} == {"Cc", "Cs", "Zl", "Zp", "Cn"}
    assert not gone & set("\t\n \u00a0\u200d\u202e")
    assert [c for c in every if unicodedata.category(c) == "Cc" and c not in gone] == ["\t", "\n"]
    assert printable("aé日🙂\n") == "aé日🙂\n"


def test_json_holds_the_raw_text():
    values = {"a": "\0\x1b\ud800é🙂\u2028", "b": [1.5, None]}
    text = dump_json(values)
    assert json.loads(text) == values and text.isprintable() is False
    assert json.loads(text.encode()) == values  # UTF-8 holds it
    assert "é🙂" in text and "\\ud800" in text and "\n" not in text


@pytest.mark.parametrize("write", [Table.to_html, Table.to_markdown, Table.to_csv])
def test_documents_hold_no_control_characters(write):
    text = write(Table([Cell("a\0b\x1b[31m\x9b\u2028\ud800", 0, 0)], 1, 1))
    assert not {c for c in text if unicodedata.category(c) in ("Cc", "Cs", "Zl") and c not in "\r\n"}
    assert "a b" in text


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a;=1", "a;'=1"), ("a;b", "a;b"), ("a\t+x", "a\t'+x"), ("a\n-b", "a\n'-b"), ("a;-2.5", "a;-2.5"), (" =1", "' =1"), ("\u200b@x", "'\u200b@x"), ("=a;=b", "'=a;'=b"),
        ("a;'=1", "a;''=1"), ("\t=1", "'\t'=1"), ("'a", "'a"), ("' =1", "'' =1"), (";;=1", ";;'=1"), ("a; =1", "a;' =1"), ("-1;-2", "'-1;-2"),
    ],
)  # fmt: skip
def test_formulas_behind_separators_are_quoted_too(text, written):
    table = Table([Cell(text, 0, 0)], 1, 1)
    line = table.to_csv().removesuffix("\r\n")
    assert line in (written, f'"{written}"')
    (back,) = Table.from_csv(table.to_csv(), header_rows=0).cells
    assert back.text == " ".join(text.split()) or "\n" in text
    assert Table.from_csv(table.to_csv(raw=True), header_rows=0, raw=True).cells[0].text == back.text
