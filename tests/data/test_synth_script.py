"""scripts/make_synth.py: records that our own reader takes, a contact sheet, bad arguments."""

import runpy
from pathlib import Path

import pytest
from PIL import Image

from samvlm.data.records import read_records
from samvlm.data.synth import KINDS, sample

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "make_synth.py"


@pytest.fixture(scope="module")
def main():
    return runpy.run_path(str(SCRIPT))["main"]


def test_records_read_back(main, tmp_path: Path):
    main([*KINDS, "--number", "2", "--seed", "6", "--out", str(tmp_path)])
    records = list(read_records(tmp_path / "records.jsonl"))
    expected = [sample(kind, 6, index) for kind in KINDS for index in (0, 1)]
    assert [record.answer for record in records] == [made.answer for made in expected]
    for record, made in zip(records, expected, strict=True):
        assert Image.open(record.image).tobytes() == made.image.tobytes()
        assert not made.question or made.question in str(record.messages[0])


def test_sheet_and_fonts(main, tmp_path: Path, capsys: pytest.CaptureFixture):
    main(["strip", "--number", "7", "--dots", "--sheet", str(tmp_path / "sheet.png"), "--fonts"])
    assert Image.open(tmp_path / "sheet.png").size == (1600, 134)
    assert "families" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["tabel", "--time"], ["table"]])
def test_bad_arguments_end_with_a_line(main, arguments: list[str], capsys: pytest.CaptureFixture):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "choose from" in capsys.readouterr().err or arguments == ["table"]
