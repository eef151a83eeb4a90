"""samvlm/launch.py: the command of a training run."""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from samvlm import launch

ROOT = Path(__file__).resolve().parents[1]


def test_the_script_is_that_of_the_repository():
    assert launch.find_train_script() == ROOT / "training" / "train.py"


def test_a_wheel_brings_the_script_along(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "samvlm"
    monkeypatch.setattr(launch, "PACKAGE", package)
    package.mkdir(parents=True)
    with pytest.raises(ValueError, match="install samvlm from its wheel"):
        launch.find_train_script()
    script = package / "_recipes" / "training" / "train.py"
    script.parent.mkdir(parents=True)
    script.touch()
    (package / "_recipes" / "configs").mkdir()
    (package.parent / "training").mkdir()  # somebody else's
    (package.parent / "training" / "train.py").touch()
    assert launch.find_train_script() == script


def test_one_process_and_several():
    alone, _ = launch.train_command(["debug_cpu", "trainer.max_steps=3"])
    assert alone == [sys.executable, str(ROOT / "training" / "train.py"), "debug_cpu", "trainer.max_steps=3"]
    together, _ = launch.train_command(["debug_cpu"], processes=2)
    assert together[1:5] == ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    assert together[5:] == alone[1:3]
    environments = [launch.train_command(["debug_cpu"], processes)[1] for processes in (1, 2)]
    assert set(environments[1]) - set(environments[0]) == set(launch.PATIENCE)
    with pytest.raises(ValueError, match="at least 1"):
        launch.train_command([], processes=0)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's settings")
def test_settings_of_the_user_win(monkeypatch):
    monkeypatch.setenv("MALLOC_TOP_PAD_", "1")
    _, added = launch.train_command([])
    assert "MALLOC_TOP_PAD_" not in added and set(added) < set(launch.ALLOCATOR)


@pytest.mark.skipif(os.name != "posix", reason="POSIX")
def test_the_command_is_printed_and_takes_over_with_its_exit_code(tmp_path):
    script = tmp_path / "training" / "train.py"
    script.parent.mkdir()
    script.write_text("import os, sys; print(sys.argv[1:], os.environ['MALLOC_TOP_PAD_']); sys.exit(7)")
    (tmp_path / "configs").mkdir()
    program = (
        "import pathlib, runpy, sys; launch = runpy.run_path(sys.argv[1]);"
        "launch['train'].__globals__['PACKAGE'] = pathlib.Path(sys.argv[2]);"
        "sys.exit(launch['train'](['a recipe', 'a.b=1']))"
    )
    command = [sys.executable, "-c", program, launch.__file__, str(tmp_path / "samvlm")]
    environment = {**os.environ, "MALLOC_TOP_PAD_": "5"}
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert run.returncode == 7 and run.stdout == "['a recipe', 'a.b=1'] 5\n"
    (printed,) = run.stderr.splitlines()
    assert shlex.split(printed)[-4:] == [sys.executable, str(script), "a recipe", "a.b=1"]


@pytest.mark.skipif(os.name != "posix", reason="POSIX")
@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("import sys; sys.exit(7)", 7),
        # As torchrun does: it ends with 1 whatever the signal was.
        ("import os, signal, sys, time; signal.signal(15, lambda *_: sys.exit(1));"
         "os.kill(os.getppid(), 15); time.sleep(60)", 143),
        ("import os, signal, sys, time; signal.signal(2, lambda *_: sys.exit(0));"
         "os.kill(os.getppid(), 2); time.sleep(60)", 0),
    ],
    ids=["no signal", "SIGTERM", "SIGINT, all done"],
)  # fmt: skip
def test_a_launchers_exit_code_tells_the_signal(program, code, monkeypatch):
    monkeypatch.setattr(launch, "train_command", lambda *_: ([sys.executable, "-c", program], {}))
    handlers = [signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGINT)]
    assert launch.train(["a recipe"], processes=2) == code
    assert [signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGINT)] == handlers
