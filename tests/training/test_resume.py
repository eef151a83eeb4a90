"""Where a run starts: what may change, what is refused, and what force does."""

import json
import os
import pickle
import shutil
import signal
from pathlib import Path

import pytest
import torch
from short_runs import STRIPS, log_of, same, write_recipe

from samvlm.data.lock import alone_in
from training.checkpoints import MANIFEST, problem, seal
from training.recipe import load_recipe
from training.resume import describe, differences
from training.train import main, read_arguments


@pytest.fixture(scope="module")
def first_run(tmp_path_factory, reader_folder) -> Path:
    """A run of four steps on strips and a file of chats, with checkpoints 2 and 4."""
    folder = tmp_path_factory.mktemp("first")
    turns = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]
    lines = [json.dumps({"id": f"chat{number}", "conversations": turns}) for number in range(3)]
    (folder / "chats.jsonl").write_text("\n".join(lines))
    sources = [STRIPS, {"records": str(folder / "chats.jsonl")}]
    recipe = write_recipe(folder, reader_folder, data={"sources": sources}, trainer={"schedule": "constant"})
    assert main([str(recipe)]) == 0
    return folder


@pytest.fixture
def run(first_run, tmp_path, monkeypatch, capsys):
    """Go on in a copy of the first run, or of some of its checkpoints; returns exit code and what was said."""
    folder = tmp_path / "copy" / "1-instruct"

    def go_on(*words: str, without: tuple[str, ...] = ()) -> tuple[int, str]:
        if not folder.exists():
            shutil.copytree(first_run / "out" / "1-instruct", folder)
        for name in without:
            path = folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        code = main([str(first_run / "recipe.yaml"), f"trainer.output_dir={folder.parent}", *words])
        return code, capsys.readouterr().err

    go_on.folder = folder
    return go_on


def test_the_command_line():
    assert read_arguments(["a.yaml", "x.y=1=2", "--resume", "auto", "--force"]) == (
        "a.yaml",
        ["x.y=1=2", 'trainer.resume="auto"', "trainer.force=true"],
    )
    assert read_arguments(["--resume=runs/a: b", "a.yaml"]) == ("a.yaml", ['trainer.resume="runs/a: b"'])
    for wrong in (["a.yaml", "--resume"], ["a.yaml", "--resume", "--force"], ["a", "--forse"], ["--force"]):
        with pytest.raises(ValueError):
            read_arguments(wrong)


def test_a_copied_folder_goes_on(first_run, run, caplog):
    whole = first_run / "out" / "1-instruct"
    with caplog.at_level("INFO", logger="samvlm.training"):
        code, _ = run("--resume", "auto", without=("checkpoint-4", "log.json", "model.safetensors"))
    assert code == 0 and same(whole, run.folder) and log_of(whole) == log_of(run.folder)
    assert f"going on from {run.folder / 'checkpoint-2'}" in caplog.messages
    with caplog.at_level("INFO", logger="samvlm.training"):
        assert run("--resume", "auto")[0] == 0
    assert any(message.startswith("done already, at step 4") for message in caplog.messages)


def test_the_one_that_is_passed_over_is_told(first_run, run, caplog):
    code, _ = run("--resume", "auto", without=("checkpoint-4/optimizer.pt", MANIFEST))
    assert code == 0 and same(first_run / "out" / "1-instruct", run.folder)
    assert f"passed over {run.folder / 'checkpoint-4'}: optimizer.pt is missing" in caplog.messages
    assert problem(run.folder / "checkpoint-4") is None, "it was written anew"


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"])
def test_missing_state_refuses_and_is_named(name, run):
    code, said = run("--resume", "auto", without=("checkpoint-2", f"checkpoint-4/{name}"))
    assert code == 2 and f"checkpoint-4: {name} is missing" in said
    code, said = run("--resume", str(run.folder / "checkpoint-4"))
    assert code == 2 and f"{name} is missing" in said
    assert (run.folder / "checkpoint-4").is_dir(), "nothing was touched"


