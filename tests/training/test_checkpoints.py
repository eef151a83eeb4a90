"""Checkpoints on disk: sealed, renamed, judged, rotated."""

import errno
import json
import os
from pathlib import Path

import pytest

from training.checkpoints import (
    MANIFEST,
    clear_stale,
    finish,
    has_result,
    last_complete,
    missing_state,
    problem,
    publish,
    rotate,
    seal,
)

STATE = ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json")


def make(folder: Path, step: int, world: int = 1, best: str | None = None) -> Path:
    """A checkpoint of small files."""
    partial = folder / f"checkpoint-{step}.partial"
    partial.mkdir(parents=True)
    for name in STATE:
        (partial / name).write_text(f"{name} of step {step}")
    state = {"global_step": step, "best_model_checkpoint": best}
    (partial / "trainer_state.json").write_text(json.dumps(state))
    seal(partial, step=step, world_size=world)
    finish(partial, folder / f"checkpoint-{step}")
    return folder / f"checkpoint-{step}"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_last_complete_one_is_taken(tmp_path):
    assert last_complete(tmp_path) == (None, [])
    for step in (2, 4, 10):
        make(tmp_path, step)
    assert last_complete(tmp_path) == (tmp_path / "checkpoint-10", [])
    (tmp_path / "checkpoint-x").mkdir()
    (tmp_path / "checkpoint-12.partial").mkdir()
    (tmp_path / "checkpoint-10" / "optimizer.pt").unlink()
    found, passed_over = last_complete(tmp_path)
    assert found == tmp_path / "checkpoint-4"
    assert passed_over == [
        (tmp_path / "checkpoint-12.partial", "its save was not finished"),
        (tmp_path / "checkpoint-10", "optimizer.pt is missing"),
    ]


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda c: (c / MANIFEST).unlink(), "manifest.json is missing"),
        (lambda c: (c / MANIFEST).write_text("{"), "manifest.json is damaged"),
        (lambda c: (c / MANIFEST).write_text("[]"), "manifest.json is damaged"),
        (lambda c: (c / MANIFEST).write_text('{"files": {"a": {"size": 1}}}'), "manifest.json is damaged"),
        (lambda c: (c / "rng_state.pth").unlink(), "rng_state.pth is missing"),
        (lambda c: os.truncate(c / "model.safetensors", 3), "model.safetensors has 3 of 27 bytes"),
        (lambda c: (c / "scheduler.pt").write_text("scheduler.pt of step 7"), "scheduler.pt is damaged"),
    ],
)
def test_damage_is_found_and_named(damage, told, tmp_path):
    checkpoint = make(tmp_path, 2)
    assert problem(checkpoint) is None
    damage(checkpoint)
    assert problem(checkpoint).startswith(told)
    assert last_complete(tmp_path)[0] is None


def test_the_state_of_a_run_is_asked_for():
    assert missing_state(set(STATE), 1) is None
    for name in STATE:
        assert missing_state(set(STATE) - {name}, 1) == name
    assert missing_state(set(STATE), 2) == "rng_state_0.pth"
    assert missing_state({*STATE, "rng_state_0.pth"}, 2) == "rng_state_1.pth"
    assert missing_state({*STATE, "rng_state_0.pth", "rng_state_1.pth"}, 2) is None
    shared = {"trainer_state.json", "scheduler.pt", "rng_state_0.pth", "rng_state_1.pth"}
    part = "global_step3/bf16_zero_pp_rank_{}_mp_rank_00_optim_states.pt"
    zero = {*shared, "global_step3/mp_rank_00_model_states.pt", part.format(0), part.format(1)}
    assert missing_state(zero, 2) is None
    assert missing_state(zero - {part.format(1)}, 2) == "the optimizer's state of process 1"
    assert (
        missing_state(zero - {"global_step3/mp_rank_00_model_states.pt"}, 2) == "DeepSpeed's model_states.pt"
    )
    fsdp = {*shared, "model.safetensors", "optimizer_0.pt", "optimizer_1.pt"}
    assert missing_state(fsdp, 2) is None
    assert missing_state(fsdp - {"optimizer_0.pt"}, 2) == "the optimizer's state of process 0"


