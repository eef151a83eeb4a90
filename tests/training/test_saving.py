"""Disks that take no more: the old checkpoints stay, and it is said."""

import errno
import os
import resource
import shutil
from types import SimpleNamespace

import pytest
from short_runs import at_micro_batch, log_of, same
from transformers import AutoModelForImageTextToText

from training import saving
from training.checkpoints import checkpoints_in
from training.train import main

FOLDER = "1-instruct"


def no_room(monkeypatch) -> None:
    monkeypatch.setattr(saving.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))


def files_are_limited(monkeypatch) -> None:
    write = saving.Saver.save

    def limited(self, *args):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
        try:
            write(self, *args)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    monkeypatch.setattr(saving.Saver, "save", limited)


def disk_is_full(name: str):
    """No space left, found out when `name` is brought to the disk."""

    def act(monkeypatch) -> None:
        fsync = os.fsync

        def full(descriptor: int) -> None:
            if os.readlink(f"/proc/self/fd/{descriptor}").endswith(name):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", full)

    return act


FULL = {
    "no room": (no_room, "and 0 MB are free"),
    "limit on files": (files_are_limited, ""),
    "optimizer": (disk_is_full("optimizer.pt"), "No space left on device"),
    "manifest": (disk_is_full("manifest.json"), "No space left on device"),
}


@pytest.mark.parametrize("kind", FULL)
def test_a_full_disk_keeps_the_old_checkpoint_and_says_so(
    kind, six_steps, unbroken, tmp_path, monkeypatch, caplog, capsys
):
    fill, told = FULL[kind]
    folder = tmp_path / "out" / FOLDER
    with monkeypatch.context() as filled:
        at_micro_batch(6, lambda: fill(filled), filled)  # the first save has room, the others do not
        assert main([six_steps]) == 1
    failed = [message for message in caplog.messages if "was not saved" in message]
    assert [message.split()[0] for message in failed] == ["checkpoint-4", "checkpoint-6"], "the run went on"
    assert all(told in message and f"The last is {folder / 'checkpoint-2'}" in message for message in failed)
    said = capsys.readouterr().err
    assert "the steps are done, but not saved: " in said and "Traceback" not in said
    assert [path.name for path in folder.iterdir() if path.is_dir()] == ["checkpoint-2"], (
        "nothing half-written"
    )
    assert main([six_steps, "--resume", "auto"]) == 0
    assert same(unbroken, folder) and log_of(unbroken) == log_of(folder)


def test_a_passing_shortage_costs_one_save(six_steps, unbroken, tmp_path, monkeypatch, caplog):
    usage = shutil.disk_usage
    at_micro_batch(6, lambda: no_room(monkeypatch), monkeypatch)
    save = saving.Saver.save

    def then_there_is_room(self, *args):
        save(self, *args)
        monkeypatch.setattr(saving.shutil, "disk_usage", usage)

    monkeypatch.setattr(saving.Saver, "save", then_there_is_room)
    assert main([six_steps]) == 0
    assert sum("was not saved" in message for message in caplog.messages) == 1
    folder = tmp_path / "out" / FOLDER
    assert same(unbroken, folder)
    assert [path.name for path in checkpoints_in(folder)] == ["checkpoint-2", "checkpoint-6"]


def test_a_result_that_does_not_fit_is_written_later(six_steps, unbroken, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "out" / FOLDER
    with monkeypatch.context() as filled:
        disk_is_full("log.json")(filled)
        assert main([six_steps]) == 1
    said = capsys.readouterr().err
    assert "the result was not saved: [Errno 28] No space left" in said and "checkpoint-6: make room" in said
    assert not (folder / "model.safetensors").exists()
    assert main([six_steps, "--resume", "auto"]) == 0
    assert same(unbroken, folder) and log_of(unbroken) == log_of(folder)


def test_faults_of_the_program_are_no_faults_of_the_disk(six_steps, monkeypatch):
    def breaks(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr(saving, "recorded", breaks)
    with pytest.raises(RuntimeError, match="a bug"):
        main([six_steps])


def test_the_room_that_is_asked_for(tmp_path, unbroken):
    """What the formula expects, where there is no checkpoint to go by, is about what one takes."""
    model = AutoModelForImageTextToText.from_pretrained(unbroken)
    model.model.vision_tower.requires_grad_(False)
    real = sum(path.stat().st_size for path in (unbroken / "checkpoint-6").iterdir())
    known, guessed = saving.expected_bytes(unbroken, model), saving.expected_bytes(tmp_path, model)
    assert known == pytest.approx(real, rel=0.05) and guessed == pytest.approx(real, rel=0.5)
