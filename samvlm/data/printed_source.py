"""Printed tables as a source of training: read from shards, worn, brought to the model's scale, with their characters."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image

from .engine.shards import TableShards
from .engine.wear import worn
from .samples import Sample
from .synth.dice import Dice
from .tasks import messages

STEP = 64  # sides of a canvas are whole multiples of this
SCALE = {"text_height": 16.0, "max_side": 1024, "max_upscale": 2.0}  # of the checkpoint that ships


@dataclass
class EngineSource:
    """Tables that scripts/make_engine_tables.py has printed, each once in a pass, in another order every time.

    engine:      their folder
    damage:      share of the images that are worn, in another way every time
    text_height, max_side, max_upscale: as the image processor of the model brings images to scale; training takes them
                 from there (`fit`) where they are left out
    jitter:      by how much the scale varies around that, as a power of two
    max_area:    pixels of the canvas; larger tables are left out
    least:       font size in pixels; tables whose text would be smaller at the model's scale are left out
    min_length, max_length: characters of the answer; shorter and longer ones are left out
    dense_only:  the tower alone reads these, for the dense loss
    """

    engine: str
    weight: float = 1.0
    damage: float = 0.3
    text_height: float | None = None
    max_side: int | None = None
    max_upscale: float | None = None
    jitter: float = 0.12
    max_area: int | None = None
    least: float = 5.5
    min_length: int = 0
    max_length: int | None = None
    dense_only: bool = False
    drawn = True
    ordered = True

    def __post_init__(self):
        if not 0 <= self.damage <= 1:
            raise ValueError(f"damage={self.damage}: a share from 0 to 1.")
        if self.max_side is not None and (self.max_side % STEP or self.max_side < STEP):
            raise ValueError(f"max_side={self.max_side}: a multiple of {STEP}.")
        self._scale = {name: value for name in SCALE if (value := getattr(self, name)) is not None}
        self.fit(**SCALE)
        self._order: tuple[tuple[int, int], np.ndarray] | None = None
        self.refused: list = []

    def fit(self, text_height: float | None, max_side: int, max_upscale: float | None) -> None:
        """Take the scale of a model's image processor, but for what was given; None: no bound."""
        found = {"text_height": text_height, "max_side": max_side, "max_upscale": max_upscale}
        for name, value in {**found, **self._scale}.items():
            setattr(self, name, value or math.inf)

    @cached_property
    def shards(self) -> TableShards:
        """The tables. Raises ValueError where there are none."""
        return TableShards(self.engine)

    @cached_property
    def rows(self) -> list[int]:
        """The numbers of the tables that are small enough. Raises ValueError if none is."""
        found = []
        for number, place in enumerate(self.shards.places):
            size = self._resized(place.width, place.height, place.em, 1.0)
            readable = place.em * size[0] / place.width >= self.least or not place.em
            fits = self.max_area is None or math.prod(self._canvas(*size)) <= self.max_area
            of_length = self.min_length <= place.length <= (self.max_length or math.inf)
            if fits and readable and of_length:
                found.append(number)
        if not found:
            raise ValueError(
                f"{self.engine}: none of its {len(self.shards)} tables has at most max_area={self.max_area} pixels, "
                f"min_length={self.min_length} to max_length={self.max_length} characters and text of "
                f"least={self.least:g} pixels: change them."
            )
        return found

    def pick(self, seed: int, index: int) -> int:
        """The number of the table that sample `index` shows."""
        passed, place = divmod(index, len(self.rows))
        if self._order is None or self._order[0] != (seed, passed):
            order = np.random.default_rng([seed, passed, 3]).permutation(len(self.rows))
            self._order = ((seed, passed), order)
        return self.rows[int(self._order[1][place])]

    def plan(self, seed: int, index: int) -> tuple[int, int]:
        """Width and height of the canvas of sample `index`, without opening it."""
        return self._canvas(*self._size(seed, index))

    def length(self, seed: int, index: int) -> float:
        """Characters of the answer of sample `index`."""
        return self.shards.places[self.pick(seed, index)].length

    def load(self, seed: int, index: int) -> Sample:
        """Sample `index`, on its canvas."""
        number = self.pick(seed, index)
        kept = self.shards[number]
        dice = Dice("wear", seed, index)
        image, centres, _ = worn(dice, kept.image, kept.centres, kept.em, self.damage)
        width, height = self._size(seed, index)
        centres = centres * np.array([width / image.width, height / image.height], np.float32)
        canvas = Image.new("RGB", self._canvas(width, height), (255, 255, 255))
        canvas.paste(image.resize((width, height), Image.Resampling.BILINEAR), (0, 0))
        return Sample(
            id=kept.id,
            image=canvas,
            task="table",
            messages=messages("table", answer=kept.answer),
            answer=kept.answer,
            drawn=True,
            chars=kept.chars,
            centres=centres,
            positions=kept.positions,
            dense_only=self.dense_only,
        )

    def _size(self, seed: int, index: int) -> tuple[int, int]:
        """Width and height of the image of sample `index` after resizing."""
        place = self.shards.places[self.pick(seed, index)]
        factor = 2.0 ** Dice("scale", seed, index).between(-self.jitter, self.jitter)
        size = self._resized(place.width, place.height, place.em, factor)
        if self.max_area is not None and math.prod(self._canvas(*size)) > self.max_area:
            return self._resized(place.width, place.height, place.em, 1.0)
        return size

    def _resized(self, width: int, height: int, em: float, factor: float) -> tuple[int, int]:
        scale = min(self.max_upscale, self.text_height * factor / em if em else math.inf)
        scale = min(scale, self.max_side / max(width, height))
        return max(1, int(width * scale + 0.5)), max(1, int(height * scale + 0.5))

    def _canvas(self, width: int, height: int) -> tuple[int, int]:
        return -(-width // STEP) * STEP, -(-height // STEP) * STEP
