"""A stage trains exactly the parts it says: shown by gradients, and by the bytes of everything else."""

import hashlib
import logging
import re

import pytest
import torch
from readers import build_reader, draw_strips

from training.collator import Collator
from training.objective import Objective
from training.optimizers import MasterWeights, parameter_groups
from training.recipe import StageRecipe
from training.stages import fingerprint, part_of, set_trainable, summary

ALL = ("vision_tower", "connector", "language_model")
STAGES = {
    "tower": (StageRecipe(name="tower", dense_weight=0.5, guide_weight=0.5), (*ALL, "training_heads")),
    "align": (StageRecipe(name="align"), ("connector",)),
    "instruct": (StageRecipe(name="instruct"), ("connector", "language_model")),
    "instruct, all": (StageRecipe(name="instruct", train=list(ALL)), ALL),
    "align, tower too": (
        StageRecipe(name="align", train=["connector", "vision_tower"]),
        ("connector", "vision_tower"),
    ),
    "language model alone": (StageRecipe(name="instruct", train=["language_model"]), ("language_model",)),
}


def sha256(parameter: torch.Tensor) -> str:
    return hashlib.sha256(parameter.detach().reshape(-1).view(torch.uint8).numpy().tobytes()).hexdigest()


def take_steps(model: torch.nn.Module, processor, stage: StageRecipe, steps: int = 3) -> set[str]:
    """Real optimizer steps; the names of the parameters that some gradient reached."""
    objective = Objective(model, stage)
    collator = Collator(processor, dense=objective.dense, guide=bool(stage.guide_weight))
    optimizer = MasterWeights(parameter_groups(model, lambda name: 1e-2, 0.01, muon=True))
    model.train()
    reached = set()
    for step in range(steps):
        loss, _ = objective(**collator(draw_strips(2, seed=step)))
        loss.backward()
        reached |= {n for n, p in model.named_parameters() if p.grad is not None and bool(p.grad.any())}
        optimizer.step()
        optimizer.zero_grad()
    return reached


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("name", STAGES)
def test_gradients_reach_what_trains_and_nothing_else_moves(name, tied):
    stage, parts = STAGES[name]
    model, processor = build_reader({"tie_word_embeddings": tied}, dense=bool(stage.dense_weight))
    model = set_trainable(model, stage)
    wanted = {n for n, _ in model.named_parameters() if part_of(n) in parts}
    assert {n for n, p in model.named_parameters() if p.requires_grad} == wanted
    before = {n: sha256(p) for n, p in model.named_parameters()}
    claimed = fingerprint(model)
    assert claimed == {n: h for n, h in before.items() if n not in wanted}

    assert take_steps(model, processor, stage) == wanted
    after = {n: sha256(p) for n, p in model.named_parameters()}
    assert {n for n in before if before[n] != after[n]} == wanted
    assert fingerprint(model) == claimed


@pytest.mark.parametrize(
    ("blocks", "pattern"),
    [
        (0, r"vision_tower\.neck\."),
        (1, r"vision_tower\.(neck|layers\.1)\."),
        (2, r"vision_tower\.(neck|layers)\."),
    ],
)
@pytest.mark.parametrize("lora", [None, {"r": 2}], ids=["whole", "lora"])
def test_the_towers_last_blocks_and_its_neck_train(lora, blocks, pattern):
    stage = StageRecipe(name="instruct", train=list(ALL), tower_blocks=blocks, lora=lora)
    model, processor = build_reader({"tie_word_embeddings": False})
    model = set_trainable(model, stage)
    trainable = {n for n, p in model.named_parameters() if p.requires_grad}
    tower = {n for n, _ in model.named_parameters() if part_of(n) == "vision_tower" and ".original" not in n}
    assert {n for n in trainable if part_of(n) == "vision_tower"} == {
        n for n in tower if re.search(pattern, n)
    }
    before = {n: sha256(p) for n, p in model.named_parameters()}
    assert take_steps(model, processor, stage) == trainable
    assert {n for n, p in model.named_parameters() if before[n] != sha256(p)} == trainable


def test_more_blocks_than_there_are():
    model, _ = build_reader()
    with pytest.raises(ValueError, match=r"stage\.tower_blocks=3: the tower has 2 blocks"):
        set_trainable(model, StageRecipe(name="tower", tower_blocks=3))


