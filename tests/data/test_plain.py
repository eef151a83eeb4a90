"""samvlm/data/plain.py: aligned tables for a terminal."""

from samvlm.data.plain import draw_table, plain_text, text_width
from samvlm.data.tables import Table

OTSL = (
    "<ched>Region<ched>Sales in million euros of 2024<lcel><nl><ucel><ched>2003<ched>2004<nl>"
    "<srow>All<lcel><lcel><nl><fcel>North and beyond<fcel>34.7<fcel>1 234.50 %<nl><fcel>日本<fcel>-3<ecel><nl>"
)


def test_columns_stand_in_line():
    assert draw_table(Table.from_otsl(OTSL)) == (
        "Region            Sales in million euros of 2024\n"
        "                         2003               2004\n"
        "────────────────  ───────────  ─────────────────\n"
        "All\n"
        "North and beyond         34.7         1 234.50 %\n"
        "日本                       -3\n"
    )


def test_a_narrow_terminal_wraps_cells():
    drawn = draw_table(Table.from_otsl(OTSL), width=36)
    assert max(text_width(line) for line in drawn.splitlines()) <= 36
    assert "".join(drawn.split()).count("million") == 1
    long = draw_table(Table.from_rows([["a" * 100, "b"]]), width=20)
    assert max(map(len, long.splitlines())) <= 20 and long.count("a") == 100


def test_no_width_loses_no_text():
    table = Table.from_rows([["x" * 300, "y"], ["1", "2"]])
    assert "x" * 300 in draw_table(table)


def test_nothing_steers_the_terminal():
    assert plain_text("a\x1b[31m\u202e\tb\nc\x07") == "a[31m b c"
    assert draw_table(Table.from_rows([["\x1b]0;title\x07"]])) == "]0;title\n"


def test_combining_characters_take_no_place():
    assert text_width("e\u0301") == 1 and text_width("日") == 2
