"""Reading HTML that people and models write: spans that lie, missing tags, nesting, nulls, several tables."""

import pytest
from patience import ends_soon

from samvlm.data.tables import Table


def rows(html: str) -> list[list[str]]:
    return Table.from_html(html).to_rows()


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<table><tr><td>a</td><td>b</td></tr></table>", [["a", "b"]]),
        ("<table><td>a<td>b<tr><td>c", [["a", "b"], ["c", ""]]),
        ("text <p>before</p><table><tr><td>a</table> after", [["a"]]),
        ("```html\n<table><tr><td>a</td></tr></table>\n```", [["a"]]),
        ("<TABLE><TR><TD>a</TD></TR></TABLE>", [["a"]]),
        ("<table><tr><td>a\x00b\x08\ud800</td></tr></table>", [["a b"]]),
        ("<table><tr><td> a\n  b&nbsp;c </td></tr></table>", [["a b c"]]),
        ("<table><tr><td><b>a</b><i>b</i>m<sup>2</sup></td></tr></table>", [["abm2"]]),
        ("<table><tr><td>a<br>b<br/>c<p>d</p><p>e</p></td></tr></table>", [["a\nb\nc d e"]]),
        ("<table><tr><td>a<script>x()</script><style>y</style><!-- z -->b</td></tr></table>", [["ab"]]),
        ("<table><tr><td>p <0.05 and b> 3</td></tr></table>", [["p <0.05 and b> 3"]]),
        ("<table><tr><td>&lt;b&gt; &amp;amp; &#215; &eacute;</td></tr></table>", [["<b> &amp; × é"]]),
        ("<table><tr><td>שלום <bdo dir=rtl>abc</bdo></td></tr></table>", [["שלום abc"]]),
        ("<table><tr></tr><tr><td>a</td></tr><tr></tr></table>", [["a"]]),
        ("<table><caption>c</caption><colgroup><col></colgroup><tfoot><tr><td>a</td></tr></tfoot></table>", [["a"]]),
        ("<table><tr><td>a<table><tr><td>n1</td><td>n2</td></tr></table></td><td>b</td></tr></table>", [["a n1 n2", "b"]]),
        ("<table></table><table><tr><td>second</td></tr></table>", [["second"]]),
        ("<html xmlns='http://www.w3.org/1999/xhtml'><body><table><tr><td>a</td></tr></table></body></html>", [["a"]]),
        ("<?xml version='1.0' encoding='latin-1'?><table><tr><td>é</td></tr></table>", [["é"]]),
        ("<meta charset=latin-1><table><tr><td>é日</td></tr></table>", [["é日"]]),
    ],
)  # fmt: skip
def test_text(html, expected):
    assert rows(html) == expected


@pytest.mark.parametrize(
    ("html", "shape", "spans"),
    [
        ('<table><tr><td rowspan="1e9">a<td>b<tr><td>c<td>d</table>', (2, 2), [(1, 1)] * 4),
        ('<table><tr><td rowspan="1000000000">a<td>b<tr><td>c</table>', (2, 2), [(2, 1), (1, 1), (1, 1)]),
        ('<table><tr><td rowspan="0">a<td>b<tr><td>c</table>', (2, 2), [(2, 1), (1, 1), (1, 1)]),
        ('<table><tr><td colspan="1000000000">a<tr><td>b<td>c</table>', (2, 2), [(1, 2), (1, 1), (1, 1)]),
        ('<table><tr><td colspan="99999999999999999999">a</table>', (1, 1), [(1, 1)]),
        ('<table><tr><td colspan="0" rowspan="-3">a<td colspan="">b</table>', (1, 2), [(1, 1), (1, 1)]),
        ('<table><tr><td colspan=" 2px">a<tr><td>b<td>c</table>', (2, 2), [(1, 2), (1, 1), (1, 1)]),
        ('<table><tr><td colspan="1000">a</table>', (1, 1000), [(1, 1000)]),
        # the second row's wide cell meets the cell from above
        ('<table><tr><td>a<td>b<td rowspan="2">c<tr><td colspan="3">d</table>', (2, 3), [(1, 1), (1, 1), (2, 1), (1, 2)]),
        ('<table><tr><td rowspan="2">a<td rowspan="2">b<tr></tr></table>', (2, 2), [(2, 1), (2, 1)]),
    ],
)  # fmt: skip
def test_spans(html, shape, spans):
    table = Table.from_html(html)
    assert (table.n_rows, table.n_cols) == shape
    assert [(cell.rowspan, cell.colspan) for cell in table.cells] == spans


