"""A script of ours in a process of its own, which may hang, crash or be killed without harm to us."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path


class ChildProcess:
    """Runs `script` with pipes to and from it; `process` is None while it does not run."""

    def __init__(self, script: Path, quiet: bool = False) -> None:
        self.script, self.quiet = script, quiet
        self.process: subprocess.Popen | None = None

    def start(self) -> subprocess.Popen:
        """Start the process; it imports what we can import. `quiet` drops what it writes to standard error."""
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(self.script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if self.quiet else None,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            start_new_session=True,  # Ctrl-C is for us; we stop the child
        )
        return self.process

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        process, self.process = self.process, None
        if process is None:
            return
        process.kill()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):  # bytes that were not sent to a dead process
                pipe.close()
        process.wait()