@pytest.mark.parametrize("dora", [False, True])
def test_adapters_on_the_towers_qkv_too(dora):
    stage = StageRecipe(name="instruct", lora={"r": 2, "tower": True, "use_dora": dora, "new_tokens": True})
    model, processor = build_reader()
    base = {n: sha256(p) for n, p in model.named_parameters()}
    added = sorted(set(processor.tokenizer.get_added_vocab().values()) - {processor.image_token_id})
    model = set_trainable(model, stage, added)
    trainable = {n for n, p in model.named_parameters() if p.requires_grad}
    tower = {n for n in trainable if part_of(n) == "vision_tower"}
    kinds = ("A", "B", "magnitude_vector") if dora else ("A", "B")
    wanted = {(block, kind) for block in (0, 1) for kind in kinds}
    found = {
        (int(m[1]), m[2]) for n in tower if (m := re.search(r"layers\.(\d)\.attn\.qkv\.lora_([^.]+)\.", n))
    }
    assert len(tower) == len(wanted) and found == wanted
    assert any("trainable_tokens_delta" in n for n in trainable)
    assert take_steps(model, processor, stage) == trainable
    assert sorted(sha256(p) for p in model.parameters() if not p.requires_grad) == sorted(base.values())


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(
    ("settings", "parts", "whole"),
    [
        ({}, None, {"connector"}),
        ({"new_tokens": True}, None, {"connector"}),
        ({"target_modules": r".*language_model.*\.q_proj"}, ["language_model"], set()),
        ({"use_dora": True}, ["connector", "language_model"], {"connector"}),
        ({}, list(ALL), {"connector", "vision_tower"}),
    ],
    ids=["plain", "new tokens", "queries alone", "dora", "tower too"],
)
def test_lora_trains_adapters_and_whole_parts_and_leaves_the_base(settings, parts, whole, tied):
    stage = StageRecipe(name="instruct", train=parts, lora={"r": 4, "lora_dropout": 0.0, **settings})
    model, processor = build_reader({"tie_word_embeddings": tied})
    base = {n: sha256(p) for n, p in model.named_parameters()}
    added = sorted(set(processor.tokenizer.get_added_vocab().values()) - {processor.image_token_id})
    model = set_trainable(model, stage, added)
    trainable = {n for n, p in model.named_parameters() if p.requires_grad}
    for name in trainable:
        adapter = "lora_" in name or "trainable_tokens_delta" in name
        assert adapter or ("modules_to_save.default" in name and part_of(name) in whole), name
    assert {part_of(n) for n in trainable if "modules_to_save" in n} == whole
    tables = [n for n in trainable if "trainable_tokens_delta" in n]
    assert len(tables) == (0 if "new_tokens" not in settings else 1 if tied else 2)
    assert any("q_proj.lora_A" in n for n in trainable)
    assert any("down_proj.lora_A" in n for n in trainable) == ("target_modules" not in settings)

    assert take_steps(model, processor, stage) == trainable
    frozen = [sha256(p) for p in model.parameters() if not p.requires_grad]
    assert sorted(frozen) == sorted(base.values()), "the base model's weights, all of them, as they were"


def test_only_the_new_rows_of_a_table_change():
    stage = StageRecipe(name="instruct", lora={"r": 2, "new_tokens": True})
    model, processor = build_reader()
    ids = [processor.tokenizer.convert_tokens_to_ids(token) for token in ("<fcel>", "<nl>", "<|im_end|>")]
    before = model.get_input_embeddings().weight.detach().clone()
    model = set_trainable(model, stage, ids)
    take_steps(model, processor, stage)
    merged = model.merge_and_unload()
    changed = (merged.get_input_embeddings().weight != before).any(1).nonzero().flatten().tolist()
    # The strips hold no table: of these tokens only the end of the turn is an input or an answer, but the softmax
    # reaches all of them.
    assert changed == sorted(ids)
    assert merged.lm_head.weight is merged.get_input_embeddings().weight


def test_wrong_lora_settings_are_told():
    model, _ = build_reader()
    with pytest.raises(ValueError, match=r"stage\.lora: unknown key 'rank_of_things'"):
        set_trainable(model, StageRecipe(lora={"rank_of_things": 3}))
    with pytest.raises(ValueError, match=r"unknown key 'lora_alfa': did you mean 'lora_alpha'"):
        set_trainable(model, StageRecipe(lora={"lora_alfa": 3}))
    with pytest.raises(ValueError, match=r"stage\.lora: No modules were targeted"):
        set_trainable(model, StageRecipe(lora={"r": 3, "target_modules": ["nowhere"]}))


def test_what_trains_is_logged_with_counts(caplog):
    model, _ = build_reader(dense=True)
    counts = {part: sum(p.numel() for n, p in model.named_parameters() if part_of(n) == part) for part in ALL}
    with caplog.at_level(logging.INFO, logger="samvlm.training"):
        set_trainable(model, StageRecipe(name="align"))
    lines = {line.split()[1]: line for line in caplog.messages}
    assert set(lines) == {*ALL, "training_heads"}
    assert lines["vision_tower"].split() == [
        "[Frozen]", "vision_tower", "0", "trained", f"{counts['vision_tower']:,}", "frozen",
    ]  # fmt: skip
    assert lines["connector"].split()[0] == "[TRAINABLE]"
    assert f" {counts['connector']:,} trained" in lines["connector"]
    model.model.vision_tower.pos_embed.requires_grad_(True)
    (line,) = [line for line in summary(model) if "vision_tower" in line]
    assert line.startswith("[PARTLY]")


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("model.vision_tower.layers.0.attn.qkv.weight", "vision_tower"),
        ("base_model.model.model.vision_tower.modules_to_save.default.pos_embed", "vision_tower"),
        ("model.multi_modal_projector.layers.1.bias", "connector"),
        ("model.language_model.layers.0.self_attn.q_proj.weight", "language_model"),
        ("lm_head.weight", "language_model"),
        ("training_heads.project.bias", "training_heads"),
    ],
)
def test_the_part_of_a_parameter(name, part):
    assert part_of(name) == part
