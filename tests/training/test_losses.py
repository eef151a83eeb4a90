"""The dense and the guide loss: right by hand-made targets and by the model's own attention; both can be learnt."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from readers import build_reader, draw_strips

from samvlm.data.tasks import messages
from training.collator import Collator
from training.losses import DenseHead, Guide
from training.objective import Objective
from training.optimizers import MasterWeights, parameter_groups
from training.recipe import StageRecipe


def test_dense_targets_stand_at_the_characters_centres():
    head = DenseHead(8, 16, "AB")
    centres = np.array(
        [[0.0, 0.0], [3.99, 7.99], [4.0, 8.0], [31.9, 15.9], [32.0, 3.0], [-0.1, 3.0], [12, 3]]
    )
    targets = head.targets("ABBAAAz", centres.astype(np.float32), width=32, height=16)
    expected = torch.zeros(2, 8, dtype=torch.long)
    expected[0, 0] = 2  # A, then B in the same slot of 4 x 8 pixels
    expected[1, 1] = 2
    expected[1, 7] = 1  # those outside of the image, and z, which is not in the alphabet, are left out
    assert torch.equal(targets, expected)


def test_dense_logits_stand_in_the_order_of_the_targets():
    """Features that spell out their own place must give each slot its own logits."""
    head = DenseHead(2, 16, "AB")
    with torch.no_grad():
        head.project.weight.zero_()
        head.project.bias.zero_()
        # In every patch: row 1, column 2 of its 2 x 4 slots says B if channel 0 is on.
        head.project.weight[(1 * 4 + 2) * 3 + 2, 0] = 50.0
        head.project.bias.view(8, 3)[:, 0] = 10.0
    features = torch.zeros(1, 2, 2, 3)
    features[0, 0, 0, 1] = 1  # patch in row 0, column 1 of the map
    targets = torch.zeros(1, 4, 12, dtype=torch.long)
    targets[0, 0 * 2 + 1, 1 * 4 + 2] = 2
    loss, right = head(features, targets)
    assert right == 1 and loss < 0.05
    elsewhere = torch.roll(targets, 1, dims=2)
    assert head(features, elsewhere)[1] == 0


def test_dense_loss_is_cross_entropy_by_character_and_leaves_out_what_is_unknown():
    torch.manual_seed(0)
    head = DenseHead(4, 16, "ABC")
    features = torch.randn(2, 4, 1, 2)
    targets = torch.zeros(2, 2, 8, dtype=torch.long)
    targets[0, 0, 0], targets[0, 1, 2] = 1, 3
    loss, _ = head(features[:1], targets[:1])
    logits = head.project(features[:1].permute(0, 2, 3, 1)).view(
        1, 2, 2, 4, 4
    )  # patches, rows, columns, classes
    by_hand = sum(
        F.cross_entropy(logits[0, c // 4, r, c % 4][None], targets[0, r, c][None], reduction="sum")
        for r in range(2)
        for c in range(8)
    )
    assert torch.allclose(loss, by_hand / 2, rtol=1e-5)
    targets[1] = -100
    assert torch.allclose(head(features, targets)[0], loss, rtol=1e-6)
    nothing, right = head(features[1:], targets[1:])
    assert nothing == 0 and right == 0


DECODERS = {
    "llama": {"num_attention_heads": 4, "num_key_value_heads": 2},
    "qwen2": {"model_type": "qwen2", "num_attention_heads": 4, "num_key_value_heads": 1},
    "qwen3": {"model_type": "qwen3", "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 24},
    "mistral": {"model_type": "mistral", "num_attention_heads": 2, "num_key_value_heads": 1},
}


@pytest.mark.parametrize("decoder", DECODERS)
def test_guide_loss_is_the_models_own_attention(decoder):
    """Head 0 as the model itself computes it, grouped keys, padding and norms of queries included."""
    model, processor = build_reader({**DECODERS[decoder], "initializer_range": 0.3})
    for name, parameter in model.named_parameters():
        if name.endswith(("q_norm.weight", "k_norm.weight", "q_proj.bias", "k_proj.bias")):
            torch.nn.init.normal_(parameter, 1.0, 0.3)
    model.set_attn_implementation("eager")
    batch = Collator(processor, guide=True)(draw_strips(3))
    assert (batch["attention_mask"] == 0).any(), "the test needs padding"
    targets = batch.pop("guide_targets")
    guide = Guide(model.model.language_model.layers, [0, 1])
    attentions = model(**batch, output_attentions=True, use_cache=False).attentions
    loss, hits = guide.loss(targets, batch["attention_mask"])
    rows, places = (targets >= 0).nonzero(as_tuple=True)
    seen = [a[rows, 0, places] for a in attentions]  # head 0, (n, T) each
    by_hand = [-a.gather(1, targets[rows, places, None]).log().mean() for a in seen]
    assert torch.allclose(loss, torch.stack(by_hand).mean(), rtol=1e-4)
    shares = [(a.argmax(-1) == targets[rows, places]).float().mean() for a in seen]
    assert torch.allclose(hits, torch.stack(shares), atol=1e-6)
    assert by_hand[0] > 0.5, "the heads look elsewhere, or the test shows nothing"
    assert not guide.seen, "the next batch starts anew"
    guide.remove()
    model(**batch)
    assert not guide.seen


def test_guide_without_targets_is_zero_and_has_a_gradient():
    model, processor = build_reader()
    guide = Guide(model.model.language_model.layers, [1])
    batch = Collator(processor)(draw_strips(1))
    model(**batch)
    loss, hits = guide.loss(torch.full_like(batch["input_ids"], -100), batch["attention_mask"])
    assert loss == 0 and loss.requires_grad and hits.tolist() == [0]


def test_guide_names_what_it_cannot_guide():
    model, _ = build_reader()
    with pytest.raises(ValueError, match=r"stage\.guide_layers=\[2\]: the language model has 2 layers"):
        Guide(model.model.language_model.layers, [2])
    with pytest.raises(ValueError, match=r"stage\.guide_weight needs attention with q_proj"):
        Guide(model.model.vision_tower.layers, [0])


def test_the_objective_is_the_weighted_sum_and_frees_what_it_watched():
    model, processor = build_reader(dense=True)
    stage = StageRecipe(name="tower", lm_weight=0.5, dense_weight=0.25, guide_weight=2.0)
    objective = Objective(model, stage)
    batch = Collator(processor, dense=objective.dense, guide=True)(draw_strips(2))
    loss, figures = objective(**batch)
    parts = 0.5 * figures["lm_loss"] + 0.25 * figures["dense_loss"] + 2.0 * figures["guide_loss"]
    assert torch.allclose(loss, parts)
    assert loss.requires_grad and not any(value.requires_grad for value in figures.values())
    assert not objective.maps and not objective.guide.seen
    plain = model(**{k: v for k, v in batch.items() if not k.endswith("_targets")}).loss
    assert torch.allclose(figures["lm_loss"], plain)


def test_the_dense_loss_alone_runs_no_language_model():
    model, processor = build_reader(dense=True)
    objective = Objective(model, StageRecipe(name="tower", lm_weight=0, dense_weight=1))
    batch = Collator(processor, dense=objective.dense, text=False)(draw_strips(2))
    assert set(batch) == {"pixel_values", "image_sizes", "dense_targets", "sample_ids", "drawn", "refused"}
    loss, figures = objective(**batch)
    loss.backward()
    assert set(figures) == {"dense_loss", "dense_accuracy"}
    assert all(p.grad is None for p in model.model.language_model.parameters())
    assert all(p.grad is not None for p in model.model.vision_tower.parameters())


@pytest.mark.parametrize("dense", [False, True])
def test_a_batch_without_labels_has_zero_loss_and_zero_gradients(dense):
    model, processor = build_reader(dense=dense)
    objective = Objective(model, StageRecipe(name="tower", dense_weight=float(dense)))
    silent = dataclasses.replace(draw_strips(1)[0], messages=messages("text"))
    batch = Collator(processor, dense=objective.dense)([silent])
    assert batch["no_labels"]
    loss, figures = objective(**batch)
    loss.backward()
    assert loss.item() == 0 and figures == {}
    assert all(p.grad is not None and not p.grad.any() for p in model.parameters())


def fit(objective: Objective, batch: dict, steps: int, rate: float) -> list[dict]:
    """Train on one batch; the figures of every step."""
    optimizer = MasterWeights(parameter_groups(objective.model, lambda name: rate, 0.0, muon=True))
    history = []
    for _ in range(steps):
        loss, figures = objective(**dict(batch))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        history.append({name: value.item() for name, value in figures.items()})
    return history


def test_a_tower_learns_one_batch_by_the_dense_loss():
    model, processor = build_reader(dense=True, embed_dim=64, mlp_dim=128, output_channels=64)
    objective = Objective(model, StageRecipe(name="tower", lm_weight=0, dense_weight=1))
    batch = Collator(processor, dense=objective.dense, text=False)(draw_strips(1))
    history = fit(objective, batch, 100, 5e-3)
    assert history[0]["dense_accuracy"] < 0.2
    assert history[-1]["dense_accuracy"] > 0.98


def test_a_decoder_learns_where_to_look_by_the_guide_loss():
    model, processor = build_reader({"hidden_size": 64})
    objective = Objective(model, StageRecipe(name="tower", lm_weight=1, guide_weight=1, guide_layers=[1]))
    batch = Collator(processor, guide=True)(draw_strips(1))
    history = fit(objective, batch, 60, 5e-3)
    assert history[0]["guide_accuracy_1"] < 0.1
    assert history[-1]["guide_accuracy_1"] > 0.7
