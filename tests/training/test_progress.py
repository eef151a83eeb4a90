"""The lines that a run prints."""

import re
from types import SimpleNamespace

import pytest
from transformers import TrainerControl

from training.progress import Progress

LOGS = {
    "loss": 2.44119,
    "learning_rate": 2e-05,
    "grad_norm": 1.3,
    "dense_accuracy": 0.4129,
    "epoch": 0.5,
    "step": 40,
}


def state(step: int = 40, first: bool = True) -> SimpleNamespace:
    return SimpleNamespace(global_step=step, max_steps=80, is_world_process_zero=first)


def test_a_line_says_how_far_how_well_and_how_long(monkeypatch):
    clock = iter([100.0, 160.0])
    monkeypatch.setattr("training.progress.time.monotonic", lambda: next(clock))
    progress = Progress()
    progress.started, progress.first_step = 100.0, 20  # resumed at step 20
    line = progress.line(40, 80, dict(LOGS))
    assert line == (
        "step 40/80   50%  loss 2.441  dense_accuracy 0.4129  learning_rate 2.00e-05  grad_norm 1.3  "
        "3.00 s a step  0:02:00 left"
    )


@pytest.mark.parametrize(
    ("first", "logs", "lines"), [(True, LOGS, 1), (False, LOGS, 0), (True, {"train_loss": 1}, 0)]
)
def test_only_the_first_process_speaks_and_only_of_steps(first, logs, lines, caplog):
    progress = Progress()
    with caplog.at_level("INFO", logger="samvlm.training"):
        progress.on_train_begin(None, state(0, first), TrainerControl())
        progress.on_step_end(None, state(1, first), TrainerControl())
        progress.on_log(None, state(40, first), TrainerControl(), logs=dict(logs))
        progress.on_train_end(None, state(80, first), TrainerControl())
    assert len(caplog.messages) == lines


def test_a_terminal_gets_a_bar_and_the_lines_above_it(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    progress = Progress()
    progress.on_train_begin(None, state(0), TrainerControl())
    progress.on_step_end(None, state(40), TrainerControl())
    assert progress.bar is not None and progress.bar.n == 40
    progress.on_log(None, state(40), TrainerControl(), logs=dict(LOGS))
    progress.on_train_end(None, state(80), TrainerControl())
    assert progress.bar is None
    assert re.search(r"^step 40/80", capsys.readouterr().err.replace("\r", "\n"), re.M)
