"""samvlm/data/check/page.py and terminal.py: a report shows all that was found, and runs nothing that a record says."""

import re

import pytest
from record_files import GOOD, html, noise, record, save

from samvlm.data.check import check_records
from samvlm.data.check.page import histogram_svg, report_parts, write_report
from samvlm.data.check.terminal import report_lines
from samvlm.evaluation.ceiling import round_trip_ceiling

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def report(tmp_path):
    noise(tmp_path / "a.png", 1)
    noise(tmp_path / "b.png", 2)
    path = save(
        tmp_path / "r.jsonl",
        record("1", "a.png"),
        record(
            HOSTILE, "a.png", html("<tr><td>&lt;script&gt;alert(2)&lt;/script&gt;</td></tr>"), source=HOSTILE
        ),
        record("3", "b.png", boxes=[[2, 30, 9, 40], None, [2, 10, 9, 20], None]),
        record("4", "gone.png", GOOD, split="\x1b[31mval"),
        "{",
    )
    return check_records([path], count_tokens=len, max_tokens=50, ceiling=round_trip_ceiling)


def test_the_page(tmp_path, report):
    write_report(tmp_path / "page.html", report)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    for found in report.findings:
        assert f'id="{found.kind.code}"' in page and f'href="#{found.kind.code}"' in page
    assert (
        "default-src 'none'" in page
        and "<script" not in page
        and "&lt;script&gt;" in page
        and "\x1b" not in page
    )
    assert not re.search(r'(?:src|href)="(?!data:image/|#)', page)
    assert page.count("data:image/") == 6  # of the conflict both sides, over-long ones
    assert "<svg" in page and "limit 50" in page and "TEDS (official) 1.0000 over 4 tables" in page
    assert not list(tmp_path.glob(".samvlm-*"))


def test_the_page_of_clean_data(tmp_path):
    noise(tmp_path / "a.png", 1)
    report = check_records([save(tmp_path / "r.jsonl", record("1", "a.png"))])
    page = "".join(report_parts(report))
    assert "Nothing is wrong." in page and "<svg" not in page and "Findings" not in page
    assert report_lines(report)[-1] == "nothing is wrong"
    nothing = check_records([save(tmp_path / "empty.jsonl", "")])
    assert "There is nothing to measure." in "".join(report_parts(nothing))


def test_the_lines(report):
    text = "\n".join(report_lines(report))
    assert re.search(r"^errors\n  unreadable +1  lines that are no record; correct", text, re.MULTILINE)
    assert re.search(r"r\.jsonl:4 \(id 4\): no file at ", text) and "tokens of a chat, limit 50" in text
    assert "ceiling: HTML -> OTSL -> HTML scores TEDS (official) 1.0000 over 4 tables" in text
    assert report_lines(report)[-1] == "4 errors, 4 warnings"


def test_many_examples_are_cut(tmp_path):
    items = [record(str(n), "none.png") for n in range(20)]
    report = check_records([save(tmp_path / "r.jsonl", *items)])
    page = "".join(report_parts(report))
    assert page.count('<article class="record">') == 6 and "and 8 more" in page


def test_histograms():
    drawn = histogram_svg([(0, 10, 5), (10, 20, 0), (20, 30, 2)], limit=15)
    assert drawn.count("<rect") == 2 and drawn.count('class="over"') == 1 and "limit 15" in drawn
    assert "limit" not in histogram_svg([(0, 10, 1)], limit=99)
