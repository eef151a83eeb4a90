"""Bad image files: each is refused in one line, quickly, in little memory, and never half read."""

import io
import json
import os
import random
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from documents import difference, drawing, encode
from patience import PROCESSOR_SECONDS
from PIL import Image, ImageFile

from samvlm.data.images import DocumentError, open_image, open_pages

ROOT = Path(__file__).resolve().parents[2]


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *extra: bytes, bits: int = 1) -> bytes:
    """A blank PNG of any size in a few kilobytes, with more chunks behind its header."""
    row = bytes(1 + (width * bits + 7) // 8)
    packer = zlib.compressobj(9)
    pixels = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def resized(data: bytes, format: str, width: int, height: int) -> bytes:
    """A small image whose header claims another size."""
    if format == "JPEG":
        at = data.index(b"\xff\xc0") + 5
        return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]
    if format == "GIF":
        return data[:6] + struct.pack("<HH", width, height) + data[10:]
    if format == "BMP":
        return data[:18] + struct.pack("<ii", width, height) + data[26:]
    assert format == "WEBP" and data[12:16] == b"VP8L"
    bits = (width - 1) | (height - 1) << 14
    return data[:21] + struct.pack("<I", bits) + data[25:]


def bombs() -> dict[str, bytes]:
    page = drawing()
    ten_mb = b"x" * 10_000_000
    return {
        "png-30000": png(30000, 30000),
        "png-9000": png(9000, 9000),  # below Pillow's own limit, and no warning from it
        "jpeg-65000": resized(encode(page, "JPEG"), "JPEG", 65000, 65000),
        "gif-65000": resized(encode(page, "GIF"), "GIF", 65000, 65000),
        "bmp-100000": resized(encode(page, "BMP"), "BMP", 100_000, 100_000),
        "webp-16383": resized(encode(page, "WEBP", lossless=True), "WEBP", 16383, 16383),
        "png-text": png(64, 64, chunk(b"zTXt", b"a\0\0" + zlib.compress(ten_mb))),
        "png-profile": png(64, 64, chunk(b"iCCP", b"a\0\0" + zlib.compress(ten_mb))),
    }


