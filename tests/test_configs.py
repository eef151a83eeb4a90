"""Every recipe in configs/ loads, draws what exists, and explains its keys."""

import re
from pathlib import Path

import pytest
import yaml

from samvlm.data.datasets import source_of
from samvlm.data.synth import CHARSET
from samvlm.model.assembly import assemble
from training.recipe import load_recipe

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
RECIPES = sorted(CONFIGS.glob("*.yaml"))
names = {"ids": lambda path: path.stem}
KEY = re.compile(r"^\s*(?:- )?[{]?\s*[A-Za-z_]\w*:(?:\s|$)")


def uncommented(text: str) -> list[str]:
    """Lines of the first document that set a key and have no comment, beside them or in the line above."""
    lines = text.split("\n---")[0].splitlines()
    faults = []
    for above, line in zip(["", *lines], lines, strict=False):
        explained = " #" in line or above.lstrip().startswith("#")
        if KEY.match(line) and not explained:
            faults.append(line.strip())
    return faults


def test_there_are_recipes_for_every_stage():
    stems = {path.stem for path in RECIPES}
    assert stems >= {"debug_cpu", "stage0_tower", "stage1_align", "stage2_instruct", "lora_table"}


@pytest.mark.parametrize("path", RECIPES, **names)
def test_loads_and_starts_from_something(path):
    recipes = load_recipe(path)
    for recipe in recipes:
        assert recipe.trainer.output_dir.startswith("runs/"), "runs/ is what git ignores"
        assert recipe.trainer.warmup_steps < recipe.trainer.max_steps
        assert recipe.trainer.save_steps <= recipe.trainer.max_steps
        for source in recipe.data.sources:
            source_of(source)  # raises for kinds and options that do not exist
        if recipe.model.assemble is not None and isinstance(recipe.model.assemble["tower"], dict):
            parts = dict(recipe.model.assemble)
            parts["characters"] = CHARSET if parts["characters"] == "synth" else parts["characters"]
            model, processor = assemble(**parts)
            assert all(
                0 <= layer < model.config.text_config.num_hidden_layers for layer in recipe.stage.guide_layers
            )
            largest = processor.image_processor.size.longest_edge
            sizes = [
                s.get("size", [largest]) for s in recipe.data.sources if "synth" in s and not s.get("resize")
            ]
            assert all(max(size) <= largest for size in sizes)


@pytest.mark.parametrize("path", RECIPES, **names)
def test_every_key_is_explained(path):
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# "), "say what the recipe is for, and the command"
    assert "samvlm train " in text.split("\n\n")[0]
    missing = uncommented(text)
    if path.stem.startswith("tiny"):  # the record of a run: its common keys are explained in debug_cpu
        reference = (CONFIGS / "debug_cpu.yaml").read_text(encoding="utf-8")
        missing = [line for line in missing if not re.search(rf"^\s*{line.split(':')[0]}:", reference, re.M)]
    assert missing == []


def test_the_check_of_comments_finds_what_lacks_one():
    text = "a: 1  # one\n# two\nb: 2\nc: 3\n- {d: 4}\n  e:\n# done\n---\nf: 5\n"
    assert uncommented(text) == ["c: 3", "- {d: 4}", "e:"]


def test_stages_follow_one_another():
    """What a stage starts from by default is what the stage before it saves."""
    align, instruct = (
        load_recipe(CONFIGS / f"{name}.yaml")[0] for name in ("stage1_align", "stage2_instruct")
    )
    assert instruct.model.init_from == f"{align.trainer.output_dir}/1-align"
    tower = load_recipe(CONFIGS / "stage0_tower.yaml")[0]
    assert tower.model.init_from == align.model.init_from
    assert [r.stage.name for r in load_recipe(CONFIGS / "debug_cpu.yaml")] == ["tower", "align", "instruct"]
    assert load_recipe(CONFIGS / "lora_table.yaml")[0].stage.lora["r"] == 16


@pytest.mark.parametrize("path", RECIPES, **names)
def test_variants_in_the_comments_are_valid(path):
    """Settings that a recipe's head suggests, such as LoRA in stage 2."""
    for line in path.read_text(encoding="utf-8").splitlines():
        settings = re.findall(r"'((?:stage|trainer|data|model)\.[^']+)'", line)
        for setting in settings:
            key, _, value = setting.partition("=")
            assert yaml.safe_load(value) is not None, key
        load_recipe(path, settings)
