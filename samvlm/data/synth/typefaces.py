"""Choice of type for a sample: family, size, spacing, drawn in proportion to what real documents use."""

from functools import lru_cache

from .dice import Dice
from .fonts import Family, families
from .page import Type

# Em in pixels -> weight. Every family is offered at one of three sizes near each of these, not at all of them: glyph
# pictures are kept by (face, size), and so all of them fit in memory after some thousand samples.
_SIZES = {9.0: 0.13, 10.5: 0.26, 12.0: 0.26, 13.5: 0.20, 15.5: 0.10, 18.0: 0.05}
Offer = tuple[Family, float, bool]


@lru_cache(maxsize=64)
def offers(low: float, high: float, scale: float = 1.0) -> dict[Offer, float]:
    """(family, size, hinted) -> weight, for sizes of low..high pixels; the nearest size where there is none.

    All sizes are then taken `scale` times, to the next half pixel.
    """
    found: dict[Offer, float] = {}
    for number, family in enumerate(families()):
        for step, (base, weight) in enumerate(_SIZES.items()):
            size = base + 0.5 * ((number + step) % 3)
            hinted = (number + step) % 4 == 0
            found[family, size, hinted] = family.weight * weight
    fitting = {offer: weight for offer, weight in found.items() if low <= offer[1] <= high}
    if not fitting:
        nearest = min(abs(size - low) for _, size, _ in found)
        fitting = {offer: weight for offer, weight in found.items() if abs(offer[1] - low) == nearest}
    scaled: dict[Offer, float] = {}
    for (family, size, hinted), weight in fitting.items():
        offer = family, round(2 * size * scale) / 2, hinted
        scaled[offer] = scaled.get(offer, 0.0) + weight
    return scaled


def draw_type(dice: Dice, low: float = 9.0, high: float = 20.0) -> Type:
    """Upright regular type of low..high pixels an em: PDF-like placing in most samples, screen-like in the rest.

    `dice.scale` times that where it is not 1.
    """
    family, size, hinted = dice.weighted(offers(low, high, dice.scale))
    tracking = dice.choice((0.0, 0.0, 0.0, 0.25, 0.5, -0.25)) * size / 12
    return Type(family, size, False, False, hinted, dice.chance(0.6), tracking)
