"""The batch of a run that will take most memory and time, as far as can be seen before it."""

import numpy as np

from samvlm.data.samples import RecordSource
from training.batches import WINDOW, batch_sampler
from training.survey import cost
from training.trainer import SamVlmTrainer

LOOK_AHEAD = WINDOW  # samples whose sizes are planned
LONGEST = 8  # records tried as the longest: some may be refused


def planned(trainer: SamVlmTrainer) -> list[list[int]]:
    """The batches of the first window of a run, as indices."""
    data, seen, batches = trainer.recipe.data, 0, []
    sampler = batch_sampler(trainer.mixture, data)
    for batch in sampler.batches():
        batches.append(batch)
        seen += len(batch)
        if seen >= LOOK_AHEAD:
            break
    return batches


def longest(trainer: SamVlmTrainer, batches: list[list[int]], read: dict | None) -> dict:
    """The batch that takes most, collated: the planned one with the most pixels, a full one of the longest text in a
    file of records, or the largest of those that have been read."""
    mixture = trainer.mixture

    def pixels(indices: list[int]) -> int:
        return sum(max(1, width * height) for width, height in map(mixture.plan, indices))

    candidates = [trainer.data_collator([mixture[index] for index in max(batches, key=pixels)])]
    if read is not None:
        candidates.append(read)
    for source in mixture.sources:
        if isinstance(source, RecordSource):
            candidates += longest_record(trainer, source)
    return max(candidates, key=cost)


def longest_record(trainer: SamVlmTrainer, source: RecordSource) -> list[dict]:
    """A full batch of the record of a file with the longest text; [] if none of the longest can be used."""
    data, mixture, total = trainer.recipe.data, trainer.mixture, len(source.rows)
    lengths = np.array(source.rows.lengths)
    wanted = set(np.argsort(-lengths, kind="stable")[:LONGEST].tolist())
    places = {}
    for index in range(total):
        row = source.pick(mixture.seed, index)
        if row in wanted:
            places[row] = index
    for row in sorted(places, key=lambda row: -lengths[row]):
        sample = source.load(mixture.seed, places[row])
        if "no_labels" in trainer.data_collator([sample]):
            continue
        width, height = sample.image.size if sample.image is not None else (0, 0)
        if mixture.canvas is not None and width:
            width, height = mixture.canvas(width, height)
        room = data.max_pixels // max(1, width * height)
        return [trainer.data_collator([sample] * max(1, min(data.max_images, room, total)))]
    return []
