"""Whole runs that must not end well: bad input, foreign checkpoints, NaN, Ctrl-C; and runs of two processes."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import save_file
from short_runs import TRAIN, log_of, weights, write_recipe

from training.checkpoints import checkpoints_in, problem
from training.train import main


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["data.sources=[{synth: tabel}]"], "unknown kind 'tabel'"),
        (["data.sources=[{synth: table, wieght: 2}]"], "wieght"),
        (
            ["data.sources=[{synth: table, options: {damge: 0}}]"],
            "unknown option 'damge': did you mean 'damage'",
        ),
        (
            ["data.sources=[{synth: table, options: {damage: much}}]"],
            "damage='much': give a number from 0 to 1",
        ),
        (["data.sources=[{records: missing.jsonl}]"], "no record file at missing.jsonl"),
        (["trainer.max_stepps=3"], "did you mean 'max_steps'"),
        (["model.init_from=null", "model.assemble={towr: {}}"], "'towr': did you mean 'tower'"),
        (
            ["model.init_from=null", "model.assemble={tower: {embed_dimm: 32}, language_model: {}}"],
            "model.assemble: tower: unknown setting 'embed_dimm': did you mean 'embed_dim'",
        ),
        (["trainer.resume=nowhere"], "trainer.resume=nowhere is no checkpoint"),
        (["trainer.schedule=cosinus"], "cosinus"),
        (["stage.guide_weight=1", "stage.guide_layers=[7]"], "stage.guide_layers=[7]"),
        (["stage.lora={rnk: 3}"], "stage.lora"),
        (["stage.lora={r: 2, bias: al}"], "stage.lora: Requested bias: al"),
        (["data.sources=[{synth: strip, size: [512, 64]}]"], "at most 256"),
        (["data.sources=[{synth: strip, size: [512, 64]}]", "data.workers=1"], "at most 256"),
        (["data.sources=[{synth: strip, size: [32, 16]}]", "data.workers=1"], "too small"),
    ],
)
def test_bad_input_gets_one_line_and_exit_code_2(overrides, told, tmp_path, reader_folder, capsys):
    assert main([str(write_recipe(tmp_path, reader_folder)), *overrides]) == 2
    err = [line for line in capsys.readouterr().err.splitlines() if line.startswith("samvlm train:")]
    assert len(err) == 1 and told in err[0] and "Traceback" not in err[0]


def test_a_missing_model_or_recipe_is_told(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([str(write_recipe(tmp_path, str(tmp_path / "no_model")))]) == 2
    assert "no_model: no such folder" in capsys.readouterr().err
    (tmp_path / "runs").mkdir()
    assert main([str(write_recipe(tmp_path, "runs/typo"))]) == 2  # no name of the hub
    assert "model.init_from=runs/typo: no such folder" in capsys.readouterr().err
    assert main([str(write_recipe(tmp_path, "some/name"))]) == 2  # offline
    assert "model.init_from=some/name: not a document model that can be loaded (" in capsys.readouterr().err
    assert main(["no_such_recipe"]) == 2
    assert main([]) == 2
    assert main(["--help"]) == 0
    err = capsys.readouterr().err
    assert "there is no recipe no_such_recipe" in err and "Traceback" not in err


@pytest.mark.parametrize("damage", ["truncated", "renamed"])
def test_a_start_that_is_not_whole_is_refused(damage, tmp_path, reader_folder, capsys):
    start = shutil.copytree(reader_folder, tmp_path / "start")
    path = start / "model.safetensors"
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        tensors = weights(start)
        tensors["other"] = tensors.pop(next(name for name in tensors if "projector" in name))
        save_file(tensors, path, metadata={"format": "pt"})
    assert main([str(write_recipe(tmp_path, str(start)))]) == 2
    assert re.search(r"start: (not a document model|1 weights are missing)", capsys.readouterr().err)


def test_a_checkpoint_of_another_stage_is_refused(tmp_path, reader_folder, capsys):
    recipe = write_recipe(tmp_path, reader_folder, stage={"name": "tower"})
    assert main([str(recipe)]) == 0
    overrides = ["trainer.resume=auto", "trainer.max_steps=6", "--force"]
    assert main([str(recipe), *overrides, "stage.dense_weight=1"]) == 2
    assert "lacks 2 weights of this stage, the first is training_heads." in capsys.readouterr().err
    assert main([str(recipe), *overrides, "stage.train=[connector]"]) == 2
    assert "samvlm train: " in capsys.readouterr().err


def test_a_loss_that_is_no_number_stops_the_run_and_saves_nothing(tmp_path, reader_folder, capsys):
    recipe = write_recipe(
        tmp_path, reader_folder, trainer={"learning_rate": 1e30, "save_steps": 1, "max_steps": 9}
    )
    assert main([str(recipe)]) == 1
    err = capsys.readouterr().err
    assert "no finite number 5 steps in a row" in err and "lower trainer.learning_rate" in err
    assert "Traceback" not in err
    folder = tmp_path / "out" / "1-instruct"
    assert not (folder / "model.safetensors").exists()
    for checkpoint in folder.glob("checkpoint-*"):
        assert all(tensor.isfinite().all() for tensor in weights(checkpoint).values())


@pytest.mark.parametrize(
    ("when", "signum"),
    [
        ("while it loads", signal.SIGINT),
        ("while it loads", signal.SIGTERM),
        ("while it trains", signal.SIGINT),
        ("while it trains", signal.SIGTERM),
    ],
)
def test_signals_end_with_their_code_and_without_a_traceback(when, signum, tmp_path, reader_folder):
    trainer = {"max_steps": 10_000, "save_steps": 9999}
    recipe = write_recipe(tmp_path, reader_folder, data={"workers": 1}, trainer=trainer)
    run = subprocess.Popen(
        [sys.executable, "-v", str(TRAIN), str(recipe)]
        if "loads" in when
        else [sys.executable, str(TRAIN), str(recipe)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    sign = "import 'torch'" if "loads" in when else "step 2/"
    lines = []
    try:
        for line in run.stderr:
            lines.append(line)
            if line.startswith(sign):
                break
        time.sleep(0.3)
        os.killpg(run.pid, signum)  # as a terminal and a cluster do: to the workers too
        lines += run.communicate(timeout=60)[1].splitlines()
    finally:
        run.kill()
    said = "\n".join(line for line in lines if not line.startswith(("#", "import ")))
    assert run.returncode == 128 + signum, said
    assert "Traceback" not in said and "KeyboardInterrupt" not in said
    if "trains" in when:
        assert f"interrupted by {signum.name}" in said
        (checkpoint,) = checkpoints_in(tmp_path / "out" / "1-instruct")
        assert problem(checkpoint) is None


@pytest.mark.slow
@pytest.mark.parametrize("dense_only", [False, True])
def test_two_processes_train_as_one_with_twice_the_accumulation(dense_only, tmp_path, reader_folder):
    """DDP over gloo: the same weights, and a clean end. Without the language model its weights have no gradient."""
    stage = {"name": "tower", "dense_weight": 0.5, "guide_weight": 0.0 if dense_only else 0.5}
    recipe = write_recipe(
        tmp_path,
        reader_folder,
        stage={**stage, "lm_weight": 0.0 if dense_only else 1.0},
        trainer={"gradient_accumulation_steps": 2},
    )
    assert main([str(recipe)]) == 0
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    overrides = ["trainer.gradient_accumulation_steps=1", f"trainer.output_dir={tmp_path / 'two'}"]
    # a machine without a GPU need not be told to use none
    said = dense_only or torch.accelerator.is_available()
    overrides.append(f"trainer.use_cpu={str(said).lower()}")
    done = subprocess.run(
        [sys.executable, *launcher, str(TRAIN), str(recipe), *overrides],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    one, two = weights(tmp_path / "out" / "1-tower"), weights(tmp_path / "two" / "1-tower")
    for name in one:
        assert torch.allclose(one[name], two[name], atol=1e-5), name
    first, second = log_of(tmp_path / "out" / "1-tower"), log_of(tmp_path / "two" / "1-tower")
    for a, b in zip(first, second, strict=True):
        assert a["dense_loss"] == pytest.approx(b["dense_loss"], abs=2e-3)
    assert done.stderr.count("step 4/4") == 1, "one process speaks"
