"""Runs on rows that stream: resumed exactly, with workers, what is wrong counted; other files are another run."""

import json

import pytest
from short_runs import log_of, same, write_recipe
from table_rows import chat_row, chats, png, write

from training.recipe import load_recipe
from training.train import main

ENDLESS = {"schedule": "constant", "logging_steps": 1}


@pytest.mark.parametrize(
    "settings", [{"packing": True}, {}, pytest.param({"workers": 2}, marks=pytest.mark.slow)]
)
def test_a_resumed_run_is_the_unbroken_one(tmp_path, reader_folder, settings):
    folder = chats(tmp_path / "rows")
    source = {"parquet": str(folder), "shuffle": 8, "weight": 2}
    recipe = write_recipe(
        tmp_path,
        reader_folder,
        data={"sources": [source, {"synth": "strip", "size": [64, 64]}], "max_pixels": 20000, **settings},
        trainer=ENDLESS,
    )
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert main([str(recipe), f"trainer.output_dir={whole}"]) == 0
    assert main([str(recipe), f"trainer.output_dir={broken}", "trainer.max_steps=2"]) == 0
    assert main([str(recipe), f"trainer.output_dir={broken}", "--resume", "auto"]) == 0
    assert same(whole / "1-instruct", broken / "1-instruct")
    losses = [[line["loss"] for line in log_of(path / "1-instruct")] for path in (whole, broken)]
    assert losses[0] == losses[1] and len(losses[0]) == 4


def test_rows_that_are_wrong_are_counted_and_other_files_are_another_run(tmp_path, reader_folder, capsys):
    rows = [chat_row(number) for number in range(12)]
    whole = png(5)
    for number in range(12):
        if number % 3 == 1:
            rows[number]["messages"] = rows[number]["messages"][:1]
        elif number % 3 == 2:  # with its header, and without its end
            rows[number]["images"] = [{"bytes": whole[: len(whole) // 2], "path": None}]
    path = write(tmp_path / "a.parquet", rows)
    recipe = write_recipe(
        tmp_path,
        reader_folder,
        data={"sources": [{"parquet": str(path)}], "max_pixels": 600_000, "max_refused": 1},
        trainer=ENDLESS,
    )
    assert main([str(recipe)]) == 0
    out = tmp_path / "out" / "1-instruct"
    told = [json.loads(line) for line in (out / "refused.jsonl").read_text().splitlines()]
    assert {line["reason"][:5] for line in told} == {"it en", "image"}
    for line in told:
        number = int(line["id"][1:])
        assert number % 3 and line["where"] == f"{path}: group {number // 4 + 1}, row {number % 4 + 1}"
    assert sum(line["refused"] for line in log_of(out)) >= len(told)
    write(path, rows[:11])
    capsys.readouterr()
    assert main([str(recipe), "trainer.max_steps=6", "--resume", "auto"]) == 2
    assert "data.sources[0].parquet" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (
            "{parquet: a, synth: table}",
            "needs one of synth: KIND, engine: FOLDER, records: FILE, parquet: FILES and dataset: NAME",
        ),
        ("{parquet: nowhere.parquet}", r"nowhere.parquet: no .parquet file"),
        ("{parquet: nowhere.parquet, colums: {}}", "unknown key 'colums': did you mean 'columns'?"),
    ],
)
def test_wrong_sources_are_told(tmp_path, reader_folder, capsys, source, told):
    recipe = write_recipe(tmp_path, reader_folder)
    assert main([str(recipe), f"data.sources=[{source}]"]) == 2
    assert told in capsys.readouterr().err
    assert load_recipe(recipe)
