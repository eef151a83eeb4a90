"""Choice of type for a sample: family, size, spacing, drawn in proportion to what real documents use."""

from functools import lru_cache

from .dice import Dice
from .fonts import Family, families
from .page import Type

SIZES = (9.0, 9.5, 10.0, 10.5, 11.0, 11.5, 12.0, 12.5, 13.0, 13.5, 14.0, 15.0, 16.0, 18.0, 20.0)
_SIZE_WEIGHTS = dict(zip(SIZES, (4, 4, 8, 8, 10, 10, 10, 9, 9, 7, 7, 6, 4, 2, 2)))


@lru_cache(maxsize=1)
def _family_weights() -> dict[Family, float]:
    return {family: family.weight for family in families()}


def draw_size(dice: Dice, low: float = SIZES[0], high: float = SIZES[-1]) -> float:
    """An em of low..high pixels, most often 10..15."""
    return dice.weighted({size: weight for size, weight in _SIZE_WEIGHTS.items() if low <= size <= high})


def draw_type(dice: Dice, size: float) -> Type:
    """Upright regular type of `size`: PDF-like placing in most samples, screen-like in the rest."""
    family = dice.weighted(_family_weights())
    hinted = dice.chance(0.25)
    tracking = dice.choice((0.0, 0.0, 0.0, 0.25, 0.5, -0.25)) * size / 12
    return Type(family, size, False, False, hinted, dice.chance(0.6), tracking)
