"""OTSL in both dialects, cut off, ragged and with merges that are no rectangles."""

import random

import pytest
from random_tables import random_table

from samvlm.data.otsl import NAMES, TOKENS, escape, unescape
from samvlm.data.tables import Table


def read(sketch: str) -> Table:
    """Read rows such as "a L b | U X c": a letter for each OTSL token, lower case for texts."""
    tokens = {"L": "<lcel>", "U": "<ucel>", "X": "<xcel>", "E": "<ecel>", "|": "<nl>"}
    return Table.from_otsl("".join(tokens.get(part, f"<fcel>{part}") for part in f"{sketch} |".split()))


def shape(table: Table) -> list[tuple]:
    return [(cell.text, cell.row, cell.col, cell.rowspan, cell.colspan) for cell in table.cells]


@pytest.mark.parametrize(
    ("sketch", "cells"),
    [
        ("a L | U X", [("a", 0, 0, 2, 2)]),
        ("a X | X X", [("a", 0, 0, 2, 2)]),  # the dialect that fills the area
        ("a X b X | X X X X", [("a", 0, 0, 2, 2), ("b", 0, 2, 2, 2)]),
        ("a X | X X | b X | X X", [("a", 0, 0, 2, 2), ("b", 2, 0, 2, 2)]),
        ("a b X | c X X", [("a", 0, 0, 1, 1), ("b", 0, 1, 2, 2), ("c", 1, 0, 1, 1)]),
        ("a b X | c X X | d X X | X X X",
         [("a", 0, 0, 1, 1), ("b", 0, 1, 2, 2), ("c", 1, 0, 1, 1), ("d", 2, 0, 2, 3)]),
        ("a L b | U X U | c U L", None),
        ("a L L | b U X", None),
        ("a L | b L | U X", [("a", 0, 0, 1, 2), ("b", 1, 0, 2, 2)]),
        ("a b L | U U X | c d e", [("a", 0, 0, 2, 1), ("b", 0, 1, 2, 2), ("c", 2, 0, 1, 1), ("d", 2, 1, 1, 1), ("e", 2, 2, 1, 1)]),
    ],
)  # fmt: skip
def test_spans_of_both_dialects(sketch, cells):
    table = read(sketch)
    if cells is None:
        assert table.repairs
    else:
        assert shape(table) == cells and table.repairs == []
        assert Table.from_otsl(table.to_otsl()) == table


def in_filled_dialect(table: Table) -> str:
    """Write two-dimensional spans as the public OTSL data sets do: xcel everywhere but at the origin."""
    out = []
    for row, line in enumerate(table.grid()):
        for col, cell in enumerate(line):
            if (cell.row, cell.col) == (row, col):
                out.append("<fcel>" + escape(cell.text))
            elif cell.rowspan > 1 and cell.colspan > 1:
                out.append("<xcel>")
            else:
                out.append("<lcel>" if cell.colspan > 1 else "<ucel>")
        out.append("<nl>")
    return "".join(out)


def test_the_filled_dialect_over_random_tables():
    rng = random.Random(3)
    same = spanning = 0
    for _ in range(600):
        table = random_table(rng)
        back = Table.from_otsl(in_filled_dialect(table))
        if any(cell.rowspan > 1 and cell.colspan > 1 for cell in table.cells):
            spanning += 1
            same += shape(back) == shape(table)
        else:
            assert shape(back) == shape(table)
    assert spanning > 100
    assert same / spanning > 0.93  # the rest stacks spans in a way that this dialect cannot tell apart


def test_a_merge_that_is_no_rectangle_keeps_its_first_row():
    table = read("a L | U b")
    assert shape(table) == [("a", 0, 0, 1, 2), ("", 1, 0, 1, 1), ("b", 1, 1, 1, 1)]
    assert len(table.repairs) == 1 and "row 1, column 0" in table.repairs[0]


def test_broken_input_gives_a_table_and_says_what_was_mended():
    table = Table.from_otsl("noise<fcel>a<fcel>b<lcel>lost<nl><ecel>kept<nl><ucel><fcel>c")
    assert table.to_rows() == [["a", "b", ""], ["kept", "", ""], ["", "c", ""]]
    assert len(table.repairs) == 6
    assert [cell.rowspan for cell in table.cells if cell.text == "kept"] == [2]


def test_any_sequence_of_tokens_reads_as_a_valid_table():
    rng = random.Random(4)
    for _ in range(2000):
        text = "<fcel>" + "".join(
            rng.choice([*TOKENS, "x", " ", "<", "\\"]) for _ in range(rng.randint(0, 30))
        )
        table = Table.from_otsl(text)  # the constructor checks that cells tile the grid
        assert Table.from_otsl(table.to_otsl()) == table
        assert Table.from_otsl(table.to_otsl()).repairs == []


@pytest.mark.parametrize("text", ["", "abc", "<nl><nl>", "<otsl></otsl>"])
def test_no_cell(text):
    with pytest.raises(ValueError, match="no OTSL cell"):
        Table.from_otsl(text)


def test_too_large():
    with pytest.raises(ValueError, match="100000"):
        Table.from_otsl("<ecel>" * 1000 + "<nl>" + "<ecel><nl>" * 101)


def test_an_empty_header_cell_keeps_its_token():
    text = "<ched><ched>a<nl><rhed><ecel><nl><srow><lcel><nl>"
    table = Table.from_otsl(text)
    assert table.to_otsl() == text and table.header_rows == 1


def test_escape():
    for name in NAMES:
        for text in (f"<{name}>", f"<\\{name}>", f"\\<{name}>", f"<\\\\{name}>", f"<<{name}>>"):
            assert unescape(escape(text)) == text
            assert not any(token in escape(text) for token in TOKENS)
    assert escape("p <0.05 <b> <fcel") == "p <0.05 <b> <fcel"
