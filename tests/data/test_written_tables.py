"""Tables in answers of models without tokens for them."""

import pytest

from samvlm.data.tables import Table
from samvlm.data.written_tables import written_tables

TWO = Table.from_rows([["Year", "Sales"], ["2004", "34.7"]])
ONE = Table.from_rows([["a", "b"]])
LATEX = r"\begin{tabular}{|l|r|}\hline Year & Sales \\ \hline 2004 & 34.7 \\ \hline \end{tabular}"


def rows(text: str) -> list[list[list[str]]]:
    return [table.to_rows() for table in written_tables(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"\\title{{\nSales\n}}\n\n{LATEX}\n\nThe end.", [TWO]),
        (f"{LATEX} and \\begin{{tabular}}{{ll}} a & b \\\\ \\end{{tabular}}", [TWO, ONE]),
        (r"\begin{tabular}{} \end{tabular} \begin{tabular}{ll} a & b", [ONE]),  # empty; cut off
        (r"cut off \begin{tabular}{lr} Year & Sales \\ 2004 & 34.7", [TWO]),
        (f"<p>{TWO.to_html(wrap=False)}</p><table><tr><td>a</td><td>b</td></tr></table>", [TWO, ONE]),
        (TWO.to_otsl(), [TWO]),
        (
            "<fcel>Year<fcel>Sales<nl><fcel>2004<fcel>34",
            [Table.from_rows([["Year", "Sales"], ["2004", "34"]])],
        ),
        (
            "Here:\n\n| Year | Sales |\n|---|---|\n| 2004 | 34.7 |\n\nand\n\n| a | b |\n|---|---|\n",
            [TWO, ONE],
        ),
        ("No table, <table> neither, nor tabular.", []),
        ("", []),
    ],
)
def test_written_tables(text, expected):
    assert rows(text) == [table.to_rows() for table in expected]
