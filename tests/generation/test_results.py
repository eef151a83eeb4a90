"""samvlm/generation/results.py: exports of pages and documents."""

import json

from lxml import html

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
    for export in EXPORTS.values():
        assert export(result).endswith("\n")


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
    assert result.to_markdown() == "a < b\n\x1b[31mred\n"
    assert ParseResult(task="text").to_csv() == "" and ParseResult(task="text").to_html()


def test_single_tables():
    several = ParseResult(tables=[TABLE, TABLE], page=4)
    assert [(number, len(single.tables), single.page) for number, single in single_tables(several)] == [
        (1, 1, 4),
        (2, 1, 4),
    ]
    assert [number for number, _ in single_tables(ParseResult())] == [1]