def test_only_what_is_complete_gets_the_name(tmp_path, monkeypatch):
    partial = tmp_path / "checkpoint-2.partial"
    order = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (order.append(os.readlink(f"/proc/self/fd/{fd}")), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append(f"-> {b}"), replace(a, b)))
    final = make(tmp_path, 2)
    places = [order.index(str(partial / name)) for name in STATE]
    manifest, listing = order.index(str(partial / MANIFEST)), order.index(str(partial))
    assert max(places) < manifest < listing < order.index(f"-> {final}") < len(order) - 1
    assert order[-1] == str(tmp_path), "the new name is brought to the disk too"
    listed = json.loads((final / MANIFEST).read_text())
    assert sorted(listed["files"]) == sorted(STATE) and listed["step"] == 2
    assert not partial.exists()


def test_a_damaged_one_makes_way_for_a_new_one(tmp_path):
    checkpoint = make(tmp_path, 2)
    (checkpoint / "optimizer.pt").unlink()
    make(tmp_path, 2)
    assert problem(checkpoint) is None and names(tmp_path) == ["checkpoint-2"]


def test_rotation_counts_complete_ones_and_spares(tmp_path):
    for step in (2, 4, 6, 8, 10):
        make(tmp_path, step)
    (tmp_path / "checkpoint-8" / "optimizer.pt").unlink()
    rotate(tmp_path, 0, set())
    assert len(names(tmp_path)) == 5
    rotate(tmp_path, 2, {tmp_path / "checkpoint-2"})
    assert names(tmp_path) == ["checkpoint-10", "checkpoint-2", "checkpoint-6"]
    rotate(tmp_path, 1, set())
    assert names(tmp_path) == ["checkpoint-10"]


def test_rotation_never_takes_the_only_complete_one(tmp_path):
    for step in (2, 4):
        make(tmp_path, step)
    (tmp_path / "checkpoint-4" / "optimizer.pt").unlink()
    rotate(tmp_path, 1, set())
    assert last_complete(tmp_path)[0] == tmp_path / "checkpoint-2"
    (tmp_path / "checkpoint-2" / "optimizer.pt").unlink()
    rotate(tmp_path, 1, set())
    assert names(tmp_path) == ["checkpoint-2"], "none is complete: a person may save something of it"


def test_what_cut_off_saves_left_is_cleared_and_nothing_else(tmp_path):
    make(tmp_path, 2)
    for name in ("checkpoint-4.partial", "checkpoint-1.deleted", "result.partial", "my.partial"):
        (tmp_path / name).mkdir()
    clear_stale(tmp_path)
    clear_stale(tmp_path / "nowhere")
    assert names(tmp_path) == ["checkpoint-2", "my.partial"]


def test_a_result_is_there_whole_or_has_no_manifest(tmp_path, monkeypatch):
    def write(text: str, *files: str) -> Path:
        partial = tmp_path / "result.partial"
        (partial / "inner").mkdir(parents=True)
        for name in files:
            (partial / name).write_text(text)
        seal(partial, step=1)
        return partial

    assert not has_result(tmp_path)
    publish(write("old", "a", "b", "inner/c"), tmp_path)
    assert has_result(tmp_path) and (tmp_path / "inner" / "c").read_text() == "old"
    (tmp_path / "a").write_text("changed by hand")
    assert has_result(tmp_path)

    partial, replace = write("new", "a", "inner/c"), os.replace

    def fails_at_the_second(source, target):
        if Path(target).name == "c":
            raise OSError(errno.EIO, "the disk is gone")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fails_at_the_second)
    with pytest.raises(OSError, match="the disk is gone"):
        publish(partial, tmp_path)
    assert not has_result(tmp_path), "half of the old one and half of the new one is none"
    monkeypatch.setattr(os, "replace", replace)
    clear_stale(tmp_path)
    publish(write("new", "a", "inner/c"), tmp_path)
    assert has_result(tmp_path) and (tmp_path / "a").read_text() == "new"
