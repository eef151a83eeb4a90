"""Tables as pandas data frames and back."""

import random
import sys

import pytest
from random_tables import random_table

from samvlm.data.tables import Cell, Table

pandas = pytest.importorskip("pandas")

TABLE = Table(
    [
        Cell("Year", 0, 0, 2, 1, "column"), Cell("Sales", 0, 1, 1, 2, "column"), Cell("North", 1, 1, header="column"), Cell("South", 1, 2, header="column"),
        Cell("2004", 2, 0, header="row"), Cell("1", 2, 1), Cell("2", 2, 2), Cell("2005", 3, 0, header="row"), Cell("both", 3, 1, 1, 2),
    ],
    4, 3,
)  # fmt: skip


def test_header_rows_become_levels_and_spans_repeat():
    frame = TABLE.to_dataframe()
    assert frame.columns.tolist() == [("Year", "Year"), ("Sales", "North"), ("Sales", "South")]
    assert frame.to_numpy().tolist() == [["2004", "1", "2"], ["2005", "both", "both"]]
    assert frame[("Sales", "South")].tolist() == ["2", "both"]


def test_row_headers_become_the_index():
    frame = TABLE.to_dataframe(index=True)
    assert frame.index.tolist() == ["2004", "2005"] and frame.index.name == "Year"
    assert frame.columns.tolist() == [("Sales", "North"), ("Sales", "South")]
    assert frame.loc["2005", ("Sales", "North")] == "both"
    several = Table.from_html(
        "<table><tr><th rowspan=2 scope=row>a<th scope=row>x<td>1<tr><th scope=row>y<td>2</table>"
    ).to_dataframe(index=True)
    assert several.index.tolist() == [("a", "x"), ("a", "y")] and several.to_numpy().tolist() == [
        ["1"],
        ["2"],
    ]
    only = Table.from_html("<table><tr><th scope=row>a<th scope=row>b</table>").to_dataframe(index=True)
    assert only.index.tolist() == ["a"] and only.to_numpy().tolist() == [["b"]]  # a column stays


def test_headers_of_one_row_none_and_nothing_else():
    assert Table.from_rows([["a", "a"], ["1", "2"]], 1).to_dataframe().columns.tolist() == ["a", "a"]
    assert Table.from_rows([["1", "2"]]).to_dataframe().columns.tolist() == [0, 1]
    empty = Table.from_rows([["a", "b"]], 1).to_dataframe()
    assert empty.shape == (0, 2) and empty.columns.tolist() == ["a", "b"]
    many = Table.from_rows([["a"]] * 30, 30).to_dataframe()
    assert many.shape == (30, 1)  # no thirty levels of labels


def test_back_from_a_frame():
    expected = Table.from_html(
        TABLE.to_html(th=True).replace('<td colspan="2">both</td>', "<td>both</td><td>both</td>")
    )
    assert Table.from_dataframe(TABLE.to_dataframe(index=True)) == expected
    grouped = (
        pandas.DataFrame({"k": ["x", "x", "y"], "s": ["p", "q", "p"], "v": [1, 2, 3]})
        .groupby(["k", "s"])
        .sum()
    )
    table = Table.from_dataframe(grouped)
    assert table.to_html(wrap=False, th=True) == (
        '<table><thead><tr><th scope="col">k</th><th scope="col">s</th><th scope="col">v</th></tr></thead><tbody>'
        '<tr><th scope="row" rowspan="2">x</th><th scope="row">p</th><td>1</td></tr><tr><th scope="row">q</th><td>2</td></tr>'
        '<tr><th scope="row">y</th><th scope="row">p</th><td>3</td></tr></tbody></table>'
    )
    assert Table.from_dataframe(grouped, index=False).to_rows() == [["v"], ["1"], ["2"], ["3"]]


def test_columns_of_the_same_name_stay_apart():
    labels = pandas.MultiIndex.from_tuples([("a", "x"), ("a", "x"), ("b", "x")])
    table = Table.from_dataframe(pandas.DataFrame([[1, 2, 3]], columns=labels))
    assert table.to_rows() == [["a", "", "b"], ["x", "x", "x"], ["1", "2", "3"]]
    assert (table.cells[0].colspan, table.header_rows) == (2, 2)


def test_values_become_texts():
    frame = pandas.DataFrame(
        {
            "n": [1, None],
            "t": [pandas.Timestamp("2024-02-29"), pandas.NaT],
            "s": pandas.Series([" a\nb ", "\0\ud800"], dtype=object),
            "o": [None, [1]],
        }
    )
    assert Table.from_dataframe(frame).to_rows()[1:] == [
        ["1.0", "2024-02-29 00:00:00", "a\nb", ""],
        ["", "", "", "[1]"],
    ]
    assert Table.from_dataframe(pandas.DataFrame([[1, "x"]])).to_rows() == [["1", "x"]]
    for empty in (pandas.DataFrame(), pandas.DataFrame({0: []}).iloc[:, :0]):
        with pytest.raises(ValueError, match="at least one row and one column"):
            Table.from_dataframe(empty)
    with pytest.raises(ValueError, match="exceeds 100000 places"):
        Table.from_dataframe(pandas.DataFrame({"a": range(200_000)}))


def test_frames_of_random_tables_stay_what_they_are():
    rng = random.Random(6)
    for number in range(150):
        table = random_table(rng)
        frame = table.to_dataframe(index=bool(number % 2))
        assert frame.shape[0] == table.n_rows - table.header_rows
        if not number % 2:
            assert Table.from_dataframe(frame).to_dataframe().equals(frame)


def test_without_pandas_the_remedy_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pip install 'samvlm\[dataframe\]'"):
        TABLE.to_dataframe()
