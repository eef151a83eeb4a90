"""How fast a stage trains: samples and tokens a second, share of the machine's peak, of waiting for data, memory."""

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from training.flops import StepFlops, matmul_peak, sequence_lengths

NAMES = ("samples_per_second", "tokens_per_second", "mfu", "data_wait", "memory_gb")


class Pace:
    """Measures between two lines of the log.

    Args:
        core: the model that trains.
        device: it is on.
        dtype: that it computes in.
        world: how many processes train: samples and tokens are those of all.
    """

    def __init__(self, core: nn.Module, device: torch.device, dtype: torch.dtype, world: int = 1):
        self.flops, self.device, self.dtype, self.world = StepFlops(core), device, dtype, world
        self.batches: list[
            tuple[int, Any, Any, Any]
        ] = []  # samples, image sizes, known, lengths of sequences
        self.waited = self.away = 0.0
        self.since = time.perf_counter()

    def begin(self) -> None:
        """The clock starts; what the machine can do is measured first."""
        matmul_peak(str(self.device), self.dtype)
        self._start_over()

    def add(self, batch: dict[str, Any], samples: int) -> None:
        """Take note of a micro-batch of so many samples; nothing is computed or waited for yet."""
        lengths = sequence_lengths(batch) if "input_ids" in batch else None
        self.batches.append((samples, batch.get("image_sizes"), batch.get("feature_known"), lengths))

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """For data."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.waited += time.perf_counter() - start

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """For what is no training: scores, checkpoints."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.away += time.perf_counter() - start

    def figures(self) -> dict[str, float]:
        """What was measured since the last call, by `NAMES`; processes ask together. {} if nothing was trained."""
        samples = tokens = operations = 0.0
        for count, sizes, known, lengths in self.batches:
            sizes = [] if sizes is None else sizes.tolist()
            known = [False] * len(sizes) if known is None else known.tolist()
            lengths = [] if lengths is None else lengths.tolist()
            samples, tokens = samples + count, tokens + sum(lengths)
            operations += self.flops.batch(sizes, known, lengths)
        seconds = time.perf_counter() - self.since - self.away
        share = operations / matmul_peak(str(self.device), self.dtype)
        mine = (samples, tokens, share, self.waited, seconds, memory_gb(self.device))
        self._start_over()
        everybody = [mine]
        if self.world > 1:
            everybody = [None] * self.world
            dist.all_gather_object(everybody, mine)
        samples, tokens, share, waited, seconds, _ = map(sum, zip(*everybody, strict=True))
        if not samples or seconds <= 0:
            return {}
        passed = seconds / len(everybody)
        found = (
            samples / passed,
            tokens / passed,
            share / seconds,
            waited / seconds,
            max(m[-1] for m in everybody),
        )
        return {name: round(value, 5) for name, value in zip(NAMES, found, strict=True)}

    def _start_over(self) -> None:
        self.batches = []
        self.waited = self.away = 0.0
        self.since = time.perf_counter()


def split_line(history: list[dict[str, Any]]) -> None:
    """Part the last line of a log in two: what is learnt, which a resumed run repeats bit for bit, and its pace."""
    line = history.pop()
    history.append({name: value for name, value in line.items() if name not in NAMES})
    pace = {name: line[name] for name in NAMES if name in line}
    if pace:
        history.append({**pace, "step": line["step"]})


def memory_gb(device: torch.device) -> float:
    """The most memory in use so far, in GB (10^9 bytes): of the GPU by PyTorch, else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    return (peak_of_process() or 0) / 1e9


def peak_of_process() -> int | None:
    """The most memory that this process has held, in bytes; None where the system does not tell."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