def test_nothing_complete_starts_afresh_only_by_force(first_run, run):
    assert run("--resume", "auto", without=("checkpoint-2", "checkpoint-4/optimizer.pt"))[0] == 2
    assert run("--resume", "auto", "--force")[0] == 0
    assert same(first_run / "out" / "1-instruct", run.folder)


def test_checkpoints_of_an_earlier_run_are_not_in_the_way_unnoticed(run):
    code, said = run()
    assert code == 2 and "has checkpoint-4 of an earlier run" in said and "--resume auto" in said
    code, said = run("--resume", str(run.folder / "checkpoint-2"))
    assert code == 2 and "has checkpoint-4 of an earlier run" in said
    assert run("--resume", str(run.folder / "checkpoint-2"), "--force")[0] == 0
    assert run("--force", "trainer.max_steps=1")[0] == 0
    assert sorted(path.name for path in run.folder.glob("checkpoint-*")) == ["checkpoint-1"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("trainer.learning_rate=1e-4", "trainer.learning_rate: 0.003 -> 0.0001"),
        ("trainer.seed=3", "trainer.seed: 0 -> 3"),
        ("data.max_pixels=8192", "data.max_pixels: 16384 -> 8192"),
        ("stage.train=[language_model]", 'stage.train: null -> ["language_model"]'),
    ],
)
def test_a_changed_recipe_is_shown_and_refused(change, told, run, caplog):
    without = ("checkpoint-4", MANIFEST)
    code, said = run("--resume", "auto", change, without=without)
    assert code == 2 and told in said and "--force" in said
    if "stage" not in change:  # there the optimizer's state is another one
        assert run("--resume", "auto", change, "--force")[0] == 0
        assert any(told in message for message in caplog.messages)


def test_a_changed_record_file_is_shown_and_refused_and_another_path_is_not(first_run, run, tmp_path):
    moved = tmp_path / "moved.jsonl"
    shutil.copy(first_run / "chats.jsonl", moved)
    sources = json.dumps([STRIPS, {"records": str(moved)}])
    assert run("--resume", "auto", f"data.sources={sources}", without=("checkpoint-4", MANIFEST))[0] == 0
    moved.write_text(moved.read_text().replace("Ho", "Hu"))
    code, said = run("--resume", "auto", f"data.sources={sources}", "trainer.max_steps=6")
    assert code == 2 and "data.sources[1].records: " in said and str(moved) in said


def test_what_may_change(run):
    harmless = ("trainer.save_steps=1", "trainer.logging_steps=1", "trainer.save_total_limit=1")
    assert run("--resume", "auto", *harmless, "data.workers=1", "trainer.max_steps=5")[0] == 0
    assert log_of(run.folder)[-1]["step"] == 5


def test_processes_and_the_length_of_a_falling_schedule_count(first_run):
    recipe = load_recipe(first_run / "recipe.yaml", ["trainer.schedule=cosine"])[0]
    was = describe(recipe, 1)
    assert differences(was, describe(recipe, 1)) == []
    assert differences(was, describe(recipe, 2)) == ["processes: 1 -> 2"]
    recipe.trainer.max_steps = 9
    assert differences(was, describe(recipe, 1)) == ["trainer.max_steps: 4 -> 9"]
    recipe.trainer.max_steps = 4
    del was["recipe"]["trainer"]["seed"], was["recipe"]["stage"]["guide_layers"]
    assert differences(was, describe(recipe, 1)) == [], "what an older version did not write had its default"


def test_a_cache_of_features_may_have_moved_and_not_come_or_gone(first_run):
    told = []
    for before, after in ((None, "a"), ("a", "b"), ("b", None)):
        was, now = (load_recipe(first_run / "recipe.yaml")[0] for _ in range(2))
        was.data.feature_cache, now.data.feature_cache = before, after
        told.append(differences(describe(was, 1), describe(now, 1)))
    assert told == [['data.feature_cache: null -> "a"'], [], ['data.feature_cache: "b" -> null']]


