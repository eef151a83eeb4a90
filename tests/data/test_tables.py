"""Table: round trips over random tables, the writers' exact forms and the checks of the constructor."""

import json
import random

import pytest
from random_tables import plain, random_table

from samvlm.data.cells import MAX_GRID, clean_text
from samvlm.data.tables import Cell, Table


def test_round_trips_over_random_tables():
    rng = random.Random(1)
    spanning = hostile = 0
    for _ in range(1200):
        table = random_table(rng)
        spanning += any(cell.rowspan > 1 and cell.colspan > 1 for cell in table.cells)
        hostile += any("<nl>" in cell.text for cell in table.cells)
        for name, back in (
            ("otsl", Table.from_otsl(table.to_otsl())),
            ("json", Table.from_json(table.to_json())),
            ("html th", Table.from_html(table.to_html(th=True))),
        ):
            assert back == table, (name, table.cells, back.cells)
            assert back.repairs == [], name
        expected = plain(table)
        for wrap in (True, False):
            back = Table.from_html(table.to_html(wrap=wrap))
            assert back == expected and back.repairs == []
        assert Table.from_otsl(expected.to_otsl()).to_html() == table.to_html()
    assert spanning > 200 and hostile > 200  # the generator made what is claimed


def test_markdown_and_csv_round_trips_without_spans():
    rng = random.Random(2)
    for _ in range(800):
        table = random_table(rng, spans=False)
        rows = table.to_rows()
        for raw in (False, True):
            assert Table.from_csv(table.to_csv(raw=raw), header_rows=0, raw=raw).to_rows() == rows
        head = int(any(rows[0]) and rng.random() < 0.5)
        expected = Table.from_rows(rows, header_rows=head)
        assert Table.from_markdown(expected.to_markdown()) == expected


def test_exact_output():
    table = Table(
        [Cell("Year", 0, 0, 2, 1, "column"), Cell("Sales & <more>", 0, 1, 1, 2, "column"), Cell("a", 1, 1, header="column"),
         Cell("", 1, 2, header="column"), Cell("big\nlines", 2, 0, 2, 2), Cell("1", 2, 2), Cell("end", 4, 0, 1, 3, "section")],
        5, 3,
    )  # fmt: skip
    assert table.to_otsl() == (
        "<ched>Year<ched>Sales & <more><lcel><nl><ucel><ched>a<ched><nl>"
        "<fcel>big\nlines<lcel><fcel>1<nl><ucel><xcel><ecel><nl><srow>end<lcel><lcel><nl>"
    )
    assert table.to_html() == (
        '<html><body><table><thead><tr><td rowspan="2">Year</td><td colspan="2">Sales &amp; &lt;more&gt;</td></tr>'
        "<tr><td>a</td><td></td></tr></thead><tbody>"
        '<tr><td rowspan="2" colspan="2">big<br>lines</td><td>1</td></tr><tr><td></td></tr>'
        '<tr><td colspan="3">end</td></tr></tbody></table></body></html>'
    )
    assert table.to_html(wrap=False).startswith("<table><thead>")
    assert '<th scope="rowgroup" colspan="3">end</th>' in table.to_html(th=True)
    assert table.to_markdown() == (
        "| Year | Sales & \\<more> |  |\n| --- | --- | --- |\n|  | a |  |\n| big<br>lines |  | 1 |\n|  |  |  |\n| end |  |  |\n"
    )
    assert table.to_csv() == 'Year,Sales & <more>,\r\n,a,\r\n"big\nlines",,1\r\n,,\r\nend,,\r\n'
    assert table.header_rows == 2
    assert [[cell.text for cell in row] for row in table.grid()][3] == ["big\nlines", "big\nlines", ""]


def test_rows_covered_from_above_keep_their_place():
    table = Table([Cell("a", 0, 0, 2, 1), Cell("b", 0, 1, 2, 1)], 2, 2)
    assert table.to_html(wrap=False).count("<tr></tr>") == 1
    assert Table.from_html(table.to_html()) == table


def test_a_header_that_reaches_into_the_body_ends_the_head():
    table = Table([Cell("a", 0, 0, 2, 1, "column"), Cell("b", 0, 1, header="column"), Cell("1", 1, 1)], 2, 2)
    assert table.header_rows == 0
    assert "thead" not in table.to_html()
    assert Table.from_html(table.to_html(th=True)) == table


