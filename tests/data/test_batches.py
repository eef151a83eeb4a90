"""Batches: every index once, within the budget, of one size and about one length; shared and resumed exactly."""

import itertools

import numpy as np
import pytest

from samvlm.data.datasets import MixtureDataset, SizeBatchSampler
from samvlm.data.samples import SynthSource


class Sizes:
    """A data set of which only the sizes matter."""

    def __init__(
        self, length: int, seed: int = 0, sizes=((64, 64), (128, 64), (256, 128), (512, 512), (0, 0))
    ):
        random = np.random.default_rng(seed)
        self.sizes = [sizes[i] for i in random.integers(len(sizes), size=length)]
        self.lengths = random.lognormal(5, 1.0, size=length).tolist()

    def __len__(self):
        return len(self.sizes)

    def fetch(self, index):
        return index

    def is_dense_only(self, index):
        return index % 3 == 0

    def plan(self, index):
        return self.sizes[index]

    def text_length(self, index):
        return self.lengths[index]


def test_batches_hold_every_index_once_one_size_and_the_budget():
    data = Sizes(5000)
    batches = list(SizeBatchSampler(data, 128 * 64 * 5, max_images=8, window=700))
    assert sorted(itertools.chain(*batches)) == list(range(5000))
    for batch in batches:
        assert len({(data.plan(i), data.is_dense_only(i)) for i in batch}) == 1 and len(batch) <= 8
        width, height = data.plan(batch[0])
        assert len(batch) * width * height <= 128 * 64 * 5 or len(batch) == 1
    full = [b for b in batches if data.plan(b[0]) == (128, 64)]
    assert max(map(len, full)) == 5


def test_the_order_of_batches_is_the_seeds_and_mixed():
    def batches(seed):
        return list(SizeBatchSampler(Sizes(2000), 128 * 64 * 4, seed=seed))

    assert batches(1) == batches(1) != batches(2)
    data = Sizes(2000)
    pixels = [data.plan(batch[0])[0] for batch in batches(1)[:60]]
    assert pixels != sorted(pixels) and len(set(pixels[:20])) > 2


def padding_share(batches, lengths) -> float:
    """The share of places that hold nothing, were each text padded to the longest of its batch."""
    places = sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)
    return 1 - sum(lengths) / places


def test_batches_hold_texts_of_about_one_length():
    data = Sizes(4096)

    def batches(by_length):
        return list(SizeBatchSampler(data, 128 * 64 * 8, max_images=8, by_length=by_length))

    alike, any_length = batches(True), batches(False)
    assert sorted(itertools.chain(*alike)) == sorted(itertools.chain(*any_length)) == list(range(4096))
    assert len(alike) == len(any_length)
    assert padding_share(alike, data.lengths) < 0.2 < 0.45 < padding_share(any_length, data.lengths)
    longest = [max(data.lengths[i] for i in batch) for batch in alike[:40]]
    assert longest != sorted(longest), "short and long batches take turns"


def test_texts_of_one_length_keep_their_order_so_that_passes_over_few_records_stay_apart():
    data = Sizes(64, sizes=((64, 64),))
    data.is_dense_only = lambda index: False
    data.lengths = [100.0 + index % 4 for index in range(64)]  # four records, of nearly one length
    batches = list(SizeBatchSampler(data, 64 * 64 * 4, max_images=4))
    assert all(len({index % 4 for index in batch}) == 4 for batch in batches)


def test_batches_for_packed_rows_mix_sizes_within_the_budget():
    data = Sizes(3000)
    data.is_dense_only = lambda index: False
    batches = list(SizeBatchSampler(data, 512 * 512, max_images=30, mixed=True))
    assert sorted(itertools.chain(*batches)) == list(range(3000))
    pixels = [sum(w * h for w, h in map(data.plan, batch)) for batch in batches]
    assert max(pixels) <= 512 * 512 and max(map(len, batches)) == 30
    assert any(len({data.plan(i) for i in batch}) > 1 for batch in batches)
    apart = list(SizeBatchSampler(data, 512 * 512, max_images=30))
    assert len(batches) <= len(apart)


def test_processes_share_the_batches_equally():
    data = Sizes(999)
    whole = list(SizeBatchSampler(data, 20000, window=300))
    for world in (2, 3):
        parts = [list(SizeBatchSampler(data, 20000, window=300, rank=r, world=world)) for r in range(world)]
        assert {len(part) for part in parts} == {len(whole) // world}
        woven = list(itertools.chain(*zip(*parts, strict=True)))
        assert woven == whole[: len(woven)]


def test_a_resume_by_skipping_gives_the_rest():
    data = MixtureDataset(
        [SynthSource("table"), SynthSource("strip")], 1
    )  # two thousand million items: no list of them
    sampler = SizeBatchSampler(data, 400_000, seed=1)
    first = list(itertools.islice(sampler, 300))
    assert list(itertools.islice(iter(sampler), 200, 300)) == first[200:]


@pytest.mark.parametrize(
    ("settings", "told"), [((0,), "max_pixels"), ((9, 64, 1024, 0, 2, 2), "rank=2 is none of world=2")]
)
def test_wrong_settings_are_told(settings, told):
    with pytest.raises(ValueError, match=told):
        SizeBatchSampler(Sizes(3), *settings)
