"""Which way to spread state a recipe may ask for, what goes with it, and whole runs of two processes."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from readers import build_reader
from torch import nn

from training.recipe import DataRecipe, ModelRecipe, Recipe, StageRecipe, TrainerRecipe
from training.sharded_trainer import units
from training.sharding import (
    FOLDER,
    check_state,
    deepspeed_arguments,
    prepare_processes,
    read_deepspeed,
    sharding_of,
)
from training.shards import part_here, whole_weights

DRIVER = Path(__file__).resolve().parents[1] / "sharded_runs.py"


def recipe(
    stage: dict | None = None, source: dict | None = None, dtype: str = "float32", **trainer
) -> Recipe:
    return Recipe(
        ModelRecipe(init_from="samvlm-tiny", dtype=dtype),
        DataRecipe(sources=[{"synth": "strip", **(source or {})}]),
        StageRecipe(**(stage or {})),
        TrainerRecipe(**trainer),
    )


@pytest.mark.parametrize(
    ("name", "told", "weights"),
    [
        ("zero2", "ZeRO-2", False),
        ("zero2_offload", "ZeRO-2 with offload", False),
        ("zero3", "ZeRO-3", True),
        ("zero3_offload", "ZeRO-3 with offload", True),
    ],
)
def test_the_files_that_ship(name, told, weights):
    sharding = sharding_of(recipe(deepspeed=name))
    assert (sharding.name, sharding.deepspeed, sharding.weights) == (told, True, weights)
    assert sharding_of(recipe(deepspeed=str(FOLDER / f"{name}.json"))) == sharding
    given = deepspeed_arguments(recipe(deepspeed=name, max_grad_norm=0.5, dtype="bfloat16"))
    assert given["bf16"] and given["deepspeed"]["bf16"] == {"enabled": True}
    assert given["deepspeed"]["gradient_clipping"] == 0.5
    assert not given["deepspeed"]["zero_force_ds_cpu_optimizer"], (
        "PyTorch's AdamW, also where it is offloaded"
    )


def test_none_and_fsdp():
    assert sharding_of(recipe()) is None and deepspeed_arguments(recipe()) == {}
    sharding = sharding_of(recipe(fsdp=True))
    assert (sharding.name, sharding.deepspeed, sharding.weights) == ("FSDP", False, True)
    assert deepspeed_arguments(recipe(fsdp=True)) == {}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"deepspeed": "zero4"}, "neither a file nor one of zero2, zero2_offload"),
        ({"deepspeed": "zero2", "fsdp": True}, "trainer.deepspeed=zero2: choose one"),
        ({"deepspeed": "zero2", "optimizer": "muon"}, "trainer.optimizer=muon needs whole matrices"),
        ({"fsdp": True, "stage": {"lora": {"quantize": "4bit"}}}, "stage.lora.quantize does not go with"),
        ({"fsdp": True, "stage": {"name": "tower", "guide_weight": 1.0}}, "choose trainer.deepspeed=zero2"),
        ({"deepspeed": "zero3", "stage": {"name": "tower", "dense_weight": 1.0}}, "set both to 0"),
        (
            {"deepspeed": "zero2", "stage": {"name": "tower", "dense_weight": 1.0, "lm_weight": 0.0}},
            "leave out trainer.deepspeed",
        ),
        (
            {"fsdp": True, "stage": {"name": "tower", "dense_weight": 1.0}, "source": {"dense_only": True}},
            "dense_only samples",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(settings, told):
    with pytest.raises(ValueError, match=told):
        recipe(**settings)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "not valid JSON"),
        ("[]", "needs zero_optimization"),
        ('{"zero_optimization": {"stage": 0}}', "a stage of 1, 2 or 3"),
        (
            '{"zero_optimization": {"stage": 2}, "optimizer": {}}',
            "trainer.optimizer and trainer.rates says it",
        ),
        ('{"zero_optimization": {"stage": 2}, "bf16": {}}', "model.dtype says it"),
    ],
)
def test_a_bad_deepspeed_file_is_refused(text, told, tmp_path):
    (tmp_path / "mine.json").write_text(text)
    with pytest.raises(ValueError, match=told):
        read_deepspeed(str(tmp_path / "mine.json"))


def test_what_this_process_lacks_is_told(monkeypatch):
    for name in ("WORLD_SIZE", "RANK", "ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_FSDP"):
        monkeypatch.delenv(name, raising=False)
    prepare_processes(recipe())
    with pytest.raises(ValueError, match="this is the only one: add --nproc 2"):
        prepare_processes(recipe(fsdp=True))
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(ValueError, match=r"set trainer\.fsdp in the recipe"):
        prepare_processes(recipe())
    monkeypatch.delenv("ACCELERATE_USE_FSDP")
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ValueError, match="no-such-compiler is missing"):
        prepare_processes(recipe(deepspeed="zero2", use_cpu=True))


def test_state_of_others_is_refused_whatever_is_forced(tmp_path):
    mine = {"sharding": "ZeRO-2", "world_size": 2}
    check_state(tmp_path, mine, mine)
    check_state(tmp_path, {"world_size": 1}, {"world_size": 2})
    with pytest.raises(ValueError, match="holds the state of whole weights, and this run is of ZeRO-2"):
        check_state(tmp_path, {"world_size": 2}, mine)
    with pytest.raises(ValueError, match="ZeRO-2 state in 2 parts, and this run has 4 processes"):
        check_state(tmp_path, mine, {**mine, "world_size": 4})


def test_no_pickle_of_a_deepspeed_checkpoint_runs_code(tmp_path):
    mark, mine = tmp_path / "mark", {"sharding": "ZeRO-3", "world_size": 1}

    class Evil:
        def __reduce__(self):
            return Path.touch, (mark,)

    (tmp_path / "global_step4").mkdir()
    path = tmp_path / "global_step4" / "zero_pp_rank_0_mp_rank_00_optim_states.pt"
    torch.save({"step": torch.ones(2)}, path)
    check_state(tmp_path, mine, mine)
    torch.save({"step": Evil()}, path)
    with pytest.raises(ValueError, match="would run code"):
        check_state(tmp_path, mine, mine)
    assert not mark.exists()


def test_fsdp_gathers_decoder_layers_and_blocks_of_the_tower():
    model, _ = build_reader({"tie_word_embeddings": False})
    kinds = [type(unit).__name__ for unit in units(model)]
    assert kinds.count("SamVisionBlock") == len(model.model.vision_tower.layers)
    assert kinds.count("LlamaDecoderLayer") == len(model.model.language_model.layers)


def test_whole_weights_are_the_state_dict_and_keep_ties():
    model = nn.ModuleDict({"a": nn.Embedding(3, 2), "b": nn.Linear(2, 3, bias=False), "n": nn.BatchNorm1d(2)})
    model["b"].weight = model["a"].weight
    state = whole_weights(model, keep=True)
    assert state.keys() == model.state_dict().keys()
    assert state["a.weight"] is state["b.weight"]
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert whole_weights(model, keep=True, dtype=torch.bfloat16)["a.weight"].dtype == torch.bfloat16
    assert whole_weights(model, keep=False) is None
    assert torch.equal(part_here(model["a"].weight), model["a"].weight)


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> dict[str, dict]:
    """What runs of two processes over gloo say of each way to spread state (tests/sharded_runs.py)."""
    if importlib.util.find_spec("deepspeed") is None or shutil.which("g++") is None:
        pytest.skip("DeepSpeed or g++ is missing")
    ways = [
        "zero2:plain,resumed,bad",
        "zero2_offload:plain",
        "zero3:plain,resumed,packed,lora",
        "fsdp:plain,resumed,packed",
    ]
    folder = tmp_path_factory.mktemp("sharded") / "runs"
    done = subprocess.run(
        [sys.executable, str(DRIVER), "--folder", str(folder), "--ways", *ways],
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-6000:]
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"way"')]
    return {answer["way"]: answer for answer in answers}


@pytest.mark.slow
@pytest.mark.parametrize("way", ["zero2", "zero2_offload", "zero3", "fsdp"])
def test_two_processes_learn_as_one(way, told):
    answer = told[way]["plain"]
    assert answer["figures"] < 1e-5 and answer["weights"] < 1e-5
    assert any(0 in pair and 1 in pair for pair in answer["sizes"]), "one process had chats without an image"


@pytest.mark.slow
@pytest.mark.parametrize("way", ["zero3", "fsdp"])
def test_processes_with_images_of_unlike_sizes_wait_for_each_other(way, told):
    answer = told[way]["packed"]
    assert answer["figures"] < 1e-5 and answer["weights"] < 1e-5
    assert any(first != second for first, second in answer["sizes"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "what"), [("zero2", "resumed"), ("zero3", "resumed"), ("fsdp", "resumed"), ("zero3", "lora")]
)
def test_a_resumed_run_of_two_processes_ends_as_the_unbroken_one(way, what, told):
    assert told[way][what] == {"weights": True, "log": True}


@pytest.mark.slow
def test_a_loss_that_is_no_number_in_one_process_is_a_step_for_none(told):
    lines = told["zero2"]["bad"]
    assert [line["bad_steps"] for line in lines] == [0, 0, 2, 0], "both processes count it"
    assert lines[2]["lm_loss"] is None and lines[3]["lm_loss"] < lines[0]["lm_loss"]
