"""Features on disk: a folder for each space, shards in it, and an index made from the shards' headers.

Several processes may read and write at once. Each writes shards of its own, aside and then renamed; whoever misses an
entry looks whether new shards have come. Damaged and foreign shards are told of, passed over and made anew.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from pathlib import Path

import torch
from filelock import FileLock

from ..data.whole_files import whole_file
from .identity import Space
from .shards import BadShard, Shard, shard_bytes

logger = logging.getLogger("samvlm.features")
SHARD_BYTES = 64 << 20  # a shard is written when this much waits,
SHARD_SECONDS = 60.0  # or when something has waited this long


class FeatureStore:
    """The features of one space.

    Args:
        folder: of the cache; shared by all spaces.
        space: of the features.
        max_bytes: that the folder may take, all spaces together; then nothing is added any more.
    """

    def __init__(self, folder: str | Path, space: Space, max_bytes: int):
        self.root, self.space, self.max_bytes = Path(folder), space, max_bytes
        self.folder = self.root / space.digest[:16]
        self.full = False
        self.shards: list[Shard] = []
        self.places: dict[bytes, tuple[int, int]] = {}  # key -> shard, row
        self.spare: dict[bytes, list[tuple[int, int]]] = {}  # further places of the same key
        self.seen: set[str] = set()
        self.looked = -1  # the folder's time of change when it was last listed
        self.waiting: dict[bytes, torch.Tensor] = {}
        self.waiting_bytes, self.waiting_since = 0, 0.0
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / "about.json").is_file():
            with whole_file(self.folder / "about.json") as stream:
                stream.write(json.dumps(space.about, indent=1).encode())
        self.refresh()

    def __len__(self) -> int:
        return len(self.places) + len(self.waiting)

    def __contains__(self, key: bytes) -> bool:
        """Whether there are features of an image; new shards are looked for."""
        if key not in self.places and key not in self.waiting:
            self.refresh()
        return key in self.places or key in self.waiting

    def get(self, key: bytes) -> torch.Tensor | None:
        """Features (C, H, W) of an image, or None. They are those that were written, or they are not returned."""
        if key in self.waiting:
            return self.waiting[key]
        while key in self:
            shard, row = self.places[key]
            try:
                return self.shards[shard].read(row)
            except (BadShard, OSError) as error:
                logger.warning("%s: %s; it is made anew", self.shards[shard].path, error)
                self.forget(key)
        return None

    def forget(self, key: bytes) -> None:
        """Leave the place where features of an image were found; another one counts, if there is one."""
        del self.places[key]
        others = self.spare.pop(key, [])
        if others:
            self.places[key] = others.pop()
            self.spare[key] = others

    def refresh(self) -> None:
        """Take up the shards that have come since the folder was last looked at."""
        try:
            changed = self.folder.stat().st_mtime_ns
        except OSError:  # deleted meanwhile: what was in it is missed, and made anew
            return
        if changed == self.looked:
            return
        self.looked = changed
        for path in sorted(self.folder.glob("*.safetensors")):
            if path.name in self.seen:
                continue
            self.seen.add(path.name)
            try:
                shard = Shard(path, self.space.digest)
            except (BadShard, OSError) as error:
                logger.warning("feature cache: %s is passed over: %s; delete it", path, error)
                continue
            number = len(self.shards)
            self.shards.append(shard)
            for row, key in enumerate(shard.keys):
                if key in self.places:
                    self.spare.setdefault(key, []).append((number, row))
                else:
                    self.places[key] = (number, row)

    def add(self, key: bytes, features: torch.Tensor) -> bool:
        """Keep features (C, H, W), in the space's dtype; written before long. Returns False where they are not kept:
        the cache is full, or they hold what is no finite number."""
        if self.full or features.dtype != self.space.dtype or not bool(features.isfinite().all()):
            return False
        if self.get(key) is not None:  # whole: a damaged one is replaced
            return True
        if not self.waiting:
            self.waiting_since = time.monotonic()
        self.waiting[key] = features.detach().cpu().contiguous().clone()
        self.waiting_bytes += features.numel() * features.dtype.itemsize
        if (
            self.waiting_bytes >= SHARD_BYTES
            or time.monotonic() - self.waiting_since >= SHARD_SECONDS
            or self.waiting_bytes >= self.max_bytes
        ):
            self.flush()
        return True

    def flush(self) -> None:
        """Write what waits. Where there is no room for it, it is dropped, and nothing is added any more."""
        if not self.waiting:
            return
        data = shard_bytes(self.space.digest, self.waiting)
        self.waiting, self.waiting_bytes = {}, 0
        try:
            with FileLock(self.root / ".lock"):
                used = self.used()
                if used + len(data) > self.max_bytes:
                    self.full = True
                    logger.warning(
                        "feature cache: %s is full with %.4g of %.4g GB: the features of further images are made each "
                        "time; raise the limit, or delete the folders of other towers in it",
                        self.root,
                        used / 1e9,
                        self.max_bytes / 1e9,
                    )
                    return
                with whole_file(self.folder / f"{uuid.uuid4().hex}.safetensors") as stream:
                    stream.write(data)
        except OSError as error:
            self.full = True
            logger.warning("feature cache: nothing is added to %s any more: %s", self.root, error)
            return
        self.refresh()

    def used(self) -> int:
        """Bytes of all shards of all spaces in the cache's folder."""
        total = 0
        for path in self.root.glob("*/*.safetensors"):
            try:
                total += path.stat().st_size
            except FileNotFoundError:  # deleted meanwhile
                continue
        return total
