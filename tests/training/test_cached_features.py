"""Stage 1 from cached features: the same as with the tower, which runs once an image; off where it cannot be right."""

import json
import logging

import numpy as np
import pytest
import torch
from PIL import Image
from readers import build_reader
from short_runs import log_of, same, write_recipe

from samvlm.data.samples import RecordSource
from samvlm.features import FeatureCache
from samvlm.features import cache as cache_module
from samvlm.model.connector import Connector
from samvlm.model.modeling_sam_vision import SamVisionTower
from training.collator import Collator
from training.micro_batches import cut
from training.objective import Objective
from training.recipe import StageRecipe
from training.stages import set_trainable
from training.train import main
from training.trainer import SamVlmTrainer

SIZES = [(256, 64), (256, 128), (64, 64)]


@pytest.fixture(autouse=True)
def untimed(monkeypatch):
    """Whether the cache pays is no matter of chance here."""
    monkeypatch.setattr(cache_module.FeatureCache, "reading_seconds", lambda self: 1e-9)


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> str:
    """Nine images of three sizes, and a chat without one."""
    folder = tmp_path_factory.mktemp("records")
    lines = [
        {
            "id": "chat",
            "messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Yes"}],
        }
    ]
    for number in range(9):
        width, height = SIZES[number % 3]
        pixels = np.random.default_rng(number).integers(0, 255, (height, width, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        lines.append(
            {
                "id": f"n{number}",
                "image": f"{number}.png",
                "task": "text",
                "target": {"text": f"page {number}"},
            }
        )
    (folder / "records.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    return str(folder / "records.jsonl")


def run(folder, reader_folder, records, cache=None, stage="align", **data) -> str:
    """A run of 12 steps of an image each, more than one pass over the records; its result. (The tower's last bits
    depend on what else is in a batch.)"""
    folder.mkdir(exist_ok=True)
    recipe = write_recipe(
        folder,
        reader_folder,
        data={
            "sources": [{"records": records}],
            "max_images": 1,
            "feature_cache": cache and str(cache),
            **data,
        },
        stage={"name": stage},
        trainer={"max_steps": 12, "logging_steps": 1, "save_steps": 100},
    )
    assert main([str(recipe)]) == 0
    return folder / "out" / f"1-{stage}"


def rounded(monkeypatch, dtype=torch.float16):
    """Let the live model round as the cache does."""
    condense = Connector.condense
    monkeypatch.setattr(
        Connector, "condense", lambda self, maps: condense(self, maps).to(dtype).to(maps.dtype)
    )


def without_tower(monkeypatch):
    """Let the tower run for nothing but the dummy image of chats without one."""
    forward = SamVisionTower.forward

    def guarded(self, pixel_values, **kwargs):
        assert not pixel_values.any(), "the tower runs"
        return forward(self, pixel_values, **kwargs)

    monkeypatch.setattr(SamVisionTower, "forward", guarded)


def steps_without_tower(monkeypatch):
    """The same in training steps alone: the pre-flight before them tries the tower."""
    step = SamVlmTrainer.training_step

    def guarded(self, *args, **kwargs):
        with pytest.MonkeyPatch.context() as patch:
            without_tower(patch)
            return step(self, *args, **kwargs)

    monkeypatch.setattr(SamVlmTrainer, "training_step", guarded)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_cached_run_is_the_live_one(tmp_path, reader_folder, records, monkeypatch, workers):
    cache = tmp_path / "cache"
    filling = run(tmp_path / "filling", reader_folder, records, cache, workers=workers)
    with monkeypatch.context() as patch:
        steps_without_tower(patch)
        full = run(tmp_path / "full", reader_folder, records, cache, workers=workers)
    live = run(tmp_path / "live", reader_folder, records)
    for cached in (filling, full):
        for a, b in zip(log_of(cached), log_of(live), strict=True):
            assert a["loss"] == pytest.approx(b["loss"], rel=1e-3)
            assert a["grad_norm"] == pytest.approx(b["grad_norm"], rel=2e-2)
    with monkeypatch.context() as patch:
        rounded(patch)
        exact = run(tmp_path / "exact", reader_folder, records)
    assert same(filling, exact) and same(full, exact)
    assert log_of(filling) == log_of(full) == log_of(exact)


def objective_of(factor=1, compressor="avg_pool", stage="align", dtype=torch.float32):
    model, processor = build_reader(factor=factor)
    if compressor != "avg_pool":
        torch.manual_seed(1)
        config = model.config
        config.connector_compressor = compressor
        model.model.multi_modal_projector = Connector(
            config.vision_config.output_channels, config.text_config.hidden_size, compressor, factor
        )
    model.to(dtype)
    recipe = StageRecipe(name=stage)
    return Objective(set_trainable(model, recipe), recipe), processor


def without_names(batch) -> dict:
    return {k: v for k, v in batch.items() if k not in ("sample_ids", "drawn", "refused")}


def gradients(objective, batch) -> dict:
    objective.zero_grad()
    loss, _ = objective(**without_names(batch))
    loss.backward()
    return {"loss": loss.detach()} | {
        n: p.grad for n, p in objective.named_parameters() if p.grad is not None
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("compressor", ["avg_pool", "pixel_unshuffle", "conv"])
def test_loss_and_gradients_are_the_live_ones(tmp_path, records, monkeypatch, compressor, dtype):
    objective, processor = objective_of(2, compressor, dtype=dtype)
    source, collator = RecordSource(records), Collator(processor)
    indices = [i for i in range(10) if source.plan(1, i) != (0, 0)][:6]  # of several sizes in one batch
    live_batch = collator([source.load(1, i) for i in indices])
    live = gradients(objective, live_batch)
    with monkeypatch.context() as patch:
        rounded(patch, torch.bfloat16 if dtype == torch.bfloat16 else torch.float16)
        exact = gradients(objective, live_batch)
    if dtype == torch.bfloat16:  # nothing is rounded
        assert all(torch.equal(live[name], exact[name]) for name in live)

    objective.features = FeatureCache(tmp_path, objective.core, processor.image_processor)
    source.lookup = objective.features.lookup
    filling = collator([source.load(1, i) for i in indices])
    assert "feature_maps" not in filling and "pixel_values" in filling
    made = gradients(objective, filling)
    objective.features.flush()
    with monkeypatch.context() as patch:
        without_tower(patch)
        batch = collator([source.load(1, i) for i in indices])
        assert "pixel_values" not in batch and batch["feature_known"].all()
        cached = gradients(objective, batch)
    for name in ("input_ids", "attention_mask", "labels", "image_sizes"):
        assert torch.equal(batch[name], live_batch[name])
    assert cached.keys() == made.keys() == exact.keys() == live.keys()
    for name in exact:
        assert torch.equal(made[name], exact[name]) and torch.equal(cached[name], exact[name]), name
        assert torch.allclose(cached[name], live[name], rtol=1e-2, atol=1e-3 * live[name].abs().max()), name


def test_rows_that_are_known_beside_rows_that_are_not(tmp_path, records):
    objective, processor = objective_of(2)
    source, collator = RecordSource(records), Collator(processor)
    indices = [i for i in range(10) if source.plan(1, i) != (0, 0)][:6]
    live = gradients(objective, collator([source.load(1, i) for i in indices]))
    objective.features = FeatureCache(tmp_path, objective.core, processor.image_processor)
    source.lookup = objective.features.lookup
    gradients(objective, collator([source.load(1, i) for i in indices[:3]]))
    batch = collator([source.load(1, i) for i in indices])
    assert batch["feature_known"].tolist() == [True] * 3 + [False] * 3
    assert len(batch["pixel_values"]) == len(batch["feature_maps"]) == 6
    mixed = gradients(objective, batch)
    for (part, _), rows in zip(cut(without_names(batch), 2), (slice(0, 3), slice(3, 6)), strict=True):
        assert torch.equal(part["feature_known"], batch["feature_known"][rows])
        assert gradients(objective, part)["loss"].isfinite()
    for name in live:
        assert torch.allclose(mixed[name], live[name], rtol=1e-2, atol=1e-3 * live[name].abs().max()), name


def test_the_cache_with_adapters(tmp_path, reader_folder, records, monkeypatch):
    cache = tmp_path / "cache"
    recipe = write_recipe(
        tmp_path,
        reader_folder,
        data={"sources": [{"records": records}, {"synth": "strip"}], "feature_cache": str(cache)},
        stage={"lora": {"r": 2}},
    )
    assert main([str(recipe)]) == 0
    assert list(cache.glob("*/*.safetensors"))


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (["stage.train=[vision_tower, connector]"], "the tower trains"),
        (["stage.dense_weight=0.1", "data.sources=[{synth: strip}, {records: RECORDS}]"], "dense_weight"),
        (["data.sources=[{synth: strip, size: [128, 64]}]"], "drawn without end"),
    ],
)
def test_off_where_it_cannot_be_right(tmp_path, reader_folder, records, caplog, settings, reason):
    cache = tmp_path / "cache"
    recipe = write_recipe(
        tmp_path,
        reader_folder,
        data={"sources": [{"records": records}], "feature_cache": str(cache)},
        stage={"name": "align"},
        trainer={"max_steps": 1},
    )
    with caplog.at_level(logging.WARNING):
        assert main([str(recipe), *(setting.replace("RECORDS", records) for setting in settings)]) == 0
    assert "data.feature_cache is off" in caplog.text and reason in caplog.text
    assert not cache.exists()


def test_off_where_it_does_not_pay(tmp_path, reader_folder, records, caplog, monkeypatch):
    cache = tmp_path / "cache"
    monkeypatch.setattr(cache_module.FeatureCache, "reading_seconds", lambda self: 1e3)
    off = run(tmp_path / "off", reader_folder, records, cache)
    assert "feature cache: it is off" in caplog.text
    kept = [
        json.loads(path.read_bytes()[8:].split(b"}}", 1)[0] + b"}}") for path in cache.glob("*/*.safetensors")
    ]
    assert sum(len(header) - 1 for header in kept) < 9
    rounded(monkeypatch)  # it rounds all the same: a run does not depend on clocks
    assert same(off, run(tmp_path / "live", reader_folder, records))


def test_wrong_settings_are_refused(tmp_path, reader_folder, records, capsys):
    recipe = write_recipe(tmp_path, reader_folder, data={"sources": [{"records": records}]})
    assert main([str(recipe), "data.feature_cache_gb=0"]) == 2
    assert "data.feature_cache_gb=0" in capsys.readouterr().err
