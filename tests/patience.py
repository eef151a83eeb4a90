"""How long hostile input may take: far above what it takes, far below what an exponential or a cubic step would."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

PROCESSOR_SECONDS = 30.0


@contextmanager
def ends_soon(what: str = "it") -> Iterator[None]:
    """Fails where the block takes 30 seconds of processor time. What it is meant for takes well under one alone on a
    machine; beside a large heap and noisy neighbours some take four."""
    start = time.process_time()
    try:
        yield
    finally:
        taken = time.process_time() - start
        assert taken < PROCESSOR_SECONDS, f"{what} took {taken:.1f} s"
