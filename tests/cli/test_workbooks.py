"""samvlm parse -f xlsx: a workbook for each table in a folder, or one of all tables where output is redirected."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from documents import drawing, encode, pdf, text_page

from samvlm.cli import main
from samvlm.cli.outputs import FolderOutput, WorkbookOutput
from samvlm.data.images import DocumentError
from samvlm.data.tables import Table
from samvlm.generation import ParseResult

TABLE = Table.from_rows([["=1+1", "7"]])


def test_a_folder_gets_a_workbook_for_each_table(tmp_path):
    output = FolderOutput(tmp_path, "xlsx", ["a.pdf", "b.png"])
    output.write(0, "a.pdf", ParseResult(tables=[TABLE, TABLE]))
    output.write(0, "a.pdf", ParseResult(tables=[TABLE], page=2))
    output.write(1, "b.png", ParseResult(task="form", text="Name: x"))
    assert sorted(os.listdir(tmp_path)) == ["a.p2.xlsx", "a.t2.xlsx", "a.xlsx", "b.xlsx"]
    assert Table.all_from_xlsx(tmp_path / "a.t2.xlsx") == {"Table 1": TABLE}
    assert Table.from_xlsx(tmp_path / "b.xlsx").to_rows() == [["Name", "x"]]


def test_redirected_output_is_one_workbook(capsysbinary):
    output = WorkbookOutput(["in/a.pdf", "b.png", "c/b.png", "none.png"])
    output.write(0, "in/a.pdf", ParseResult(tables=[TABLE, TABLE]))
    output.write(0, "in/a.pdf", ParseResult(tables=[TABLE], page=2))
    output.write(1, "b.png", ParseResult(tables=[TABLE]))
    output.write(2, "c/b.png", ParseResult(task="text", text="line"))
    output.write(3, "none.png", ParseResult())
    assert capsysbinary.readouterr().out == b""
    output.close()
    tables = Table.all_from_xlsx(capsysbinary.readouterr().out)
    assert list(tables) == ["a", "a.t2", "a.p2", "b", "b-2"]
    assert tables["a.p2"] == TABLE and tables["b-2"].to_rows() == [["line"]]


def test_nothing_read_is_nothing_written(capsysbinary):
    WorkbookOutput(["a.png"]).close()
    assert capsysbinary.readouterr().out == b""


def test_raw_cells_leave_numbers_text(tmp_path, capsysbinary):
    from openpyxl import load_workbook

    for raw, value in ((False, 7), (True, "7")):
        output = FolderOutput(tmp_path, "xlsx", ["a.png"], force=True, raw_cells=raw)
        output.write(0, "a.png", ParseResult(tables=[TABLE]))
        cells = load_workbook(tmp_path / "a.xlsx").active[1]
        assert [cell.value for cell in cells] == ["=1+1", value] and cells[0].data_type == "s"
    output = WorkbookOutput(["a.png"], raw_cells=True)
    output.write(0, "a.png", ParseResult(tables=[TABLE]))
    output.close()
    assert load_workbook(io.BytesIO(capsysbinary.readouterr().out)).active["B1"].value == "7"


def test_a_table_too_wide_costs_a_line(tmp_path):
    wide = ParseResult(tables=[Table([], 1, 20_000)])
    with pytest.raises(DocumentError, match=r"a\.xlsx: cannot be written: a sheet holds"):
        FolderOutput(tmp_path, "xlsx", ["a.png"]).write(0, "a.png", wide)
    assert os.listdir(tmp_path) == []
    with pytest.raises(DocumentError, match=r"a\.png: .*20000 columns"):
        WorkbookOutput(["a.png"]).write(0, "a.png", wide)


def test_a_terminal_gets_no_workbook(tiny_checkpoint, monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["parse", "a.png", "-f", "xlsx", "--model", str(tiny_checkpoint)]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("samvlm: error: ") and "-o DIR, or redirect" in said.err
    assert len(said.err.splitlines()) == 1


def test_the_command_end_to_end(tiny_checkpoint, tmp_path):
    (tmp_path / "a.png").write_bytes(encode(drawing(), "PNG"))
    (tmp_path / "b.pdf").write_bytes(pdf(text_page("A"), text_page("B")))
    arguments = ["parse", "a.png", "missing.png", "b.pdf", "-f", "xlsx", "--model", str(tiny_checkpoint)]
    with (tmp_path / "out.xlsx").open("wb") as out:
        done = subprocess.run(
            [sys.executable, "-m", "samvlm.cli", *arguments, "--max-new-tokens", "9", "--device", "cpu"],
            cwd=tmp_path, stdout=out, stderr=subprocess.PIPE, text=True,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        )  # fmt: skip
    errors = [line for line in done.stderr.splitlines() if "error" in line]
    assert done.returncode == 2 and len(errors) == 1 and "missing.png" in errors[0]
    assert list(Table.all_from_xlsx(tmp_path / "out.xlsx")) in (["a", "b", "b.p2"], [])
