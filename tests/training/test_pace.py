"""Figures of speed: what is counted is what torch counts, and a log's record of losses stays free of them."""

import pytest
import torch
from readers import build_reader, draw_strips
from torch.utils.flop_counter import FlopCounterMode

from training import pace
from training.collator import Collator
from training.flops import StepFlops, matmul_peak, sequence_lengths
from training.objective import Objective
from training.pace import NAMES, Pace, split_line
from training.recipe import StageRecipe
from training.stages import set_trainable


@pytest.mark.parametrize("name", ["tower", "align", "instruct", "last block"])
def test_operations_are_those_that_torch_counts(name, monkeypatch):
    """Within 12%: torch counts the masked half of the attention, and we leave the padding's part out."""
    model, processor = build_reader({"tie_word_embeddings": False}, embed_dim=64, mlp_dim=256)
    settings = (
        {"name": "tower", "train": ["vision_tower"], "tower_blocks": 1}
        if name == "last block"
        else {"name": name}
    )
    stage = StageRecipe(**settings)
    set_trainable(model, stage)
    batch = Collator(processor)(draw_strips(3))
    lengths, sizes = sequence_lengths(batch).tolist(), batch["image_sizes"].tolist()
    counted = StepFlops(model).batch(sizes, [False] * 3, lengths)
    inputs = {key: value for key, value in batch.items() if isinstance(value, torch.Tensor)}
    # torch counts neither the fused kernel's operations nor oneDNN's
    monkeypatch.setattr("samvlm.model.modeling_sam_vision.serves", lambda *arguments: False)
    with FlopCounterMode(display=False) as counter:
        Objective(model, stage).losses(**inputs)[0].backward()
    assert counted == pytest.approx(counter.get_total_flops(), rel=0.12)
    known = StepFlops(model).batch(sizes, [True] * 3, lengths)
    assert known < counted - StepFlops(model).image(*sizes[0])


def test_lengths_of_sequences():
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    assert sequence_lengths({"input_ids": mask, "attention_mask": mask}).tolist() == [3, 2]
    packed = {"input_ids": torch.zeros(1, 5), "position_ids": torch.tensor([[0, 1, 2, 0, 1]])}
    assert sequence_lengths(packed).tolist() == [3, 2]
    assert sequence_lengths({"input_ids": torch.zeros(2, 4)}).tolist() == [4, 4]


def test_the_peak_uses_nobodys_random_numbers_and_is_measured_once():
    before = torch.get_rng_state()
    peak = matmul_peak("cpu", torch.float32)
    assert peak > 1e8 and torch.equal(torch.get_rng_state(), before)
    assert matmul_peak("cpu", torch.float32) == peak  # of another measurement it would not be


def test_pauses_do_not_count_and_waiting_does(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(pace.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(pace, "matmul_peak", lambda *args: 1e9)
    model, processor = build_reader()
    measured = Pace(model, torch.device("cpu"), torch.float32)
    measured.begin()
    assert measured.figures() == {}, "nothing was trained"
    batch = Collator(processor)(draw_strips(2))
    with measured.waiting():
        now[0] += 1.0
    measured.add(batch, 2)
    now[0] += 3.0
    with measured.paused():
        now[0] += 50.0
    found = measured.figures()
    tokens = int(batch["attention_mask"].sum())
    assert found["samples_per_second"] == 0.5 and found["tokens_per_second"] == pytest.approx(tokens / 4)
    assert found["data_wait"] == 0.25 and found["memory_gb"] > 0.05
    assert found["mfu"] == pytest.approx(
        StepFlops(model).batch(
            batch["image_sizes"].tolist(), [False] * 2, batch["attention_mask"].sum(1).tolist()
        )
        / 4e9,
        rel=0.01,
    )
    assert set(found) == set(NAMES) and measured.figures() == {}


def test_the_record_of_losses_has_no_times():
    history = [{"loss": 1.0, "mfu": 0.1, "data_wait": 0.0, "step": 4}]
    split_line(history)
    assert history == [{"loss": 1.0, "step": 4}, {"mfu": 0.1, "data_wait": 0.0, "step": 4}]
