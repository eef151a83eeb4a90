"""Packed rows: each sample is what it is alone, none sees another, and losses and gradients are those of padded rows."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image
from readers import build_reader
from short_runs import log_of, write_recipe

from samvlm.data.conversations import read_conversation
from samvlm.data.samples import RecordSource, Sample
from samvlm.data.tasks import messages
from samvlm.features import FeatureCache
from training.adapters import add_lora
from training.collator import Collator
from training.micro_batches import cut
from training.objective import Objective
from training.packing import Packing, fill
from training.recipe import StageRecipe, load_recipe
from training.train import main

NAMES = ("sample_ids", "drawn", "refused")


def page(width: int, height: int, answer: str, seed: int = 0) -> Sample:
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3)).astype(np.uint8)
    chat = messages("text", answer)
    return Sample(f"{width}x{height}", Image.fromarray(pixels), "text", chat, answer)


def talk(question: str, answer: str) -> Sample:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return Sample(question, None, None, read_conversation(turns, False), answer)


def samples() -> list[Sample]:
    """Images of three sizes, and chats without one between them."""
    return [
        page(128, 64, "One line."),
        talk("Hi", "Ho"),
        page(64, 128, "Two\nlines and more of them.", 1),
        page(250, 60, "x", 2),
        talk("And what else is there to say?", "Nothing."),
        page(128, 64, "The same size again", 3),
    ]


@pytest.fixture(scope="module")
def reader():
    return build_reader()


def packed_objective(model, most=None) -> Objective:
    objective = Objective(model, StageRecipe())
    objective.packing = Packing(model, 4096)
    objective.packing.row_tokens = most
    return objective


def inputs(batch: dict) -> dict:
    return {name: value for name, value in batch.items() if name not in NAMES}


def logits_of(model, collator: Collator, some: list[Sample], most: int | None) -> list[torch.Tensor]:
    """The logits of each sample, from packed rows."""
    packing = Packing(model, 1)
    packing.row_tokens = most
    rows = packing(inputs(collator(some)))
    assert "attention_mask" not in rows
    with torch.no_grad():
        logits = model(**rows, use_cache=False).logits
    lengths = [int(collator([sample])["attention_mask"].sum()) for sample in some]
    found = []
    for number, row in enumerate(fill(lengths, most)):
        found += logits[number, : sum(length for _, length in row)].split([length for _, length in row])
    return found


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("most", [None, 160])
def test_each_sample_has_the_logits_that_it_has_alone(reader, attention, most):
    model, processor = reader
    model.set_attn_implementation({"text_config": attention})
    model.eval()
    collator = Collator(processor, mixed=True)
    packed = logits_of(model, collator, samples(), most)
    for sample, logits in zip(samples(), packed, strict=True):
        with torch.no_grad():
            alone = model(**{k: v for k, v in inputs(collator([sample])).items() if k != "has_image"}).logits
        assert logits.shape == alone[0].shape
        assert torch.allclose(logits, alone[0], atol=2e-5), (logits - alone[0]).abs().max()
    model.set_attn_implementation("sdpa")


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_no_sample_sees_another(reader, attention):
    model, processor = reader
    model.set_attn_implementation({"text_config": attention})
    model.eval()
    collator = Collator(processor, mixed=True)
    before = logits_of(model, collator, samples(), None)
    changed = samples()
    changed[0] = page(128, 64, "9nE lin3!", 7)  # other pixels and other text of as many tokens
    changed[4] = talk("And what else is there to say!", "n0thing,")
    behind = logits_of(model, collator, changed, None)
    for number, (one, other) in enumerate(zip(before, behind, strict=True)):
        assert torch.equal(one, other) == (number not in (0, 4)), number
    model.set_attn_implementation("sdpa")


def gradients(objective: Objective, pieces) -> dict[str, torch.Tensor]:
    objective.zero_grad()
    total = 0.0
    for batch, share in pieces:
        loss, figures = objective(**batch)
        (loss * share).backward()
        total += float(loss.detach()) * share
    found = {n: p.grad.clone() for n, p in objective.named_parameters() if p.grad is not None}
    return {"loss": torch.tensor(total), "accuracy": figures["token_accuracy"]} | found


def close(one: dict, other: dict, leave_out=()) -> None:
    assert one.keys() == other.keys()
    for name in one.keys() - set(leave_out):
        scale = float(other[name].abs().max()) + 1e-6
        assert torch.allclose(one[name], other[name], rtol=1e-3, atol=1e-4 * scale), name


def test_losses_and_gradients_are_those_of_padded_rows(reader):
    model, processor = reader
    model.train()
    padded = gradients(Objective(model, StageRecipe()), [(inputs(Collator(processor)(samples())), 1.0)])
    batch = inputs(Collator(processor, mixed=True)(samples()))
    for most in (None, 160, 1):
        objective = packed_objective(model, most)
        close(gradients(objective, [(batch, 1.0)]), padded)
    for pieces in (2, 4):
        parts = cut(batch, pieces)
        assert sum(len(part["input_ids"]) for part, _ in parts) == 6 and len(parts) > 1
        assert sum(len(part.get("pixel_values", ())) for part, _ in parts) == 4
        close(gradients(packed_objective(model), parts), padded, leave_out=["accuracy"])


def test_a_micro_batch_cut_to_single_samples_has_no_image_where_there_is_none(reader):
    batch = inputs(Collator(reader[1], mixed=True)(samples()))
    parts = [part for part, _ in cut(batch, 6)]
    assert ["pixel_values" in part for part in parts] == batch["has_image"].tolist()
    assert torch.equal(parts[5]["image_sizes"][0], batch["image_sizes"][3])


def test_cached_features_in_packed_rows(tmp_path, reader):
    model, processor = reader
    model.model.vision_tower.requires_grad_(False)
    lines = []
    for number, sample in enumerate(samples()):
        record = {"id": str(number), "messages": [{"role": "user", "content": "Read."}]}
        record["messages"].append({"role": "assistant", "content": sample.answer})
        if sample.image is not None:
            sample.image.save(tmp_path / f"{number}.png")
            record["image"] = f"{number}.png"
        lines.append(json.dumps(record))
    (tmp_path / "records.jsonl").write_text("\n".join(lines))
    source, collator = RecordSource(str(tmp_path / "records.jsonl")), Collator(processor, mixed=True)
    objective = packed_objective(model)
    objective.features = FeatureCache(tmp_path / "cache", model, processor.image_processor)
    source.lookup = objective.features.lookup
    made = gradients(objective, [(inputs(collator([source.load(0, i) for i in range(6)])), 1.0)])
    objective.features.flush()
    batch = inputs(collator([source.load(0, i) for i in range(6)]))
    assert "pixel_values" not in batch and len(batch["feature_maps"]) == 4
    close(gradients(objective, [(batch, 1.0)]), made)
    close(gradients(objective, cut(batch, 3)), made, leave_out=["accuracy"])
    model.requires_grad_(True)


def test_rows_are_filled_in_order():
    assert fill([3, 4, 9, 2, 2], 8) == [[(0, 3), (1, 4)], [(2, 9)], [(3, 2), (4, 2)]]
    assert fill([4, 4, 4, 4], 12) == [[(0, 4), (1, 4)], [(2, 4), (3, 4)]], "as many rows, and these short"
    assert fill([3, 4], None) == [[(0, 3), (1, 4)]]


@pytest.mark.parametrize("decoder", [{}, {"model_type": "qwen2"}, {"model_type": "qwen3", "head_dim": 16}])
def test_the_check_passes_what_keeps_samples_apart(decoder):
    model, _ = build_reader(decoder)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    Packing(model, 64).check(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters()) and model.training is False


def test_the_check_catches_a_leak(reader, monkeypatch):
    model, _ = reader
    packing = Packing(model, 64)
    whole = type(model).forward

    def leaking(self, *args, use_cache=None, **kwargs):  # as with a cache: the packing mask is not applied
        return whole(self, *args, use_cache=True, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(type(model), "forward", leaking)
        with pytest.raises(ValueError, match=r"data\.packing=true.*sees the others.*data\.packing=false"):
            packing.check(model)

    def unplaced(self, *args, inputs_embeds, **kwargs):  # positions that position_ids do not tell
        places = torch.arange(inputs_embeds.shape[1])[:, None].sin()
        return whole(self, *args, inputs_embeds=inputs_embeds + places, **kwargs)

    monkeypatch.setattr(type(model), "forward", unplaced)
    with pytest.raises(ValueError, match=r"data\.packing=true.*has other logits than alone"):
        packing.check(model)


def test_attention_that_is_not_known_to_keep_samples_apart_is_refused(reader, monkeypatch):
    monkeypatch.setattr(reader[0].config.get_text_config(), "_attn_implementation_internal", "paged|sparse")
    with pytest.raises(ValueError, match=r"data\.packing=true.*model\.attn_implementation=paged\|sparse"):
        Packing(reader[0], 64)
    monkeypatch.setattr(
        reader[0].config.get_text_config(), "_attn_implementation_internal", "flash_attention_2"
    )
    assert Packing(reader[0], 64).row_tokens is None, "it tells samples apart in a single row only"


def test_adapters_with_new_tokens_keep_samples_apart_too():
    model, _ = build_reader()
    adapted = add_lora(model, {"r": 2, "new_tokens": True}, new_tokens=[5, 6])
    Packing(model, 64).check(adapted)


@pytest.mark.parametrize("key", ["dense_weight", "guide_weight"])
def test_losses_that_stand_by_rows_are_refused(tmp_path, reader_folder, key):
    path = write_recipe(tmp_path, reader_folder, data={"packing": True}, stage={key: 0.5})
    with pytest.raises(ValueError, match=rf"data\.packing=true goes without stage\.{key}=0\.5"):
        load_recipe(path)


def test_a_run_with_packed_rows(tmp_path, reader_folder):
    lines = []
    for number, sample in enumerate(samples()):
        turns = [{"role": "user", "content": "Read."}, {"role": "assistant", "content": sample.answer}]
        image = None
        if sample.image is not None:
            image = f"{number}.png"
            sample.image.save(tmp_path / image)
        lines.append(json.dumps({"id": str(number), "image": image, "messages": turns}))
    (tmp_path / "records.jsonl").write_text("\n".join(lines))
    recipe = write_recipe(
        tmp_path,
        reader_folder,
        data={
            "packing": True,
            "row_tokens": 200,
            "sources": [
                {"records": str(tmp_path / "records.jsonl")},
                {"synth": "strip", "size": [128, 64], "options": {"damage": 0.0}},
            ],
        },
    )
    assert main([str(recipe)]) == 0
    line = log_of(tmp_path / "out" / "1-instruct")[-1]
    assert np.isfinite(line["loss"]) and line["refused"] == 0
    broken = dataclasses.replace(samples()[0], image=None)
    collator = Collator(build_reader()[1], mixed=True)
    batch = collator([broken, talk("a", "b"), samples()[2]])
    assert batch["has_image"].tolist() == [False, True] and len(batch["refused"]) == 1


def test_a_packed_batch_without_labels_gives_nothing(reader):
    model, processor = reader
    broken = dataclasses.replace(samples()[0], image=None)
    batch = Collator(processor, mixed=True)([broken])
    assert batch["no_labels"] and batch["has_image"].tolist() == [True]
    objective = packed_objective(model)
    objective.zero_grad()
    loss, figures = objective(**inputs(batch))
    loss.backward()
    assert float(loss.detach()) == 0 and figures == {}
    assert all(not p.grad.any() for p in model.parameters() if p.grad is not None)
