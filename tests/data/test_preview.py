"""samvlm/data/preview.py: a page of records, good and bad."""

import json
import re

import pytest
from documents import drawing

from samvlm.data.preview import record_markup, write_preview

TABLE = "<html><body><table><tr><th>a&amp;b</th></tr><tr><td>&lt;i&gt;</td></tr></table></body></html>"


@pytest.fixture
def records(tmp_path):
    drawing().save(tmp_path / "a.png")
    items = [{"id": str(n), "image": "a.png", "task": "table", "target": {"html": TABLE}} for n in range(8)]
    items[2] = {"id": "2", "image": "a.png", "messages": [{"role": "user", "content": "What?"}, {"role": "assistant", "content": "<b>A</b>"}]}  # fmt: skip
    items[3] |= {"image": "gone.png"}
    items[4] |= {"target": {}}
    path = tmp_path / "r.jsonl"
    path.write_text("\n".join(map(json.dumps, items)) + "\n{\n")
    return path


def test_the_first_records(tmp_path, records):
    assert write_preview(tmp_path / "page.html", [records], limit=6) == (6, 9, 1)
    page = (tmp_path / "page.html").read_text()
    assert page.count("<article") == 6 and page.count("data:image/") == 5 and "6 of 9 records" in page
    assert (
        "a&amp;b" in page
        and "&lt;i&gt;" in page
        and "&lt;b&gt;A&lt;/b&gt;" in page
        and "<b>A</b>" not in page
    )
    assert "no such file" in page and "there are no &#x27;messages&#x27;" in page


def test_records_at_random(tmp_path, records):
    def ids(seed):
        write_preview(tmp_path / "page.html", [records, records], limit=5, seed=seed)
        return re.findall(r"r\.jsonl:(\d+)", (tmp_path / "page.html").read_text())

    assert len(ids(0)) == 5 and ids(0) == ids(0) and any(ids(0) != ids(seed) for seed in (1, 2, 3))
    assert write_preview(tmp_path / "page.html", [records], limit=50, seed=1) == (9, 9, 2)


def test_boxes_are_drawn(records):
    plain = {"id": "1", "image": "a.png", "task": "table", "target": {"html": TABLE}}
    boxed = plain | {"boxes": [[4, 4, 60, 40], None, "x"]}
    assert record_markup(plain, records.parent) != record_markup(boxed, records.parent)


def test_nothing_to_show(tmp_path):
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(ValueError, match="no records"):
        write_preview(tmp_path / "page.html", [tmp_path / "empty.jsonl"])
    with pytest.raises(ValueError, match="no record file"):
        write_preview(tmp_path / "page.html", [tmp_path / "none.jsonl"])
    assert not (tmp_path / "page.html").exists()