PROBE = """
import json, resource, sys, time, types
package = types.ModuleType("samvlm"); package.__path__ = [sys.argv[1]]; sys.modules["samvlm"] = package
from samvlm.data.images import DocumentError, open_image
open_image(sys.argv[2])
for path in sys.argv[3:]:
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    try:
        open_image(path); said = "opened"
    except DocumentError as error:
        said = str(error)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps([path, said, time.process_time() - start, peak / 1024]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="measures with getrusage")
def test_bombs_are_refused_from_the_header(tmp_path):
    good = tmp_path / "good.png"
    good.write_bytes(encode(drawing(), "PNG"))
    paths = []
    for name, data in bombs().items():
        assert len(data) < 1_000_000, name
        paths.append(tmp_path / name)
        paths[-1].write_bytes(data)
    command = [sys.executable, "-c", PROBE, str(ROOT / "samvlm"), *map(str, [good, *paths])]
    probe = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert probe.returncode == 0, probe.stderr
    answers = [json.loads(line) for line in probe.stdout.splitlines()]
    assert len(answers) == len(paths)
    for path, said, seconds, megabytes in answers:
        if Path(path).name not in ("png-text", "png-profile"):  # these may also be read without the chunk
            assert "scale it down" in said, (path, said)
        assert seconds < PROCESSOR_SECONDS and megabytes < 50, (path, said, seconds, megabytes)


def test_limits_follow_the_argument():
    data = png(3000, 2000)
    assert open_image(data).size == (3000, 2000)
    with pytest.raises(DocumentError, match=r"3000 x 2000 .* 5 million"):
        open_image(data, max_pixels=5_000_000)
    with pytest.raises(DocumentError, match="5 million"):
        open_image(Image.open(io.BytesIO(data)), max_pixels=5_000_000)


@pytest.mark.parametrize("size", [(1, 1), (7, 7), (1, 500), (500, 7), (20000, 1), (20000, 10), (10, 20000)])
def test_tiny_and_elongated(size):
    with pytest.raises(DocumentError, match=r"too (few|elongated)"):
        open_image(png(*size))
    with pytest.raises(DocumentError):
        open_image(Image.new("RGB", size))


SAVED = {
    "png": ("PNG", {}),
    "png-16": ("PNG", {"mode": "I;16"}),
    "png-palette": ("PNG", {"mode": "P"}),
    "jpeg": ("JPEG", {"quality": 80}),
    "jpeg-progressive": ("JPEG", {"progressive": True}),
    "webp": ("WEBP", {}),
    "webp-lossless": ("WEBP", {"lossless": True}),
    "gif": ("GIF", {}),
    "bmp": ("BMP", {}),
    "tiff": ("TIFF", {}),
    "tiff-lzw": ("TIFF", {"compression": "tiff_lzw"}),
    "tiff-fax": ("TIFF", {"compression": "group4", "mode": "1"}),
    "tiff-jpeg": ("TIFF", {"compression": "jpeg"}),
}


def saved(name: str) -> bytes:
    format, options = SAVED[name]
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (120, 160), dtype=np.uint8))
    mode = options.get("mode", "L" if name == "gif" else "RGB")
    page = noise.convert("I").convert("I;16") if mode == "I;16" else noise.convert(mode)
    return encode(page, format, **{key: value for key, value in options.items() if key != "mode"})


@pytest.mark.parametrize("name", SAVED)
def test_truncated_files_are_refused_or_whole(name, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)  # as other packages set it
    data = saved(name)
    whole = open_image(data)
    refused = 0
    for part in range(1, 100):
        cut = data[: len(data) * part // 100]
        try:
            page = open_image(cut)
        except DocumentError:
            refused += 1
        else:
            assert difference(page, whole) == 0, f"{part}% of the file gave another picture"
    assert refused >= 90
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


@pytest.mark.parametrize("name", SAVED)
def test_damaged_bytes_never_raise_anything_else(name, recwarn):
    data, dice = saved(name), random.Random(0)
    for _ in range(150):
        broken = bytearray(data)
        for _ in range(dice.choice([1, 3, 20])):
            area = len(broken) if dice.random() < 0.5 else 200
            broken[dice.randrange(area)] = dice.randrange(256)
        try:
            for page in open_pages(bytes(broken), max_pages=5, max_pixels=1_000_000):
                assert (page.image is None) == (page.error is not None)
        except DocumentError as error:
            check_message(str(error))


def check_message(message: str) -> None:
    """One line that leaks neither addresses nor objects."""
    assert "\n" not in message and "0x" not in message and "object at" not in message, message
    assert len(message) < 300


NOT_IMAGES = {
    "empty.png": (b"", "empty file"),
    "zeros.png": (bytes(5000), "not an image"),
    "text.png": (b"Year;Sales\n2004;34.7\n", "not an image"),
    "page.jpg": (b"<!DOCTYPE html><html><body>404", "an HTML page"),
    "lfs.png": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n", "git lfs pull"),
    "drawing.svg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
    "book.xlsx": (b"PK\x03\x04" + bytes(100), "export the document as PDF"),
    "photo.heic": (b"\0\0\0\x18ftypheic" + bytes(100), "convert it to JPEG"),
    "head.png": (b"\x89PNG\r\n\x1a\n", "damaged or truncated"),
    "head.jpg": (b"\xff\xd8\xff\xe0", "damaged or truncated"),
    "head.tif": (b"II*\0\x08\0\0\0", "damaged"),
}


@pytest.mark.parametrize("name", NOT_IMAGES)
def test_not_images(name, tmp_path):
    data, expected = NOT_IMAGES[name]
    path = tmp_path / name
    path.write_bytes(data)
    for read in (open_image, lambda source: list(open_pages(source))):
        with pytest.raises(DocumentError, match=expected) as caught:
            read(path)
        assert str(caught.value).startswith(f"{path}: ")
        check_message(str(caught.value).replace(str(path), ""))
        assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("format", ["PPM", "ICO", "PCX", "TGA", "SGI", "EPS", "IM", "JPEG2000"])
def test_formats_outside_the_list(format):
    try:
        data = encode(drawing(), format)
    except (OSError, KeyError):
        pytest.skip(f"Pillow was built without {format}")
    with pytest.raises(DocumentError):
        open_image(data)


def test_paths_that_are_no_files(tmp_path):
    cases = {
        str(tmp_path): "a directory",
        str(tmp_path / "missing.png"): "no such file; check the path",
        "https://example.org/table.png": "download it first",
        "a\0b.png": "cannot be opened",
        "x" * 5000: "cannot be opened",
    }
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.png")
        cases[str(tmp_path / "pipe.png")] = "not a regular file"
    for path, expected in cases.items():
        with pytest.raises(DocumentError, match=expected):
            open_image(path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file(tmp_path):
    path = tmp_path / "secret.png"
    path.write_bytes(encode(drawing(), "PNG"))
    path.chmod(0)
    with pytest.raises(DocumentError, match="permission denied"):
        open_image(path)


def test_names_stay_on_one_line(tmp_path):
    path = tmp_path / "a\nb\x1b[31m.png"
    path.write_bytes(b"no image")
    with pytest.raises(DocumentError) as caught:
        open_image(path)
    check_message(str(caught.value))
    assert "\x1b" not in str(caught.value) and r"a\nb\x1b[31m.png" in str(caught.value)


@pytest.mark.filterwarnings("ignore::samvlm.data.images.DocumentWarning")
def test_damaged_metadata_costs_nothing():
    page = drawing()
    for format in ("JPEG", "PNG", "WEBP"):
        options = {"lossless": True} if format == "WEBP" else {}
        junk = encode(page, format, exif=b"Exif\0\0" + bytes(range(40)) * 3, icc_profile=b"none", **options)
        assert difference(open_image(junk), page) < 40
        cut = encode(page, format, exif=b"Exif\0\0MM\0*\0", **options)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            assert difference(open_image(cut), page) < 40
        assert format == "JPEG" or "EXIF data is damaged" in str(said[0].message)


def test_one_damaged_tiff_page_leaves_the_others():
    noise = Image.effect_noise((200, 100), 90)
    data = encode(
        drawing(), "TIFF", save_all=True, append_images=[noise, drawing()], compression="tiff_deflate"
    )
    image = Image.open(io.BytesIO(data))
    image.seek(1)
    at, length = image.tag_v2[273][0], image.tag_v2[279][0]
    broken = data[:at] + bytes(length) + data[at + length :]
    pages = list(open_pages(broken))
    assert [page.error is None for page in pages] == [True, False, True]
    assert "page 2: a damaged or truncated TIFF" in pages[1].error and pages[1].image is None


def test_a_tiff_whose_pages_form_a_circle_ends():
    data = bytearray(encode(drawing(), "TIFF", save_all=True, append_images=[drawing()]))
    order = "<" if data[:2] == b"II" else ">"
    first = struct.unpack_from(order + "I", data, 4)[0]
    entries = struct.unpack_from(order + "H", data, first)[0]
    second = struct.unpack_from(order + "I", data, first + 2 + 12 * entries)[0]
    entries = struct.unpack_from(order + "H", data, second)[0]
    struct.pack_into(order + "I", data, second + 2 + 12 * entries, first)
    assert len(list(open_pages(bytes(data)))) == 2
