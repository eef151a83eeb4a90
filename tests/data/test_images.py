"""samvlm/data/images.py and pixels.py: every format and mode becomes what a person would see."""

import io
import struct

import numpy as np
import pytest
from documents import difference, drawing, encode, pdf, text_page
from PIL import Image

from samvlm.data.images import DocumentError, DocumentWarning, open_image, open_pages
from samvlm.data.pixels import _UPRIGHT

WHITE = drawing()
INVERSE = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"])
def test_formats_from_path_bytes_and_image(format, tmp_path):
    path = tmp_path / f"page.{format.lower()}"
    path.write_bytes(encode(WHITE, format))
    pages = [
        open_image(path),
        open_image(str(path)),
        open_image(path.read_bytes()),
        open_image(Image.open(path)),
    ]
    for page in pages:
        assert page.mode == "RGB"
        assert difference(page, WHITE) < (60 if format in ("JPEG", "WEBP") else 1)


@pytest.mark.parametrize(
    "mode", ["1", "L", "P", "RGBA", "LA", "CMYK", "YCbCr", "HSV", "RGBX", "LAB", "PA", "RGBa"]
)
def test_pil_modes_keep_the_picture(mode):
    image = drawing()
    if mode == "LAB":
        image = Image.merge(
            "LAB", [drawing(mode="L"), Image.new("L", image.size, 128), Image.new("L", image.size, 128)]
        )
    elif mode in ("PA", "RGBa"):
        image = image.convert("RGBA" if mode == "RGBa" else "P").convert(mode)
    else:
        image = image.convert(mode)
    before = image.tobytes()
    seen = np.asarray(open_image(image).convert("L"))
    assert seen[15, 20] < 12 and seen[2, 2] > 243  # box and paper
    assert image.tobytes() == before


@pytest.mark.parametrize(("top", "bits"), [(65535, 16), (4095, 12), (1023, 10), (255, 8)])
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_grey_keeps_its_contrast(top, bits, format):
    grey = (np.asarray(drawing(mode="L")).astype(np.float64) / 255 * top).astype(np.uint16)
    page = open_image(encode(Image.fromarray(grey), format))
    assert difference(page, WHITE) <= 1


def test_big_endian_and_inverted_16_bit_tiff():
    grey = np.asarray(drawing(mode="L")).astype(np.uint16) * 257
    swapped = Image.frombytes("I;16B", WHITE.size, grey.astype(">u2").tobytes())
    assert difference(open_image(encode(swapped, "TIFF")), WHITE) == 0
    inverted = encode(Image.fromarray(65535 - grey), "TIFF", tiffinfo={262: 0})  # white is zero
    assert Image.open(io.BytesIO(inverted)).tag_v2[262] == 0
    assert difference(open_image(inverted), WHITE) == 0


@pytest.mark.parametrize("low, high", [(0.0, 1.0), (0.0, 255.0), (-3.0, 5.0), (0.0, 1e9)])
def test_float_and_32_bit_grey(low, high):
    unit = np.asarray(drawing(mode="L")).astype(np.float32) / 255
    image = Image.fromarray((low + unit * (high - low)).astype(np.float32))
    assert image.mode == "F"
    assert difference(open_image(encode(image, "TIFF")), WHITE) <= 1
    if high > 255:
        whole = Image.fromarray((unit * 1e9).astype(np.int32))
        assert whole.mode == "I"
        assert difference(open_image(whole), WHITE) <= 1


def test_nan_pixels_are_refused():
    grey = np.asarray(drawing(mode="F")).copy()
    grey[3, 3] = np.nan
    with pytest.raises(DocumentError, match="not numbers"):
        open_image(Image.fromarray(grey))


def transparent(mode: str) -> Image.Image:
    """Black boxes on transparency, with black under the transparent part too."""
    grey = drawing(mode="L")
    alpha = grey.point(lambda v: 255 if v == 0 else 0)
    if mode == "P":
        image = alpha.point(lambda v: 1 if v else 0).convert("P")
        image.putpalette([0, 0, 0] * 256)
        image.info["transparency"] = 0
        return image
    image = Image.new(mode, grey.size, 0)
    image.putalpha(alpha)
    return image


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_lies_on_white(mode):
    data = encode(transparent(mode), "PNG")
    assert open_image(Image.open(io.BytesIO(data))).getpixel((2, 2)) == (255, 255, 255)
    page = open_image(data)
    assert page.getpixel((2, 2)) == (255, 255, 255)
    assert page.getpixel((20, 15)) == (0, 0, 0)


def test_transparent_grey_and_colour_keys():
    for mode, key in (("L", 255), ("RGB", (255, 255, 255)), ("I;16", 65535)):
        image = drawing() if mode == "RGB" else drawing(mode="L")
        if mode == "I;16":
            image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
        page = open_image(encode(image, "PNG", transparency=key))
        assert page.getpixel((2, 2)) == (255, 255, 255) and page.getpixel((20, 15)) == (0, 0, 0), mode


