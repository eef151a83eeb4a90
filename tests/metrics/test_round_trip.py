"""The ceiling of OTSL on real tables: what HTML -> OTSL -> HTML loses, in TEDS."""

import json
import re
from pathlib import Path

import pytest

from samvlm.data.tables import Table
from samvlm.metrics import teds, teds_normalised

DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.parametrize(("name", "count", "ceiling"), [("pubtabnet", 20, 0.997), ("icdar2013", 85, 1.0)])
def test_real_tables_survive_otsl(name, count, ceiling):
    path = DATA / name / "gt.jsonl"
    if not path.is_file():
        pytest.skip(f"the real tables are not at {path}")
    scores = []
    for line in path.read_text(encoding="utf-8").splitlines():
        html = json.loads(line)["html"]
        back = Table.from_otsl(Table.from_html(html).to_otsl()).to_html()
        assert teds_normalised(back, html) == 1.0
        # the official score also sees inline tags, blank cells and, for ICDAR-2013, the missing tbody
        truth = re.sub(r"</?(b|i|sup|sub)>", "", html)
        if "<tbody>" not in truth:
            truth, back = f"<html><body>{truth}</body></html>", re.sub("</?tbody>", "", back)
        scores.append(teds(back, truth))
    assert len(scores) == count and sum(scores) / count >= ceiling
