"""Runs that are told to end: nothing is lost, and the exit code says so."""

import os
import signal

import pytest
from short_runs import at_micro_batch, log_of, same

from training.checkpoints import checkpoints_in, problem
from training.signals import Interrupted, Signals
from training.train import main

FOLDER = "1-instruct"


@pytest.mark.parametrize(("signum", "workers"), [(signal.SIGTERM, 2), (signal.SIGINT, 0)])
def test_a_signal_saves_behind_the_step_and_the_run_goes_on_to_the_same_end(
    signum, workers, six_steps, unbroken, tmp_path, monkeypatch, capfd
):
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    at_micro_batch(5, lambda: os.kill(os.getpid(), signum), monkeypatch)  # amid step 3
    words = [six_steps, "--resume", "auto", f"data.workers={workers}"]
    assert main(words) == 128 + signum
    assert f"interrupted by {signum.name}; --resume auto" in capfd.readouterr().err
    folder = tmp_path / "out" / FOLDER
    assert [path.name for path in checkpoints_in(folder)] == ["checkpoint-2", "checkpoint-3"]
    assert problem(folder / "checkpoint-3") is None and not (folder / "log.json").exists()
    assert {number: signal.getsignal(number) for number in before} == before
    assert main(words) == 0
    assert same(unbroken, folder) and log_of(unbroken) == log_of(folder)


def test_a_signal_in_the_last_step_still_counts(six_steps, tmp_path, monkeypatch):
    at_micro_batch(12, lambda: os.kill(os.getpid(), signal.SIGTERM), monkeypatch)
    assert main([six_steps]) == 143
    assert (tmp_path / "out" / FOLDER / "log.json").is_file(), "the steps were done"
    assert main([six_steps, "--resume", "auto"]) == 0


def test_a_signal_before_the_first_step_ends_at_once(six_steps, tmp_path, monkeypatch):
    monkeypatch.setattr("training.train.build_dataset", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    assert main([six_steps]) == 143
    assert not list((tmp_path / "out").rglob("checkpoint-*"))


def test_a_second_ctrl_c_ends_at_once_and_a_second_sigterm_does_not():
    def told_twice(signum: int) -> int:
        pid = os.fork()
        if pid == 0:
            os.close(2)
            with Signals() as signals:
                signals.deferred = True
                os.kill(os.getpid(), signum)
                os.kill(os.getpid(), signum)
                os._exit(5 if signals.received == signum else 6)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert told_twice(signal.SIGINT) == 130
    assert told_twice(signal.SIGTERM) == 5
    with pytest.raises(Interrupted, match="SIGTERM"), Signals():
        os.kill(os.getpid(), signal.SIGTERM)
