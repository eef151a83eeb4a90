"""Start a training stage: runs `training/train.py` by path, in a process of its own, and prints that command.

Several processes go through torchrun, on one machine or many.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent

# Large blocks stay in the process: with glibc's defaults each step of a training on the CPU gives its buffers back
# to the kernel and takes as long again to get them anew.
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": "8589934592",
    "MALLOC_TRIM_THRESHOLD_": "17179869184",
    "MALLOC_TOP_PAD_": "268435456",
}
PORT = 29500  # torchrun's own
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


@dataclass(frozen=True)
class Machines:
    """The machines of a run.

    count:  how many; each runs as many processes
    rank:   the number of this one, from 0; the first one's is 0
    master: HOST or HOST:PORT of the first one, as the others see it
    """

    count: int = 1
    rank: int | None = None
    master: str | None = None

    def __post_init__(self):
        if self.count < 1:
            raise ValueError(f"the number of machines (--nnodes) must be at least 1, got {self.count}")
        if self.count > 1 and not self.master:
            raise ValueError(
                f"--nnodes {self.count} needs --master HOST or HOST:PORT: the first machine's address"
            )
        if self.rank is not None and not 0 <= self.rank < self.count:
            raise ValueError(
                f"--node-rank must be from 0 to {self.count - 1} with --nnodes {self.count}, got {self.rank}"
            )
        if self.address[1] and not self.address[1].isdecimal():
            raise ValueError(f"--master {self.master}: the port is no number")

    @property
    def address(self) -> tuple[str, str]:
        """Host and port of the first machine."""
        host, _, port = (self.master or "").partition(":")
        return host, port or str(PORT)


ALONE = Machines()


def train_command(
    arguments: Sequence[str], processes: int = 1, machines: Machines = ALONE
) -> tuple[list[str], dict[str, str]]:
    """The command of a training run on one machine, and the environment variables that it adds where they are not set.

    Args:
        arguments: a recipe and `section.key=value` settings.
        processes: on each machine; more than one in all go through torchrun.
        machines: of the run. Raises ValueError where there are more and this one's rank is not said.
    """
    if processes < 1:
        raise ValueError(f"the number of processes must be at least 1, got {processes}")
    several = processes * machines.count > 1
    torchrun = ["-m", "torch.distributed.run"]
    if machines.count == 1:
        torchrun += ["--standalone", f"--nproc-per-node={processes}"]
    elif machines.rank is None:
        raise ValueError(
            f"--nnodes {machines.count} needs --node-rank: 0 on the first machine, 1 on the second …"
        )
    else:
        host, port = machines.address
        torchrun += [
            f"--nnodes={machines.count}",
            f"--node-rank={machines.rank}",
            f"--nproc-per-node={processes}",
        ]
        torchrun += [f"--master-addr={host}", f"--master-port={port}"]
    command = [sys.executable, *(torchrun if several else []), str(find_train_script()), *arguments]
    added = {**(ALLOCATOR if sys.platform == "linux" else {}), **(PATIENCE if several else {})}
    return command, {name: value for name, value in added.items() if name not in os.environ}


def accelerate_command(arguments: Sequence[str], processes: int = 1, machines: Machines = ALONE) -> list[str]:
    """The same run by `accelerate launch`; on CPUs too (trainer.use_cpu), for its --cpu starts one process only."""
    total = processes * machines.count
    command = [sys.executable, "-m", "accelerate.commands.launch", f"--num_processes={total}"]
    command += ["--multi_gpu"] if total > 1 else []
    command += [f"--num_machines={machines.count}", "--mixed_precision=no", "--dynamo_backend=no"]
    if machines.count > 1:
        host, port = machines.address
        command += [
            f"--machine_rank={machines.rank}",
            f"--main_process_ip={host}",
            f"--main_process_port={port}",
        ]
    return [*command, str(find_train_script()), *arguments]


def launch_lines(arguments: Sequence[str], processes: int = 1, machines: Machines = ALONE) -> list[str]:
    """The commands of a run for every machine, as lines for a shell: by torchrun, then by accelerate."""
    ranks = range(machines.count) if machines.rank is None else [machines.rank]
    here = [Machines(machines.count, rank, machines.master) for rank in ranks]
    lines = []
    for machine in here:
        command, added = train_command(arguments, processes, machine)
        where = f"machine {machine.rank}" if machines.count > 1 else "this machine"
        lines += [f"# {where}", shell_line(command, added)]
    if processes * machines.count > 1:
        lines.append("# or by accelerate")
        lines += [shell_line(accelerate_command(arguments, processes, machine), {}) for machine in here]
    return lines


def shell_line(command: list[str], added: dict[str, str]) -> str:
    """A command with its environment as a line for a shell."""
    return " ".join([*(f"{name}={value}" for name, value in added.items()), shlex.join(command)])


def train(arguments: Sequence[str], processes: int = 1, machines: Machines = ALONE) -> int:
    """Print the command of a training run, run it and return its exit code.

    On POSIX systems one process takes the place of this one, so that signals (Ctrl-C, a cluster's SIGTERM) reach it.
    torchrun gets them passed on, and this process ends with their exit code, 128 and the number, which it has not.
    """
    command, added = train_command(arguments, processes, machines)
    print(shell_line(command, added), file=sys.stderr, flush=True)
    sys.stdout.flush()
    environment = {**os.environ, **added}
    if processes * machines.count > 1:
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
