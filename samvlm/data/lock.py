"""One process a folder: two runs that write to one would take each other's files away."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

NAME = ".lock"


@contextmanager
def alone_in(folder: Path, otherwise: str, first: bool = True) -> Iterator[None]:
    """Hold a folder, which is made where it is not there; however the process ends, the system gives it back.

    Args:
        folder: what a run writes to.
        otherwise: what the user can name instead, such as "another -o".
        first: of several processes of one run, only the first holds it.

    Raises:
        ValueError: another process holds it, or it is a file.
        OSError: the folder cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: a file, where a folder is needed; name {otherwise}")
    if fcntl is None or not first:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / NAME).open("a+") as file:
        try:
            # a lock of this process: its children do not inherit it
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise ValueError(
                f"{folder} is in use by another run (process {holder}): end it, or name {otherwise}."
            ) from None
        except OSError:
            pass  # a file system without locks: as well as it goes
        file.truncate(0)
        file.write(f"{os.getpid()} on {os.uname().nodename}")
        file.flush()
        yield
