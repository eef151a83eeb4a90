"""What looks at a run and must leave no trace in it."""

import contextlib
import random
from collections import deque
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from training.objective import Objective


@contextlib.contextmanager
def untouched(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Random numbers, gradients, and who is training or not, are behind this context what they were before it."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002 (whoever uses them)
    modes = [(module, module.training) for module in model.modules()]
    devices = [] if device.type == "cpu" else [device]
    try:
        with torch.random.fork_rng(devices, device_type="cuda" if device.type == "cpu" else device.type):
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        for module, mode in modes:
            module.training = mode
        model.zero_grad()
        if device.type == "cuda":
            torch.cuda.empty_cache()


@contextlib.contextmanager
def unwatched(objective: Objective) -> Iterator[None]:
    """The losses see nothing of what the model does in this context: they would keep it."""
    objective.maps.clear()
    maps, objective.maps = objective.maps, deque(maxlen=0)
    guide = objective.guide
    if guide is not None:
        guide.seen.clear()
        seen, guide.seen = guide.seen, deque(maxlen=0)
    try:
        yield
    finally:
        objective.maps = maps
        if guide is not None:
            guide.seen = seen
