"""A shard: a safetensors file of features that one process has written at once, and never changes."""

from __future__ import annotations

import hashlib
import json
import math
import os
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save

from .identity import FORMAT

LARGEST_HEADER = 1 << 27
NAMES = {"F16": torch.float16, "BF16": torch.bfloat16}


class BadShard(ValueError):
    """A file that is no shard of the space that was asked for, or not whole."""


class Shard:
    """The features in a file. Only the header is read when it is opened.

    Raises BadShard, and OSError where the file cannot be read.
    """

    def __init__(self, path: Path, space: str):
        self.path = path
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            size = os.fstat(file.fileno()).st_size
            if not 2 <= length <= min(LARGEST_HEADER, size - 8):
                raise BadShard("it is no safetensors file")
            text = file.read(length)
        try:
            header = json.loads(text)
            about = header.pop("__metadata__")
            if about["format"] != FORMAT or about["space"] != space:
                raise BadShard("its features are of another tower, other settings or another version")
            sums = json.loads(about["sha256"])
            self.keys = [bytes.fromhex(name) for name in header]
            ends = [entry["data_offsets"] for entry in header.values()]
            self.sums = [bytes.fromhex(sums[name]) for name in header]
            self.shapes = [tuple(entry["shape"]) for entry in header.values()]
            self.dtypes = [NAMES[entry["dtype"]] for entry in header.values()]
            self.ends = np.array(ends, np.int64).reshape(-1, 2) + 8 + length  # (entries, 2) bytes in the file
        except BadShard:
            raise
        except (ValueError, KeyError, TypeError, AttributeError):
            raise BadShard("its header is damaged") from None
        if len(self.keys) and int(self.ends.max()) != size:
            raise BadShard(f"it has {size:,} of {int(self.ends.max()):,} bytes")

    def read(self, row: int) -> torch.Tensor:
        """Features (C, H, W). Raises BadShard where the bytes are not those that were written, OSError."""
        start, end = (int(place) for place in self.ends[row])
        shape, dtype = self.shapes[row], self.dtypes[row]
        with self.path.open("rb", buffering=0) as file:
            file.seek(start)
            data = bytearray(end - start)
            got = file.readinto(data)
        if got != len(data) or hashlib.sha256(data).digest() != self.sums[row]:
            raise BadShard(f"its entry {self.keys[row].hex()[:12]}… is damaged")
        if len(shape) != 3 or math.prod(shape) * dtype.itemsize != len(data):
            raise BadShard(f"its entry {self.keys[row].hex()[:12]}… has no shape of a feature map: {shape}")
        return torch.frombuffer(data, dtype=dtype).reshape(shape)


def shard_bytes(space: str, entries: dict[bytes, torch.Tensor]) -> bytes:
    """The contents of a shard."""
    named = {key.hex(): value.contiguous() for key, value in entries.items()}
    sums = {
        name: hashlib.sha256(memoryview(value.reshape(-1).view(torch.uint8).numpy())).hexdigest()
        for name, value in named.items()
    }
    return save(named, {"format": FORMAT, "space": space, "sha256": json.dumps(sums)})
