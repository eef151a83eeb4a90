"""Parts of PDF pages: where a box in PDF units lies in the picture, and the part that is drawn."""

import numpy as np
import pytest
from documents import pdf

from samvlm.data.images import DocumentError
from samvlm.data.pdf import page_view

MARK = (50, 60, 90, 80)  # points, y up
BOX = "50 60 40 20 re f"


def ink(picture) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of what is dark."""
    rows, cols = np.nonzero(np.asarray(picture.convert("L")) < 128)
    return cols.min(), rows.min(), cols.max() + 1, rows.max() + 1


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
@pytest.mark.parametrize(
    "view", [("0 0 200 100", ""), ("10 20 210 120", ""), ("0 0 200 100", "30 40 190 95")]
)
def test_a_box_lies_where_it_is_drawn(tmp_path, rotate, view):
    box, crop = view
    entries = f"/Type /Page /Rotate {rotate} " + (f"/CropBox [{crop}] " if crop else "")
    path = tmp_path / "page.pdf"
    path.write_bytes(pdf("", BOX, box=box).replace(b"/Type /Page /Parent", f"{entries}/Parent".encode()))
    page = page_view(path, 1, dpi=144)
    whole = page.draw((0, 0, *page.size))
    assert whole.size == page.size
    assert np.abs(np.subtract(ink(whole), page.to_pixels(MARK))).max() <= 1
    left, top, right, bottom = (round(value) for value in page.to_pixels(MARK))
    part = page.draw((left - 4, top - 4, right + 4, bottom + 4))
    assert np.abs(np.subtract(ink(part), (4, 4, right - left + 4, bottom - top + 4))).max() <= 1


def test_what_cannot_be_viewed(tmp_path):
    path = tmp_path / "one.pdf"
    path.write_bytes(pdf(BOX))
    with pytest.raises(DocumentError, match="page 3 is not there"):
        page_view(path, 2)
    with pytest.raises(DocumentError, match="no such file"):
        page_view(tmp_path / "none.pdf", 0)
    path.write_bytes(b"%PDF-1.7 and no more")
    with pytest.raises(DocumentError, match="damaged"):
        page_view(path, 0)


def test_a_large_page_is_drawn_smaller_and_its_boxes_with_it(tmp_path):
    path = tmp_path / "poster.pdf"
    path.write_bytes(pdf("2500 3000 2000 1000 re f", box="0 0 10000 5000"))
    page = page_view(path, 0)
    assert page.size[0] * page.size[1] < 17_000_000
    assert (
        np.abs(
            np.subtract(ink(page.draw((0, 0, *page.size))), page.to_pixels((2500, 3000, 4500, 4000)))
        ).max()
        <= 1
    )


def test_a_changed_file_is_drawn_anew(tmp_path):
    path = tmp_path / "page.pdf"
    path.write_bytes(pdf(BOX))
    page = page_view(path, 0)
    assert ink(page.draw((0, 0, *page.size)))[0] == 100
    path.write_bytes(pdf("20 60 40 20 re f"))
    assert ink(page.draw((0, 0, *page.size)))[0] == 40
    path.unlink()
    with pytest.raises(DocumentError, match="no such file"):
        page.draw((0, 0, *page.size))
