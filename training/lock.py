"""One run a folder: two of them would take each other's checkpoints away."""

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
def alone_in(folder: Path, first: bool = True) -> Iterator[None]:
    """Hold a stage's folder, in the first process of a run; however that ends, the system gives the folder back.

    Raises:
        ValueError: another run holds it.
    """
    if fcntl is None or not first:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / NAME).open("a+") as file:
        try:
            fcntl.lockf(
                file, fcntl.LOCK_EX | fcntl.LOCK_NB
            )  # of this process: data workers do not inherit it
        except (BlockingIOError, PermissionError):
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise ValueError(
                f"{folder} is in use by another run (process {holder}): end it, or name another trainer.output_dir."
            ) from None
        except OSError:
            pass  # a file system without locks: as well as it goes
        file.truncate(0)
        file.write(f"{os.getpid()} on {os.uname().nodename}")
        file.flush()
        yield