def test_csv_makes_formulas_safe_and_leaves_numbers():
    texts = [
        "=1+1",
        "@a",
        "+x",
        "-x",
        "-2.5",
        "+1,000 %",
        "-$3",
        "-",
        "'=a",
        "'x",
        "a=b",
        "-1e5",
        "--",
        "＝x",
        "-3-2",
    ]
    table = Table.from_rows([texts])
    written = table.to_csv().strip().replace('"', "").split(",")
    assert written == [
        "'=1+1",
        "'@a",
        "'+x",
        "'-x",
        "-2.5",
        "+1",
        "000 %",
        "-$3",
        "-",
        "''=a",
        "'x",
        "a=b",
        "-1e5",
        "'--",
        "'＝x",
        "'-3-2",
    ]
    assert Table.from_csv(table.to_csv(), header_rows=0) == table
    assert table.to_csv(raw=True).startswith("=1+1,@a,")


def test_confidence_and_box_travel_in_json_only():
    cell = Cell("a", 0, 0, confidence=0.5, box=(1.0, 2.0, 3.0, 4.5))
    back = Table.from_json(Table([cell], 1, 1).to_json()).cells[0]
    assert (back.confidence, back.box) == (0.5, (1.0, 2.0, 3.0, 4.5))
    assert json.loads(Table([Cell("a", 0, 0)], 1, 1).to_json())["cells"] == [
        {"text": "a", "row": 0, "col": 0}
    ]


def test_uncovered_places_become_empty_cells_in_reading_order():
    table = Table([Cell("d", 1, 1), Cell("a", 0, 0)], 2, 2)
    assert [cell.text for cell in table.cells] == ["a", "", "", "d"]


@pytest.mark.parametrize(
    ("cells", "size", "message"),
    [
        ([Cell("a", 0, 0, 1, 2), Cell("b", 0, 1)], (1, 2), "overlaps"),
        ([Cell("a", 0, 0, 2, 1)], (1, 2), "does not fit"),
        ([Cell("a", 0, -1)], (1, 2), "negative"),
        ([Cell("a", 0, 0, 0, 1)], (1, 2), "empty span"),
        ([Cell("a", 0, 0, header="top")], (1, 2), "header 'top' is unknown"),
        ([], (0, 2), "at least one row"),
        ([], (10**9, 10**9), str(MAX_GRID)),
    ],
)
def test_impossible_tables_are_refused(cells, size, message):
    with pytest.raises(ValueError, match=message):
        Table(cells, *size)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"n_rows": 1}', '{"n_rows":1,"n_cols":1,"cells":[{"texts":"a"}]}',
                                  '{"n_rows":1,"n_cols":1,"cells":[3]}', '{"n_rows":"1","n_cols":1,"cells":[]}',
                                  '{"n_rows":1,"n_cols":1,"cells":[{"text":"a","row":"0","col":0}]}',
                                  '{"n_rows":1,"n_cols":1,"cells":[{"text":5,"row":0,"col":0}]}'])  # fmt: skip
def test_json_that_is_no_table(text):
    with pytest.raises(ValueError, match="not a table"):
        Table.from_json(text)


@pytest.mark.parametrize("text", ["", "no table", "a | b", "| a | b |\n|---|\n"])
def test_markdown_without_a_table(text):
    with pytest.raises(ValueError, match="no Markdown table"):
        Table.from_markdown(text)


def test_markdown_as_people_write_it():
    text = "Intro | not\n\n```\nName | Sales\n:--|--:\nA \\| B | 3 | extra\nC\n```\n| z |"
    table = Table.from_markdown(text)
    assert table.to_rows() == [["Name", "Sales", ""], ["A | B", "3", "extra"], ["C", "", ""]]
    assert table.header_rows == 1 and len(table.repairs) == 2


@pytest.mark.parametrize("text", ["", "\n\n", '"a\n'])
def test_csv_without_a_row(text):
    if text.startswith('"'):
        assert Table.from_csv(text).to_rows() == [["a"]]  # an open quote ends with the file
    else:
        with pytest.raises(ValueError, match="no row"):
            Table.from_csv(text)


def test_csv_variants():
    assert Table.from_csv("\ufeffa;b\n\n1;2;3", delimiter=";").to_rows() == [["a", "b", ""], ["1", "2", "3"]]
    assert Table.from_csv("a,b\n1,2").header_rows == 1
    with pytest.raises(ValueError, match="not CSV"):
        Table.from_csv("a" * 200_000)


def test_clean_text():
    assert clean_text(" a\u00a0\t b \n\n c\u2009d \n ") == "a b\n\nc d"
    assert clean_text(" \n ") == ""
