"""samvlm/data/check/stats.py: counts, spreads, histograms."""

from samvlm.data.check.examination import Examination, TableSize
from samvlm.data.check.stats import Statistics, bars


def gathered(*tokens: int) -> Statistics:
    statistics = Statistics()
    for number in tokens:
        statistics.add(Examination(characters=number, tokens=number))
    return statistics


def test_what_is_counted():
    statistics = Statistics()
    assert statistics.lines() == ["0 records, 0 images, 0 tables"] and statistics.ceiling() is None
    table = TableSize(rows=3, columns=2, cells=5, spans=1, headers=1, characters=40)
    seen = Examination("1", task="table", source="mine", size=(30, 20), table=table, characters=90)
    statistics.add(seen)
    statistics.add(Examination("2", source="other", split="val", ceiling=(None, 0.5)))
    lines = statistics.lines()
    assert lines[0] == "2 records, 1 images, 1 tables (1 with spans)"
    assert lines[1:4] == [
        "tasks     table 1, (none) 1",
        "sources   mine 1, other 1",
        "splits    (none) 1, val 1",
    ]
    assert [line.split() for line in lines if line.startswith(("cells of", "image width"))] == [
        ["cells", "of", "a", "table", "5", "5", "5", "5", "5"],
        ["image", "width,", "pixels", "30", "30", "30", "30"],
    ]
    assert statistics.ceiling() == (None, 0.5) and statistics.measured() == (0, 1)


def test_the_spread():
    spread = gathered(*range(1, 101)).spread("tokens")
    assert (spread.count, spread.least, spread.most, spread.total) == (100, 1, 100, 5050)
    assert (spread.median, spread.most_of) == (51, 96)
    assert gathered().spread("tokens") is None


def test_histograms_hold_all_in_few_round_bars():
    for values in ([0], [7], [29], [30], [0, 99, 100], [1, 2, 3, 5000], [8191], [8192, 16], [10**6]):
        found = gathered(*values).histogram("tokens", 16)
        width = found[0][1]
        assert found[0][0] == 0 and sum(number for *_, number in found) == len(values) and len(found) <= 16
        assert found[-1][0] <= max(values) < found[-1][1] and str(width).rstrip("0") in ("1", "2", "5")
        assert all(b - a == width for a, b, _ in found)
    assert gathered().histogram("tokens") == []


def test_bars_of_text():
    drawn = bars([(0, 10, 4), (10, 20, 0), (20, 30, 1)], width=4)
    assert drawn == [" 0 -  9  ████ 4", "10 - 19  0", "20 - 29  █ 1"] and bars([]) == []
