"""FinTabNet: tables cut from PDF pages, boxes from points (y up) to pixels (y down)."""

import numpy as np
import pytest
from documents import pdf
from layouts import split_items
from token_tables import save_lines, token_form

from samvlm.data.images import DocumentError
from samvlm.data.readers import READERS
from samvlm.data.tables import Table

TABLE = Table.from_rows([["a", ""], ["b", "c"]])
LEFT, BOTTOM = 50, 20  # of the table, in points; cells of 30 x 15
CELL_C = "80 20 30 15 re f"  # the lower right cell, black


def points(cell) -> list[float]:
    x, y = LEFT + 30 * cell.col, BOTTOM + 15 * (1 - cell.row)
    return [x, y, x + 30, y + 15]


def entry(name: str, number: int = 1, **changes) -> dict:
    html = token_form(TABLE, box=points)
    bbox = [LEFT, BOTTOM, LEFT + 60, BOTTOM + 30]
    return {"table_id": number, "filename": name, "split": "val", "bbox": bbox, "html": html} | changes


def save(folder, *lines, pages: dict[str, bytes]):
    for name, data in pages.items():
        (folder / "pdf" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "pdf" / name).write_bytes(data)
    return save_lines(folder / "FinTabNet_1.0.0_cell_val.jsonl", *lines)


@pytest.mark.parametrize(
    ("media", "crop"),
    [
        ("0 0 200 100", ""),
        ("10 20 210 120", ""),
        ("0 0 200 100", "30 10 190 95"),
        ("5 5 205 105", "30 10 200 100"),
    ],
)
def test_boxes_lie_on_the_ink(tmp_path, media, crop):
    x, y = (int(value) for value in media.split()[:2])  # annotations count from the corner of the media box
    page = pdf(f"{80 + x} {20 + y} 30 15 re f", box=media)
    if crop:
        page = page.replace(b"/Type /Page /Parent", f"/Type /Page /CropBox [{crop}] /Parent".encode())
    save(tmp_path, entry("AAL/2010/page_4.pdf"), pages={"AAL/2010/page_4.pdf": page})
    (item,) = READERS["fintabnet"](tmp_path)
    image = item.image()
    assert abs(image.width - 2 * (60 + 8)) <= 1 and abs(image.height - 2 * (30 + 8)) <= 1
    rows, cols = np.nonzero(np.asarray(image.convert("L")) < 128)
    *_, box = item.extra["boxes"]
    assert np.abs(np.subtract(box, (cols.min(), rows.min(), cols.max() + 1, rows.max() + 1))).max() <= 1
    assert item.extra["boxes"][1] is None
    first, third = item.extra["boxes"][0], item.extra["boxes"][2]
    assert first[1] < first[3] <= third[1] + 0.02  # y runs down
    assert (item.id, item.split, item.extra["table_id"]) == ("AAL/2010/page_4/1", "val", 1)
    assert Table.from_html(item.target["html"]).to_rows() == TABLE.to_rows()


def test_the_margin_ends_at_the_page(tmp_path):
    save(tmp_path, entry("a.pdf", bbox=[0, 0, 200, 100]), pages={"a.pdf": pdf(CELL_C)})
    (item,) = READERS["fintabnet"](tmp_path, dpi=72, margin=20)
    assert item.image().size == (200, 100)
    assert item.image().getpixel((95, 72)) == (0, 0, 0)
    assert item.extra["boxes"][3] == [80, 65, 110, 80]


def test_what_is_broken_costs_itself_only(tmp_path):
    good = pdf(CELL_C)
    path = save(
        tmp_path,
        entry("good.pdf", 1),
        entry("broken.pdf", 2),
        entry("missing.pdf", 3),
        entry("good.pdf", 4, bbox=[500, 500, 600, 600]),
        entry("good.pdf", 5, bbox=[1, 2]),
        {key: value for key, value in entry("good.pdf", 6).items() if key != "html"},
        "{",
        entry("good.pdf", 7, split="train"),
        entry("good.pdf", 8),
        pages={"good.pdf": good, "broken.pdf": b"%PDF-1.7 broken"},
    )
    for workers in (1, 3):
        items, rejected = split_items(READERS["fintabnet"](path, split="val", workers=workers))
        assert [item.id for item in items] == ["good/1", "good/8"]
        for entry_, word in zip(
            rejected,
            ["damaged", "no image", "outside the page", "not x0", "for detection", "no JSON"],
            strict=True,
        ):
            assert word in entry_.reason
    (tmp_path / "pdf" / "good.pdf").unlink()  # between reading and drawing
    with pytest.raises(DocumentError, match="no such file"):
        items[0].image()


def test_a_path_of_another_kind(tmp_path):
    (tmp_path / "FinTabNet_1.0.0_table_val.jsonl").write_text("{}")
    with pytest.raises(ValueError, match="_cell_"):
        READERS["fintabnet"](tmp_path)
