"""The README's picture shows every cell of the parsed table, and nothing runs out of its cell."""

import importlib.util
from pathlib import Path

import numpy as np
from PIL import Image

from samvlm.data.tables import Table

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "draw_readme_picture.py"
SPEC = importlib.util.spec_from_file_location("draw_readme_picture", SCRIPT)
picture = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(picture)

TABLE = Table.from_html(
    "<table><thead><tr><td rowspan=2>Group</td><td colspan=2>Weight, kg</td></tr><tr><td>before</td><td>after</td></tr>"
    "</thead><tbody><tr><td>a name so long that it takes more than a single line of its column, surely</td>"
    "<td>71.2 ± 3.1</td><td></td></tr></tbody></table>"
)


def test_columns_share_the_width_and_hold_their_words():
    face = picture.font(16)
    for total in (300, 560, 900):
        widths = picture.column_widths(TABLE, face, total)
        assert np.isclose(sum(widths), total)
        assert widths[1] >= face.getlength("before") + 2 * picture.PADDING


def test_lines_are_broken_between_words_only():
    face = picture.font(16)
    lines = picture.wrap("one two three four", face, face.getlength("one two "))
    assert lines == ["one two", "three", "four"]
    assert picture.wrap("", face, 10) == [""]


def test_header_cells_are_shaded_over_their_whole_span():
    drawn = np.asarray(picture.draw_table(TABLE, 560, 16.0))
    shade = (drawn == np.array([0xEA, 0xF0, 0xF7])).all(-1)
    columns = np.nonzero(shade.any(0))[0]
    assert columns.min() <= 1 and columns.max() >= 557
    body = drawn[-20:]
    assert not (body == np.array([0xEA, 0xF0, 0xF7])).all(-1).any()


def test_a_tall_table_is_set_smaller():
    long = Table.from_rows([["cell", "1.0"]] * 60, header_rows=1)
    made = picture.compose(Image.new("RGB", (400, 300), "#dddddd"), long, "long.png", 1.0)
    assert made.width == 2 * picture.SIDE + 2 * picture.MARGIN + picture.GAP
    assert made.height < 60 * 30
