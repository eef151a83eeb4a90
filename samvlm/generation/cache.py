"""A key-value cache with room to grow: each new token is written behind the others instead of copying them all.

The numbers are those of transformers' DynamicCache, to the bit.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import Cache, DynamicCache, PreTrainedConfig
from transformers.cache_utils import DynamicLayer

ROOM = 256  # tokens


class GrowingLayer(DynamicLayer):
    """A layer of the cache whose `keys` and `values`, (B, heads, T, D), are the first part of a longer tensor."""

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self._key_room = self._value_room = torch.empty(0)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append keys and values, (B, heads, t, D); return all so far."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        self.keys, self._key_room = append(self.keys, key_states, self._key_room)
        self.values, self._value_room = append(self.values, value_states, self._value_room)
        return self.keys, self.values


def append(old: torch.Tensor, new: torch.Tensor, room: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return `old` and `new`, (B, heads, length, D), as one tensor, and the longer one of which it is a part.

    `old` is empty, or the start of `room`; anything else is copied to new room.
    """
    start = old.shape[-2] if old.numel() else 0
    end = start + new.shape[-2]
    fits = room.shape[:-2] == new.shape[:-2] and room.shape[-2] >= end
    if not fits or room.data_ptr() != old.data_ptr():
        room = new.new_empty(*new.shape[:-2], end + ROOM, new.shape[-1])
        if start:
            room[..., :start, :] = old
    room[..., start:end, :] = new
    return room[..., :end, :], room


def growing_cache(config: PreTrainedConfig) -> Cache:
    """An empty cache for one call of `generate`; layers that do not simply grow (sliding windows) are as ever."""
    cache = DynamicCache(config=config)
    cache.layers = [GrowingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache
