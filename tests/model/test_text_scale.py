"""The height of text from its ink, and images brought to one size of text."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from samvlm import SamVlmImageProcessor
from samvlm.model.text_scale import local_mean, text_height

LINES = ["Region  2003  2004", "North   12.5  13.1", "South   7.75  8.02", "Total  20.25 21.12"]


def page(em: float, ruled: bool = False, dark: bool = False, pitch: float = 1.8, lines=LINES) -> Image.Image:
    image = Image.new("RGB", (int(16 * em), int(9 * em)), "white")
    draw = ImageDraw.Draw(image)
    for i, line in enumerate(lines):
        draw.text((em, (1 + pitch * i) * em), line, "black", font=ImageFont.load_default(size=em))
        if ruled:
            draw.line([(0, (0.7 + 1.8 * i) * em), (16 * em, (0.7 + 1.8 * i) * em)], "black", 2)
    return Image.eval(image, lambda v: 255 - v) if dark else image


@pytest.mark.parametrize("ruled", [False, True])
@pytest.mark.parametrize("em", [10, 16, 31, 48])
def test_height_of_drawn_text(em, ruled):
    assert text_height(np.asarray(page(em, ruled).convert("L"))) == pytest.approx(em, rel=0.25)


def test_tight_lines_are_not_taken_for_one_tall_line():
    lines = [
        "Employed by region",
        "Holdings of property",
        "Budget, beginning",
        "Supplied, by body",
        "Jumped daily",
        "Byrding gap",
    ]
    close = np.asarray(page(9, pitch=0.9, lines=lines).convert("L"))
    loose = np.asarray(page(9, pitch=1.4, lines=lines).convert("L"))
    assert text_height(close) == pytest.approx(text_height(loose), rel=0.15)


def test_no_text_no_height():
    assert text_height(np.full((100, 100), 255, np.uint8)) is None
    assert text_height(np.zeros((3, 5, 5), np.uint8)) is None


def test_local_mean_is_the_mean():
    grey = np.random.default_rng(0).uniform(0, 255, (20, 31)).astype(np.float32)
    means = local_mean(grey, 4)
    for y, x in ((0, 0), (10, 15), (19, 30), (3, 28)):
        square = grey[max(0, y - 4) : y + 5, max(0, x - 4) : x + 5]
        assert means[y, x] == pytest.approx(square.mean(), rel=1e-5)


def test_text_comes_to_one_size():
    processor = SamVlmImageProcessor(text_height=14)
    shapes = [
        processor.resize(np.asarray(page(em)).transpose(2, 0, 1), processor.size).shape for em in (10, 20, 40)
    ]
    for _, height, width in shapes:
        assert (height, width) == pytest.approx((9 * 14, 16 * 14), rel=0.25)
    whole = processor(page(20), return_tensors="np")["pixel_values"]
    assert max(whole.shape) < 512  # not to the longest edge of 1024
    blank = processor(Image.new("RGB", (100, 50), "white"), return_tensors="np")["pixel_values"]
    assert blank.shape == (1, 3, 512, 1024)  # nothing to measure: as ever


def test_the_longest_edge_remains_the_limit():
    processor = SamVlmImageProcessor(text_height=30, size={"longest_edge": 256})
    assert processor(page(20), return_tensors="np")["pixel_values"].shape == (1, 3, 192, 256)


def test_canvas_is_not_known_beforehand():
    with pytest.raises(ValueError, match="depends on what an image shows"):
        SamVlmImageProcessor(text_height=14).canvas_shape(100, 200)