def test_hostile_spans_cost_no_time_and_no_memory():
    with ends_soon():
        wide = "<table>" + "<tr><td rowspan=99999999 colspan=1000>x</td></tr>" * 300 + "</table>"
        with pytest.raises(ValueError, match="100000"):
            Table.from_html(wide)
        with pytest.raises(ValueError, match="100000"):
            Table.from_html(
                "<table>" + "<tr><td>x</td></tr>" * 101 + "<tr><td colspan=1000>x</td></tr></table>"
            )
        with pytest.raises(ValueError, match="100000"):
            Table.from_html("<table><tr><td rowspan=1000 colspan=1000>a" + "<tr><td>x" * 5000)


def test_large_and_deep_documents():
    table = Table.from_html(
        "<table>" + "<tr>" + "<td>x</td>" * 20 + "</tr>" * 1 + ("<tr>" + "<td>y</td>" * 20) * 99
    )
    assert (table.n_rows, table.n_cols, len(table.cells)) == (100, 20, 2000)
    deep = "<table><tr><td>a" + "<div>" * 5000 + "b" + "</div>" * 5000 + "</td><td>c</td></tr></table>"
    assert Table.from_html(deep).cells[0].text.startswith("a")
    assert Table.from_html("<table><tr><td>" * 3000 + "x").cells  # nested tables: text of the outer cell


@pytest.mark.parametrize("html", ["", "   ", "\x00", "no table", "<table></table>", "<table><tr></tr></table>", "<td>a</td>",
                                  "<!-- <table><tr><td>a</td></tr></table> -->"])  # fmt: skip
def test_no_table(html):
    with pytest.raises(ValueError, match="no table with cells"):
        Table.from_html(html)
    assert Table.all_from_html(html) == []


def test_several_tables_in_document_order():
    html = "<p>x</p><table><tr><td>1</td></tr></table><div><table><tr><td>2</td></tr></table></div><table></table>"
    assert [table.to_rows() for table in Table.all_from_html(html)] == [[["1"]], [["2"]]]


def test_headers():
    table = Table.from_html(
        "<table><thead><tr><td>a</td><th scope=row>b</th></tr><tr><td>only</td></tr></thead>"
        "<tbody><tr><th>r</th><td>1</td></tr><tr><th scope=rowgroup colspan=2>s</th></tr>"
        "<tr><td>x</td><th>late</th></tr></tbody></table>"
    )
    kinds = [[cell.header for cell in row] for row in table.grid()]
    assert kinds == [
        ["column", "row"],
        ["column", "column"],
        ["row", None],
        ["section", "section"],
        [None, "column"],
    ]
    assert table.repairs == ["row 1: 1 of 2 columns, padded with empty cells"]


def test_a_first_row_of_th_without_thead_is_a_header_row():
    table = Table.from_html("<table><tr><th>a</th><th>b</th></tr><tr><th>r</th><td>1</td></tr></table>")
    assert [cell.header for cell in table.cells] == ["column", "column", "row", None]
    assert table.header_rows == 1
    corner = Table.from_html("<table><tr><td></td><th>b</th></tr><tr><td>r</td><td>1</td></tr></table>")
    assert corner.header_rows == 1
    mixed = Table.from_html("<table><tr><td>a</td><th>b</th></tr></table>")
    assert [cell.header for cell in mixed.cells] == [None, "column"]