def test_white_text_on_transparency_stays_visible():
    image = Image.new("RGBA", (96, 64), (255, 255, 255, 0))
    image.paste((255, 255, 255, 255), (8, 8, 40, 40))
    page = open_image(image)
    assert page.getpixel((20, 20)) == (255, 255, 255) and page.getpixel((2, 2)) == (0, 0, 0)


def test_an_unused_alpha_channel_hides_nothing():
    image = drawing(mode="RGBA")
    image.putalpha(0)
    assert difference(open_image(image), WHITE) == 0


def test_cmyk_jpeg_and_tiff():
    for format in ("JPEG", "TIFF"):
        page = open_image(encode(drawing(mode="RGB").convert("CMYK"), format))
        assert max(page.getpixel((20, 15))) < 12 and min(page.getpixel((2, 2))) > 243, format
    black = Image.new("CMYK", (16, 16), (0, 0, 0, 255))  # as printers send it: black ink only
    assert max(open_image(encode(black, "JPEG")).getpixel((8, 8))) < 6


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF", "JPEG"])
def test_exif_orientation(orientation, format):
    stored = WHITE if orientation == 1 else WHITE.transpose(_UPRIGHT[INVERSE[orientation]])
    exif = Image.Exif()
    exif[274] = orientation
    options = {"lossless": True} if format == "WEBP" else {}
    data = encode(stored, format, exif=exif, **options)
    for source in (data, Image.open(io.BytesIO(data))):
        page = open_image(source)
        assert page.size == WHITE.size
        assert difference(page, WHITE) <= (40 if format == "JPEG" else 0)


def test_first_frame_of_an_animation_with_a_warning():
    frames = [drawing(), drawing().rotate(180), Image.new("RGB", (96, 64), "red")]
    for format in ("GIF", "PNG", "WEBP"):
        data = encode(
            frames[0],
            format,
            save_all=True,
            append_images=frames[1:],
            **({"lossless": True} if format == "WEBP" else {}),
        )
        with pytest.warns(DocumentWarning, match="first of several"):
            assert difference(open_image(data), WHITE) == 0
        with pytest.warns(DocumentWarning):
            assert len(list(open_pages(data))) == 1


def test_tiff_pages():
    second = Image.new("L", (40, 30), 200)
    data = encode(
        WHITE, "TIFF", save_all=True, append_images=[second, drawing(mode="1")], compression="tiff_deflate"
    )
    pages = list(open_pages(data))
    assert [page.index for page in pages] == [0, 1, 2] and not any(page.error for page in pages)
    assert [page.image.size for page in pages] == [(96, 64), (40, 30), (96, 64)]
    assert pages[1].image.getpixel((5, 5)) == (200, 200, 200)
    with pytest.warns(DocumentWarning, match="more than 2 pages"):
        assert len(list(open_pages(data, max_pages=2))) == 2
    with pytest.warns(DocumentWarning, match="first of several"):
        assert difference(open_image(data), WHITE) == 0


def test_tiff_thumbnails_are_no_pages():
    small = Image.new("RGB", (24, 16))
    data = bytearray(encode(WHITE, "TIFF", save_all=True, append_images=[small], tiffinfo={254: 0}))
    assert len(list(open_pages(bytes(data)))) == 2
    entry = struct.pack("<HHI", 254, 4, 1)  # NewSubfileType, a long
    second = data.index(entry, data.index(entry) + 1)
    data[second + 8] = 1  # a reduced copy of another page
    assert [page.image.size for page in open_pages(bytes(data))] == [(96, 64)]


def test_pdf_pages(tmp_path):
    path = tmp_path / "two päges.pdf"
    path.write_bytes(pdf(text_page("Alpha"), "0 0 100 100 re f"))
    for source in (path, path.read_bytes()):
        pages = list(open_pages(source))
        assert [(page.index, page.count, page.error) for page in pages] == [(0, 2, None), (1, 2, None)]
        assert [page.image.size for page in pages] == [(400, 200)] * 2  # 200 x 100 points at 144 dpi
        ink = np.asarray(pages[0].image.convert("L")) < 128
        assert 0.01 < ink.mean() < 0.2 and not ink[:60].any()  # text low on the page
        assert pages[1].image.getpixel((50, 150)) == (0, 0, 0)
        assert pages[1].image.getpixel((350, 150)) == (255, 255, 255)
    with pytest.warns(DocumentWarning, match="more than 1 pages"):
        assert len(list(open_pages(path, max_pages=1))) == 1
    with pytest.raises(DocumentError, match="open_pages"):
        open_image(path)


def test_pages_are_drawn_when_asked_for(tmp_path):
    path = tmp_path / "long.pdf"
    path.write_bytes(pdf(*["0 0 9 9 re f"] * 500))
    pages = open_pages(path)
    assert next(pages).count == 500
    pages.close()


def test_bad_arguments():
    with pytest.raises(ValueError, match="max_pages"):
        next(open_pages(encode(WHITE, "PNG"), max_pages=0))
    with pytest.raises(TypeError, match="int"):
        open_image(3)
