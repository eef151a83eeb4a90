"""Bad PDFs: locked, damaged, lying, slow or gigantic; what can be read is read, in bounded time and memory."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from documents import encrypted_pdf, pdf, text_page

from samvlm.data.images import DocumentError, open_pages
from samvlm.data.pdf import MAX_FAILURES, MAX_PAGE_PIXELS, _Worker, pdf_pages

BOX = "0 0 100 50 re f"
# Forms that draw each other 20 times over, nine deep: a few kilobytes, hours of drawing.
SLOW = (*(" ".join([f"/X{i + 1} Do"] * 20) for i in range(8)), "0 0 50 50 re f")


def test_encrypted(tmp_path):
    path = tmp_path / "locked.pdf"
    path.write_bytes(encrypted_pdf(BOX, user="sesame", owner="boss"))
    with pytest.raises(DocumentError, match=r"locked\.pdf: encrypted; .*--password") as caught:
        list(open_pages(path))
    assert "\n" not in str(caught.value)
    with pytest.raises(DocumentError, match="the password is wrong"):
        list(open_pages(path, password="simsim"))
    for password in ("sesame", "boss"):
        (page,) = open_pages(path, password=password)
        assert page.image.getpixel((20, 180)) == (0, 0, 0)


def test_owner_password_alone_locks_nobody_out():
    (page,) = open_pages(encrypted_pdf(BOX, user="", owner="boss"))
    assert page.image.getpixel((20, 180)) == (0, 0, 0)


@pytest.mark.parametrize(
    "data",
    [
        pdf(),
        pdf(BOX, BOX)[:150],
        b"%PDF-1.7\n" + bytes(range(256)) * 40,
        b"%PDF-1.4\n%%EOF",
        b"junk before the header %PDF-1.7",
    ],
    ids=["no pages", "truncated", "garbage", "empty", "header only"],
)
def test_damaged_documents(data, tmp_path):
    path = tmp_path / "bad.pdf"
    path.write_bytes(data)
    for source in (path, data):
        with pytest.raises(DocumentError, match="damaged, truncated or empty PDF") as caught:
            list(open_pages(source))
        assert "Success" not in str(caught.value)


def test_a_broken_page_fails_alone():
    broken = pdf(BOX, BOX, BOX).replace(b"/Kids [4 0 R 6 0 R 8 0 R]", b"/Kids [4 0 R 99 0 R 8 0 R]")
    pages = list(open_pages(broken))
    assert [page.image is not None for page in pages] == [True, False, True]
    assert "page 2 of 3" in pages[1].error and "\n" not in pages[1].error


def test_a_page_tree_that_lies_ends():
    pages = []
    with pytest.raises(DocumentError, match="20 pages in a row failed; gave up after page 21"):
        for page in open_pages(pdf(BOX, count=10**6)):
            pages.append(page)
    assert len(pages) == 1 + MAX_FAILURES and pages[0].image is not None


def test_a_slow_page_is_killed_and_the_next_ones_are_read():
    start = time.monotonic()
    pages = list(open_pages(pdf(BOX, "/X0 Do", BOX, forms=SLOW), timeout=1.5))
    assert time.monotonic() - start < 20
    assert [page.image is not None for page in pages] == [True, False, True]
    assert "took longer than 1.5 s" in pages[1].error


def test_a_crash_costs_one_page():
    pages = pdf_pages_with_worker(pdf(BOX, BOX, BOX), kill_before=1)
    assert [page.image is not None for page in pages] == [True, False, True]
    assert "the reader crashed" in pages[1].error


def pdf_pages_with_worker(data: bytes, kill_before: int) -> list:
    pages, drawn = [], _Worker.draw

    def draw(worker, index, *arguments):
        if index == kill_before:
            worker.process.kill()
        return drawn(worker, index, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_Worker, "draw", draw)
        pages.extend(pdf_pages(data, "x.pdf"))
    return pages


@pytest.mark.parametrize("side", [20_000, 1_000_000])
def test_gigantic_pages_are_drawn_within_the_budget(side):
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    (page,) = open_pages(pdf(BOX, box=f"0 0 {side} {side}"))
    assert page.image.width * page.image.height <= MAX_PAGE_PIXELS + 2 * page.image.width
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss - before < 400_000  # KiB


def test_odd_boxes():
    (page,) = open_pages(pdf(BOX, box="200 100 0 0"))  # reversed
    assert page.image.size == (400, 200)
    for box in ("0 0 1 1", "0 0 100000 1"):
        (page,) = open_pages(pdf(BOX, box=box))
        assert page.image is None and "too few" in page.error


def test_rotated_page_is_upright():
    data = pdf(BOX).replace(b"/Type /Page /Parent", b"/Type /Page /Rotate 90 /Parent")
    (page,) = open_pages(data)
    assert page.image.size == (200, 400)
    assert np.asarray(page.image.convert("L"))[:100, :50].max() < 128  # lower left goes to the upper left


def test_scripts_in_a_pdf_do_not_run(tmp_path):
    action = b"/OpenAction << /S /JavaScript /JS (app.alert('x')) >> /Pages 2 0 R"
    (page,) = open_pages(pdf(text_page("A")).replace(b"/Pages 2 0 R", action, 1))
    assert page.error is None


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks at /proc")
def test_no_process_is_left_behind(tmp_path):
    path = tmp_path / "slow.pdf"
    path.write_bytes(pdf(BOX, "/X0 Do", forms=SLOW))
    pages = open_pages(path)
    next(pages)
    pages.close()
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    names = [Path(f"/proc/{child}/cmdline").read_bytes() for child in children.read_text().split()]
    assert not any(b"pdf_worker" in name for name in names)


@pytest.mark.skipif(
    not hasattr(signal, "SIGKILL") or not Path("/proc/self").exists(), reason="looks at /proc"
)
def test_the_child_ends_with_a_killed_parent(tmp_path):
    path = tmp_path / "page.pdf"
    path.write_bytes(pdf(BOX, BOX))
    program = (
        "import sys, types, time\n"
        "package = types.ModuleType('samvlm'); package.__path__ = [sys.argv[1]]; sys.modules['samvlm'] = package\n"
        "from samvlm.data.pdf import _Worker\n"
        "from pathlib import Path\n"
        "worker = _Worker(Path(sys.argv[2]), 'x', None, 9); worker.open(); print(worker.process.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    package = Path(__file__).resolve().parents[2] / "samvlm"
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(package), str(path)], stdout=subprocess.PIPE
    )
    child = int(parent.stdout.readline())
    assert Path(f"/proc/{child}").exists()
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while running(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not running(child)


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
