"""samvlm/generation/results.py: exports of pages and documents."""

import json

import pytest
from lxml import html
from random_tables import plain

from samvlm.data.tables import Table
from samvlm.generation import ParseResult
from samvlm.generation.results import EXPORTS, single_tables

TABLE = Table.from_otsl("<ched>Year<ched>Sales <b>&<lcel><nl><fcel>2004<fcel>34.7<fcel>=SUM(A1)<nl>")


def page(number: int = 1, **changes) -> ParseResult:
    return ParseResult(text=TABLE.to_otsl(), tables=[TABLE], seconds=0.5, tokens=7, page=number, **changes)


def test_html_is_a_whole_document_that_cannot_run_anything():
    evil = Table.from_rows([["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>']])
    text = ParseResult(tables=[TABLE, evil]).to_html(title="<x>&")
    assert text.startswith("<!DOCTYPE html>") and '<meta charset="utf-8">' in text
    tree = html.document_fromstring(text)
    assert tree.findtext(".//title") == "<x>&"
    assert not tree.findall(".//script") and not tree.findall(".//img")
    assert [element.tag for element in tree.find("body")] == ["table", "table"]
    assert Table.from_html(text) == TABLE


def test_every_export_reads_back():
    result = page()
    assert Table.from_otsl(result.to_otsl()) == TABLE
    assert Table.from_markdown(result.to_markdown()).to_rows() == TABLE.to_rows()
    assert Table.from_csv(result.to_csv()).to_rows() == TABLE.to_rows()
    assert "'=SUM" in result.to_csv() and "'=SUM" not in result.to_csv(raw=True)
    assert Table.from_dict(json.loads(result.to_json())["tables"][0]) == TABLE
    assert [line.split()[0] for line in result.to_text().splitlines()] == ["Year", "────", "2004"]
    assert Table.from_xlsx(result.to_xlsx()) == plain(TABLE)
    for name, export in EXPORTS.items():
        assert name == "xlsx" or export(result).endswith("\n")


def test_documents_of_pages():
    failed = ParseResult(finish_reason="error", page=2, error="x.pdf: page 2 is damaged")
    document = ParseResult.merge([page(1), failed, page(3, finish_reason="length")])
    assert len(document.tables) == 2 and document.finish_reason == "error" and document.tokens == 14
    assert document.seconds == 1.0 and document.error == failed.error
    values = json.loads(document.to_json())
    assert [item["page"] for item in values["pages"]] == [1, 2, 3] and values["pages"][1][
        "error"
    ] == failed.error
    assert len(Table.all_from_html(document.to_html())) == 2
    assert document.to_otsl().count("\n") == 2


def test_text_answers():
    result = ParseResult(task="text", text="a < b\n\x1b[31mred")
    assert "a &lt; b" in result.to_html()
    assert result.to_text() == "a < b\n[31mred\n"
    assert result.to_markdown() == "a < b\n [31mred\n"
    assert "\x1b" not in result.to_html() and "\x1b" not in result.to_csv()
    assert json.loads(result.to_json())["text"] == result.text
    assert Table.from_xlsx(result.to_xlsx()).to_rows() == [["a < b"], ["[31mred"]]
    empty = ParseResult(task="text")
    assert empty.to_csv() == "" and empty.to_html()
    with pytest.raises(ValueError, match="no sheet with cells"):
        Table.from_xlsx(empty.to_xlsx())
    form = ParseResult(task="form", text="Name: A: B\nSum: =1+1")
    assert Table.from_xlsx(form.to_xlsx()).to_rows() == [["Name", "A: B"], ["Sum", "=1+1"]]


def test_a_workbook_has_a_sheet_for_each_table():
    several = page()
    several.tables = [TABLE, TABLE]
    assert list(Table.all_from_xlsx(several.to_xlsx())) == ["Table 1", "Table 2"]
    document = ParseResult.merge([page(1), page(3)])
    assert list(Table.all_from_xlsx(document.to_xlsx())) == ["Page 1, table 1", "Page 3, table 1"]


def test_single_tables():
    several = ParseResult(tables=[TABLE, TABLE], page=4)
    assert [(number, len(single.tables), single.page) for number, single in single_tables(several)] == [
        (1, 1, 4),
        (2, 1, 4),
    ]
    assert [number for number, _ in single_tables(ParseResult())] == [1]