def test_a_manifest_that_does_not_say_whose_it_is(run):
    run("--resume", "auto", "trainer.max_steps=5")
    path = run.folder / "checkpoint-5" / MANIFEST
    about = json.loads(path.read_text())
    path.write_text(json.dumps({name: about[name] for name in ("files", "world_size")}))
    code, said = run("--resume", "auto", "trainer.max_steps=6")
    assert code == 2 and "checkpoint-5 is of another run: what run it is of: unknown" in said
    assert run("--resume", "auto", "trainer.max_steps=6", "--force")[0] == 0


def test_other_frozen_weights_are_refused(tmp_path, reader_folder, capsys):
    """A checkpoint of adapters has no base weights in it: going on over another base would go unnoticed."""
    base = tmp_path / "base"
    shutil.copytree(reader_folder, base)
    recipe = write_recipe(tmp_path, str(base), stage={"lora": {"r": 2}}, trainer={"schedule": "constant"})
    assert main([str(recipe)]) == 0
    more = [str(recipe), "--resume", "auto", "trainer.max_steps=5"]
    shutil.copytree(base, tmp_path / "moved")
    assert main([*more, f"model.init_from={tmp_path / 'moved'}"]) == 0
    from safetensors.torch import load_file, save_file

    weights = load_file(base / "model.safetensors")
    weights["model.vision_tower.pos_embed"] += 1
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    more[-1] = "trainer.max_steps=6"
    assert main(more) == 2
    assert "frozen weights: those of" in capsys.readouterr().err
    assert main([*more, "--force"]) == 0


def test_no_pickle_runs_code(run, tmp_path):
    """An optimizer state that would write a file when it is loaded, listed in a right manifest."""
    mark = tmp_path / "mark"

    class Evil:
        def __reduce__(self):
            return Path.touch, (mark,)

    assert run("--resume", "auto", without=("checkpoint-4", MANIFEST))[0] == 0
    assert not list(run.folder.rglob("*.bin")), "no training_args.bin"
    shutil.rmtree(run.folder / "checkpoint-4")
    (run.folder / MANIFEST).unlink()
    checkpoint = run.folder / "checkpoint-2"
    torch.save(Evil(), checkpoint / "optimizer.pt")
    about = json.loads((checkpoint / MANIFEST).read_text())
    del about["files"]
    seal(checkpoint, **about)
    code, said = run("--resume", "auto")
    assert code == 2 and "Traceback" not in said and not mark.exists()
    with pytest.raises(pickle.UnpicklingError):
        torch.load(checkpoint / "optimizer.pt", weights_only=True)


def test_a_checkpoint_of_one_stage_lets_the_others_look_for_their_own(tmp_path, reader_folder, caplog):
    recipe = write_recipe(tmp_path, reader_folder, stage={"name": "align"})
    first = json.loads(recipe.read_text())
    second = {**first, "model": {"init_from": "previous"}, "stage": {"name": "instruct"}}
    recipe.write_text(json.dumps(first) + "\n---\n" + json.dumps(second))
    assert main([str(recipe)]) == 0
    folder = tmp_path / "out" / "2-instruct"
    shutil.rmtree(folder / "checkpoint-4")
    with caplog.at_level("INFO", logger="samvlm.training"):
        assert main([str(recipe), "--resume", str(folder / "checkpoint-2")]) == 0
    assert any(message.startswith("done already") for message in caplog.messages)
    assert (folder / "checkpoint-4").is_dir()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX")
def test_two_runs_do_not_share_a_folder(tmp_path, reader_folder, capsys):
    recipe = str(write_recipe(tmp_path, reader_folder))
    ready, go = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        with alone_in(tmp_path / "out" / "1-instruct", "nothing"):
            os.write(ready[1], b"x")
            os.read(go[0], 1)
            os.kill(os.getpid(), signal.SIGKILL)
    os.read(ready[0], 1)
    assert main([recipe]) == 2
    said = capsys.readouterr().err
    assert f"is in use by another run (process {pid} on " in said and "trainer.output_dir" in said
    os.write(go[1], b"x")
    os.waitpid(pid, 0)
    assert main([recipe]) == 0, "what was killed holds nothing"
