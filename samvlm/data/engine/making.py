"""Tables set by the engine, a batch at a time: plan, print, read back, cut out."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from ..synth.characters import CHARSET
from ..synth.dice import Dice
from ..synth.subjects import PROFILES
from ..synth.subjects.plan import Draft
from .chromium import print_pdf
from .markup import document, make_table, page_of
from .printed import Printed, cut_out, read_pages, truth_of
from .shards import KeptTable
from .styles import Style

VERSION = 4  # of what a seed gives; another one is another making
LONGEST_ANSWER = 6000  # characters; longer tables are left out


@dataclass
class Outcome:
    """What became of the tables that were asked for: those left out, by reason."""

    made: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


def check_mix(mix: dict[str, float]) -> None:
    """Raise ValueError for a manner that does not exist, or weights that sum to nothing."""
    for manner in mix:
        if manner not in PROFILES:
            raise ValueError(f"no tables in the manner {manner!r}: choose from {', '.join(PROFILES)}")
    if any(weight < 0 for weight in mix.values()) or not sum(mix.values()):
        raise ValueError(f"weights {mix}: none below 0, and one above it")


def make_tables(
    seed: int,
    first: int,
    count: int,
    mix: dict[str, float],
    text_height: Callable[[np.ndarray], float | None],
    outcome: Outcome,
) -> Iterator[KeptTable]:
    """Tables `first`.. of a seed, as far as they come out of the printer as they went in.

    Args:
        text_height: the estimator of the model's image processor, (height, width) grey values -> pixels or None.
        outcome: counts what happens.

    Raises ValueError where there is no engine.
    """
    drafts: list[tuple[int, str, Draft, Style, str, tuple[str, str, np.ndarray]]] = []
    for number in range(first, first + count):
        manner = Dice("manner", seed, number).weighted({k: w for k, w in mix.items() if w})
        draft, style, kind = make_table(manner, seed, number)
        truth = truth_of(draft)
        if not set(truth[1]) <= set(CHARSET):
            outcome.left_out["a character that no model spells"] += 1
        elif not truth[1] or len(truth[0]) > LONGEST_ANSWER:
            outcome.left_out["empty or too long"] += 1
        else:
            drafts.append((number, manner, draft, style, kind, truth))
    if not drafts:
        return
    pdf = print_pdf(document([page_of(draft, style, number) for number, _, draft, style, _, _ in drafts]))
    # A table that broke over two pages, or lost a character to its font, matches none of them.
    wanted = {made[5][1]: made for made in drafts}
    if len(wanted) < len(drafts):
        outcome.left_out["the same text twice"] += len(drafts) - len(wanted)
    for page in read_pages(pdf):
        found = wanted.pop(page.chars, None)
        if found is None:
            continue
        number, manner, _, style, kind, truth = found
        printed = _picture(Dice("picture", seed, number), page, style, truth)
        if printed is None:
            outcome.left_out["blank"] += 1
            continue
        grey = np.asarray(printed.image.convert("L"))
        outcome.made += 1
        yield KeptTable(
            id=f"engine-{seed}-{number}",
            image=printed.image,
            answer=printed.answer,
            chars=printed.chars,
            centres=printed.centres,
            positions=printed.positions,
            em=text_height(grey) or 0.0,
            meta={
                "manner": manner,
                "kind": kind,
                "family": style.family,
                "rules": style.rules,
                "size": round(style.size * style.scale, 2),
            },
        )
    if wanted:
        outcome.left_out["printed otherwise than written"] += len(wanted)


def _picture(dice: Dice, page, style: Style, truth: tuple[str, str, np.ndarray]) -> Printed | None:
    """The picture of a page: rendered at its resolution, or at a finer one and reduced, as other programs do."""
    fine = dice.choice((2, 3)) if dice.chance(0.3) else 1
    reach = 2.5 if dice.chance(0.7) else 7.0
    margins = tuple(round(dice.between(0, reach) * style.scale) * fine for _ in range(4))
    cut = cut_out(page, style.scale * fine, margins)
    if cut is None:
        return None
    image, centres = cut
    if fine > 1:
        size = (max(1, round(image.width / fine)), max(1, round(image.height / fine)))
        way = dice.choice((Image.Resampling.BOX, Image.Resampling.LANCZOS, Image.Resampling.BICUBIC))
        centres = centres * np.array([size[0] / image.width, size[1] / image.height], np.float32)
        image = image.resize(size, way)
    answer, chars, positions = truth
    return Printed(image, answer, chars, centres, positions)
