"""Start a training stage: runs `training/train.py` by path, in a process of its own, and prints that command."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent

# Large blocks stay in the process: with glibc's defaults each step of a training on the CPU gives its buffers back
# to the kernel and takes as long again to get them anew.
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": "8589934592",
    "MALLOC_TRIM_THRESHOLD_": "17179869184",
    "MALLOC_TOP_PAD_": "268435456",
}
PATIENCE = {"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "600"}  # seconds that torchrun leaves for a last checkpoint


def find_train_script() -> Path:
    """`training/train.py` of the repository that samvlm runs from, else of the installed wheel.

    Raises ValueError if there is neither.
    """
    places = (PACKAGE.parent, PACKAGE / "_recipes")
    for place in places:
        script = place / "training" / "train.py"
        if script.is_file() and (place / "configs").is_dir():
            return script
    raise ValueError(
        f"training/train.py is neither in {places[0]} nor in {places[1]}; install samvlm from its wheel or "
        "run it from a clone of the repository"
    )


def train_command(arguments: Sequence[str], processes: int = 1) -> tuple[list[str], dict[str, str]]:
    """The command of a training run, and the environment variables that it adds where they are not set.

    Args:
        arguments: a recipe and `section.key=value` settings.
        processes: on this machine; more than one go through torchrun.
    """
    if processes < 1:
        raise ValueError(f"the number of processes must be at least 1, got {processes}")
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [sys.executable, *(torchrun if processes > 1 else []), str(find_train_script()), *arguments]
    added = {**(ALLOCATOR if sys.platform == "linux" else {}), **(PATIENCE if processes > 1 else {})}
    return command, {name: value for name, value in added.items() if name not in os.environ}


def train(arguments: Sequence[str], processes: int = 1) -> int:
    """Print the command of a training run, run it and return its exit code.

    On POSIX systems one process takes the place of this one, so that signals (Ctrl-C, a cluster's SIGTERM) reach it.
    torchrun gets them passed on, and this process ends with their exit code, 128 and the number, which it has not.
    """
    command, added = train_command(arguments, processes)
    line = " ".join(f"{name}={value}" for name, value in added.items())
    print(f"{line} {shlex.join(command)}".strip(), file=sys.stderr, flush=True)
    sys.stdout.flush()
    environment = {**os.environ, **added}
    if processes > 1:
        return _watch(command, environment)
    if os.name == "posix":
        os.execve(command[0], command, environment)
    return subprocess.call(command, env=environment)


def _watch(command: list[str], environment: dict[str, str]) -> int:
    """Run a launcher and pass signals on to it, each once: it is in a session of its own. Returns the exit code."""
    launcher = subprocess.Popen(command, env=environment, start_new_session=True)
    received: list[int] = []

    def pass_on(signum: int, frame: object) -> None:
        received.append(signum)
        launcher.send_signal(signum)

    before = {signum: signal.signal(signum, pass_on) for signum in (signal.SIGTERM, signal.SIGINT)}
    try:
        code = launcher.wait()
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
    return 128 + received[0] if received and code else code
