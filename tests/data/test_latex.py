"""Tables in LaTeX: what the reader takes from a tabular, and tables that come back from the text written of them."""

import random
from contextlib import suppress

import pytest
from layouts import as_held
from patience import ends_soon
from random_tables import random_table

from samvlm.data.latex import read_latex
from samvlm.data.tables import Cell, Table

ESCAPES = {c: f"\\{c}" for c in "%&#_{}$"}
ESCAPES |= {"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}"}


def table_of(text: str) -> Table:
    return Table(*read_latex(text))


def rows(text: str, spec: str = "{lr}") -> list[list[str]]:
    return table_of(f"\\begin{{tabular}}{spec}{text}\\end{{tabular}}").to_rows()


def written(table: Table) -> str:
    """The table as people write it: \\multirow over empty cells, \\multicolumn again in the rows below."""
    lines = []
    for row, line in enumerate(table.grid()):
        cells, col = [], 0
        while col < table.n_cols:
            cell = line[col]
            text = "".join(ESCAPES.get(c, c) for c in cell.text) if cell.row == row else ""
            if cell.row == row and cell.rowspan > 1:
                text = f"\\multirow{{{cell.rowspan}}}{{*}}{{{text}}}"
            if cell.colspan > 1:
                text = f"\\multicolumn{{{cell.colspan}}}{{|c|}}{{{text}}}"
            cells.append(text)
            col += cell.colspan
        lines.append(" & ".join(cells) + " \\\\")
        if row + 1 == table.header_rows:
            lines.append("\\midrule")
    body = "\n".join(lines)
    return f"\\begin{{tabular}}{{{'c' * table.n_cols}}}\n\\toprule\n{body}\n\\bottomrule\n\\end{{tabular}}"


@pytest.mark.parametrize("seed", range(100))
def test_random_tables_come_back(seed):
    table = as_held(random_table(random.Random(seed)), headers=True)
    head = table.header_rows
    cells = [
        Cell(c.text, c.row, c.col, c.rowspan, c.colspan, "column" if c.row < head else None)
        for c in table.cells
    ]
    table = Table(cells, table.n_rows, table.n_cols)
    read = table_of(written(table))
    assert read == table and read.header_rows == head


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a & b \\\\ c & d", [["a", "b"], ["c", "d"]]),
        ("\\hline a & b \\\\ \\hline c & d \\\\ \\hline", [["a", "b"], ["c", "d"]]),
        (
            "a & b \\\\[2pt] \\cline{1-2} c & d \\\\* e & f \\tabularnewline",
            [["a", "b"], ["c", "d"], ["e", "f"]],
        ),
        ("a & \\\\ & d \\\\", [["a", ""], ["", "d"]]),
        ("\\textbf{a b} & {\\it c} \\\\", [["a b", "c"]]),
        ("5\\% \\& x & a\\_b\\#1~\\$2 \\\\", [["5% & x", "a_b#1 $2"]]),
        ("$\\alpha_{1} & $ & $x \\% y$ \\\\", None),
        ("$p_{1}<0.05$ & \\Delta x \\\\", [["$p_{1}<0.05$", "\\Delta x"]]),
        ("\\makecell{a \\\\ b} & \\textbf{\\underline{c}} \\\\", [["a b", "c"]]),
        ("a % note & x \\\\\n & b\\% \\\\", [["a", "b%"]]),
        ("\\textbackslash{}n & a\\textbar b \\\\", [["\\n", "a|b"]]),
        ("\\cmidrule(lr){1-2} a & b \\\\ \\addlinespace[3pt] c & d \\\\", [["a", "b"], ["c", "d"]]),
        ("a & b \\\\ c \\\\", [["a", "b"], ["c", ""]]),
        ("a & b \\\\ \\\\ [1] & d \\\\", [["a", "b"], ["[1]", "d"]]),
        ("a \\\\ \\\\ b \\\\", [["a"], [""], ["b"]]),
    ],
)
def test_what_people_write(source, expected):
    if expected is None:  # an & in a formula parts cells, as in LaTeX
        assert len(rows(source, "{lll}")[0]) == 3
    else:
        assert rows(source) == expected


@pytest.mark.parametrize(
    "begin",
    [
        "\\begin{tabular}{l|p{3cm}}",
        "\\begin{tabular}[t]{lr}",
        "\\begin{tabular*}{\\textwidth}{@{\\extracolsep{\\fill}}lr}",
        "\\begin{tabularx}{0.5\\linewidth}{lX}",
        "\\begin{longtable}{lr}",
        "```latex\n\\begin{table}\\caption{x & y}\\begin{tabular} {lr}",
    ],
)
def test_environments(begin):
    name = begin[begin.rindex("\\begin{") + 7 :].split("}")[0]
    assert table_of(f"{begin} a & b \\\\ \\end{{{name}}} c & d").to_rows() == [["a", "b"]]
    assert table_of(f"{begin} a & b").to_rows() == [["a", "b"]]


def test_spans():
    text = "\\multicolumn{2}{c}{\\multirow{2}{*}{A}} & b \\\\ \\multicolumn{2}{c}{} & c \\\\ \\multirow[t]{9}*{D} & e & f"
    assert table_of(f"\\begin{{tabular}}{{lll}}{text}\\end{{tabular}}").cells == [
        Cell("A", 0, 0, 2, 2),
        Cell("b", 0, 2),
        Cell("c", 1, 2),
        Cell("D", 2, 0),
        Cell("e", 2, 1),
        Cell("f", 2, 2),
    ]
    table = table_of("\\begin{tabular}{ll}\\multirow{3}{2cm}{A} & b \\\\ & c \\\\ text & d \\end{tabular}")
    assert table.cells[0] == Cell("A", 0, 0, 2, 1) and "cut" in table.repairs[0]


def test_headers():
    table = table_of("\\begin{tabular}{l}\\toprule a \\\\ \\midrule b \\\\ \\midrule c \\\\ \\end{tabular}")
    assert table.header_rows == 1 and table.to_rows() == [["a"], ["b"], ["c"]]
    assert table_of("\\begin{tabular}{l}\\hline a \\\\ \\hline b \\end{tabular}").header_rows == 0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("no table", "no LaTeX table"),
        ("\\begin{tabular}{l}\\hline \\end{tabular}", "has no cell"),
        ("\\begin{tabular}{l}" + "&" * 100_001, "exceeds"),
        ("\\begin{tabular}{l}" + "\\multicolumn{9999}{c}{x}&" * 101, "exceeds"),
    ],
)
def test_refuses(text, reason):
    with pytest.raises(ValueError, match=reason):
        read_latex(text)


@pytest.mark.parametrize(
    "text",
    [
        "{" * 100_000,
        "\\multirow{2}" * 20_000,
        "\\multicolumn{2}{c}{" * 2_000,
        "$" * 99_999,
        "\\textbf{" * 20_000,
        "\\" * 100_000,
        "\\multirow{-2}{*}{x} & \\multicolumn{x}{c}{y} & \\multicolumn",
        "%" * 50_000 + "\n x",
    ],
)
def test_hostile_text_ends_soon(text):
    with ends_soon(), suppress(ValueError):
        assert read_latex("\\begin{tabular}{l}x & " + text).n_rows >= 1
