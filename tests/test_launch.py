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


def test_several_machines():
    machines = launch.Machines(2, 1, "node0:1234")
    command, added = launch.train_command(["debug_cpu"], 1, machines)
    assert command[1:3] == ["-m", "torch.distributed.run"] and "--standalone" not in command
    assert command[3:8] == [
        "--nnodes=2", "--node-rank=1", "--nproc-per-node=1", "--master-addr=node0", "--master-port=1234",
    ]  # fmt: skip
    assert set(launch.PATIENCE) <= set(added), "torchrun waits for the last checkpoint"
    assert launch.Machines(2, 0, "10.0.0.1").address == ("10.0.0.1", str(launch.PORT))
    with pytest.raises(ValueError, match="--node-rank"):
        launch.train_command([], 8, launch.Machines(2, None, "node0"))
    for wrong in ((2, 0, None), (2, 2, "a"), (2, -1, "a"), (1, 1, None), (0, 0, None), (2, 0, "a:b")):
        with pytest.raises(ValueError, match=r"--nnodes|--node-rank|--master"):
            launch.Machines(*wrong)


def test_the_commands_of_every_machine_are_printed():
    lines = launch.launch_lines(["a recipe", "a.b=[1, 2]"], 8, launch.Machines(3, None, "node0"))
    commands = [shlex.split(line) for line in lines if not line.startswith("#")]
    torchrun, accelerate = commands[:3], commands[3:]
    assert all(command[-2:] == ["a recipe", "a.b=[1, 2]"] for command in commands)
    assert [word for command in torchrun for word in command if "rank" in word] == [
        f"--node-rank={rank}" for rank in range(3)
    ]
    for rank, command in enumerate(accelerate):
        assert {
            "--num_processes=24",
            "--num_machines=3",
            f"--machine_rank={rank}",
            "--main_process_ip=node0",
        } <= {*command}
    (line,) = [line for line in launch.launch_lines(["debug_cpu"]) if not line.startswith("#")]
    assert "torch.distributed" not in line and "accelerate" not in line
    (mine,) = [
        line
        for line in launch.launch_lines(["debug_cpu"], 2, launch.Machines(2, 1, "node0"))
        if "torch.distributed" in line
    ]
    assert "--node-rank=1" in mine


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
