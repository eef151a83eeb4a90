"""Recipes: unknown keys, wrong values and contradictions are told with the key and the remedy."""

import pytest

from samvlm.data.datasets import source_of
from training.intake import check_source
from training.recipe import DataRecipe, StageRecipe, find_recipe, load_recipe

GOOD = """
model: {init_from: some/folder}
data: {sources: [{synth: table}], max_pixels: 5.0e+5}
stage: {name: align}
trainer: {max_steps: 10, learning_rate: 1e-4, rates: {connector: 2e-3}}
"""


@pytest.fixture
def load(tmp_path):
    def load(text: str, *overrides: str):
        path = tmp_path / "recipe.yaml"
        path.write_text(text, encoding="utf-8")
        return load_recipe(path, list(overrides))

    return load


def test_reads_numbers_that_yaml_takes_for_text(load):
    (recipe,) = load(GOOD)
    assert recipe.trainer.learning_rate == 1e-4 and isinstance(recipe.trainer.learning_rate, float)
    assert recipe.trainer.rates == {"connector": 2e-3}
    assert recipe.data.max_pixels == 500_000 and isinstance(recipe.data.max_pixels, int)
    assert recipe.stage.parts() == ("connector",)
    assert recipe.model.dtype == "float32"  # a default


def test_the_values_of_sources_are_numbers_too(load):
    (recipe,) = load(GOOD.replace("{synth: table}", "{synth: table, weight: 1e-1, size: [1.28e2, 64]}"))
    assert recipe.data.sources == [{"synth": "table", "weight": 0.1, "size": [128, 64]}]


def test_a_merged_mapping_may_have_a_key_again(load):
    (recipe,) = load(GOOD.replace("trainer: {", "trainer: {<<: {max_steps: 3}, "))
    assert recipe.trainer.max_steps == 10


def test_overrides_win_and_are_yaml(load):
    (recipe,) = load(
        GOOD,
        "trainer.max_steps=1e2",
        "trainer.rates.vision_tower=1e-5",
        "stage.train=[connector, vision_tower]",
        "data.sources=[{records: a=b.jsonl}]",
        "trainer.resume=auto",
    )
    assert recipe.trainer.max_steps == 100
    assert recipe.trainer.rates == {"connector": 2e-3, "vision_tower": 1e-5}
    assert recipe.stage.parts() == ("connector", "vision_tower")
    assert recipe.data.sources == [{"records": "a=b.jsonl"}]
    assert recipe.trainer.resume == "auto"


def test_several_documents_are_stages_in_turn(load):
    second = GOOD.replace("some/folder", "previous").replace("align", "instruct")
    recipes = load(f"# a comment\n{GOOD}\n---\n{second}\n---\n", "trainer.max_steps=3")
    assert [r.stage.name for r in recipes] == ["align", "instruct"]
    assert [r.trainer.max_steps for r in recipes] == [3, 3]
    with pytest.raises(ValueError, match=r"no previous one: model\.init_from"):
        load(second)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("max_steps", "max_step", r"trainer: unknown key 'max_step': did you mean 'max_steps'\?"),
        ("stage:", "stages:", r"unknown key 'stages': did you mean 'stage'\?"),
        ("max_steps", "zzz", r"unknown key 'zzz': the keys are output_dir, max_steps"),
        ("align", "alin", r"name='alin': choose one of tower, align, instruct"),
        ("max_steps: 10", "max_steps: ten", r"max_steps='ten': a number is needed"),
        ("max_steps: 10", "max_steps: 1.5", r"max_steps=1.5: expected int"),
        ("max_steps: 10", "max_steps: true", r"max_steps=True: expected int"),
        ("max_steps: 10", "max_steps: .inf", r"max_steps=inf: a number is needed"),
        ("max_steps: 10", "max_steps: 0", r"trainer\.max_steps=0: at least 1"),
        ("1e-4", "-1e-4", r"learning_rate=-0\.0001"),
        ("connector: 2e-3", "conector: 2e-3", r"trainer\.rates=\['conector'\]: the parts are vision_tower"),
        ("connector: 2e-3", "connector: fast", r"rates\.connector='fast': a number is needed"),
        ("name: align", "train: [tower]", r"stage\.train=\['tower'\]: the parts are vision_tower"),
        ("name: align", "train: []", r"stage\.train is empty"),
        ("name: align", "tower_blocks: -1, name: tower", r"stage\.tower_blocks=-1: at least 0"),
        ("name: align", "lora: {r: eight}", r"stage\.lora\.r='eight': a number above 0"),
        ("name: align", "lora: {lora_alpha: 0}", r"stage\.lora\.lora_alpha=0: a number above 0"),
        ("name: align", "lora: {tower: 2}", r"stage\.lora\.tower=2: true or false"),
        ("name: align", "lora: {quantize: 8bit}", r"stage\.lora\.quantize='8bit': 4bit"),
        ("name: align", "guide_layers: [one]", r"guide_layers\[0\]='one': a number is needed"),
        ("[{synth: table}]", "[]", r"data\.sources is empty"),
        (
            "{synth: table}",
            "{weight: 1}",
            r"data\.sources: .* needs one of synth: KIND, engine: FOLDER, records: FILE, parquet: FILES ",
        ),
        ("{synth: table}", "{synth: table, wieght: 2}", r"sources\[0\]: unknown key 'wieght': .* 'weight'"),
        ("{synth: table}", "{synth: table, weight: heavy}", r"sources\[0\]: weight='heavy': a number"),
        ("{synth: table}", "{synth: table, weight: 0}", r"its weight is a number above 0"),
        ("{synth: table}", "{synth: table, size: [128]}", r"size=\[128\]: a list of 2 is needed"),
        ("{synth: table}", "{synth: table, size: [a, b]}", r"size\[0\]='a': a number is needed"),
        ("{synth: table}", "{synth: table, options: 3}", r"sources\[0\]: options=3: expected dict"),
        ("{synth: table}", "{records: 5}", r"sources\[0\]: records=5: expected str"),
        ("max_pixels: 5.0e+5", "seed: -1", r"data\.seed=-1: a whole number from 0"),
        ("max_pixels: 5.0e+5", "workers: -2", r"data\.workers=-2: a whole number from 0"),
        ("max_steps: 10", "schedule: cosin", r"schedule='cosin': choose one of cosine, linear"),
        ("max_steps: 10", "warmup_steps: -3", r"trainer\.warmup_steps=-3: a number from 0"),
        ("max_steps: 10", "weight_decay: .nan", r"trainer\.weight_decay=nan: a number from 0"),
        ("max_steps: 10", "max_grad_norm: -1", r"trainer\.max_grad_norm=-1\.0: a number from 0"),
        ("max_steps: 10", "seed: -1", r"trainer\.seed=-1: a whole number from 0"),
        ("name: align", "lm_weight: -1", r"stage\.lm_weight=-1\.0: a number from 0"),
        (
            "max_steps: 10",
            "max_steps: 10, max_steps: 5",
            r"the key 'max_steps' stands twice, in line 5 and in line 5",
        ),
        (
            "stage: {name",
            "model: {init_from: other}\nstage: {name",
            r"the key 'model' stands twice, in line 2 and",
        ),
        ("max_pixels: 5.0e+5", "input_noise: 1", r"data\.input_noise=1\.0: a share"),
        ("max_pixels: 5.0e+5", "max_images: 0", r"data\.max_images=0: at least 1"),
        ("{name: align}", "[align]", r"stage: expected a mapping, got \['align'\]"),
    ],
)
def test_a_wrong_key_or_value_is_told_with_its_place(load, old, new, told):
    assert GOOD.count(old) == 1
    with pytest.raises(ValueError, match=told) as error:
        load(GOOD.replace(old, new))
    assert str(error.value).startswith("recipe.yaml: ")


@pytest.mark.parametrize(
    ("overrides", "keys"),
    [
        (["model.assemble={tower: {}}"], ("model.init_from", "model.assemble")),
        (["model.init_from=null"], ("model.init_from", "model.assemble")),
        (["stage.lora={r: 4}"], ("stage.lora", "stage.name")),
        (
            ["stage.name=instruct", "stage.lora={r: 4}", "stage.guide_weight=1"],
            ("stage.lora", "stage.guide_weight"),
        ),
        (
            ["stage.name=instruct", "stage.lora={r: 4}", "stage.train=[connector]"],
            ("stage.lora", "stage.train"),
        ),
        (
            [
                "stage.name=instruct",
                "stage.lora={r: 4}",
                "model.init_from=null",
                "model.assemble={tower: {}}",
            ],
            ("stage.lora", "model.assemble"),
        ),
        (
            ["stage.name=instruct", "stage.lora={r: 4}", "model.rescale={text_height: 16}"],
            ("stage.lora", "model.rescale"),
        ),
        (
            ["model.init_from=null", "model.assemble={tower: {}}", "model.rescale={text_height: 16}"],
            ("model.rescale", "model.assemble"),
        ),
        (["stage.tower_blocks=1"], ("stage.tower_blocks", "stage.train")),
        (["trainer.rates={vision_tower: 1e-5}"], ("trainer.rates", "stage.train")),
        (["trainer.rates={training_heads: 1e-5}"], ("trainer.rates", "stage.dense_weight")),
        (
            [
                "stage.name=instruct",
                "stage.lora={tower: true}",
                "stage.train=[vision_tower, language_model]",
                "trainer.rates={}",
            ],
            ("stage.lora.tower", "stage.train"),
        ),
        (
            ["stage.name=instruct", "stage.lora={tower: true, target_modules: [q_proj]}"],
            ("stage.lora.tower", "stage.lora.target_modules"),
        ),
        (["stage.lm_weight=0"], ("stage.lm_weight", "stage.dense_weight", "stage.guide_weight")),
        (["data.sources=[{records: a}]", "stage.dense_weight=1"], ("stage.dense_weight", "data.sources")),
        (["data.sources=[{records: a}]", "stage.guide_weight=1"], ("stage.guide_weight", "data.sources")),
        (
            ["data.sources=[{records: a}, {synth: strip}]", "stage.dense_weight=1", "stage.lm_weight=0"],
            ("stage.lm_weight", "data.sources"),
        ),
        (
            ["trainer.schedule=constant", "trainer.warmup_steps=5"],
            ("trainer.schedule", "trainer.warmup_steps"),
        ),
    ],
)
def test_contradictions_name_both_keys(load, overrides, keys):
    with pytest.raises(ValueError) as error:
        load(GOOD, *overrides)
    assert all(key in str(error.value) for key in keys)


def test_printed_tables_know_where_their_characters_are(load):
    dense = ("stage.dense_weight=1", "stage.lm_weight=0", "stage.guide_weight=0")
    (recipe,) = load(GOOD, "data.sources=[{engine: a, dense_only: true}, {synth: strip}]", *dense)
    assert recipe.stage.dense_weight == 1
    (recipe,) = load(GOOD, "data.sources=[{engine: a}]", "stage.guide_weight=1")
    assert recipe.stage.guide_weight == 1
    with pytest.raises(ValueError, match="needs one of synth: KIND, engine: FOLDER"):
        load(GOOD, "data.sources=[{engine: a, synth: table}]")
    with pytest.raises(ValueError, match="no printed tables there; make them with"):
        check_source(source_of({"engine": "/nowhere"}), 0.1)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("model: {a: [}", "is not valid YAML"),
        ("", "is empty: write the sections"),
        ("# only a comment\n---\n", "is empty"),
        ("- model", "document 1 is not a mapping"),
    ],
)
def test_bad_files(load, text, told):
    with pytest.raises(ValueError, match=told):
        load(text)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("trainer.max_steps", r"write section\.key=value"),
        ("trainer.max_steps.more=1", "max_steps is not a section"),
        ("trainer.rates={", "is not valid YAML"),
        ("trainer.maxsteps=1", "did you mean 'max_steps'"),
    ],
)
def test_bad_overrides(load, override, told):
    with pytest.raises(ValueError, match=told):
        load(GOOD, override)


def test_an_override_may_fill_a_section_that_the_file_leaves_empty(load):
    (recipe,) = load(GOOD.replace("stage: {name: align}", "stage:"), "stage.name=tower")
    assert recipe.stage.name == "tower"


def test_recipes_are_found_by_name(tmp_path):
    assert find_recipe("debug_cpu").name == "debug_cpu.yaml"
    assert find_recipe("debug_cpu").parent.name == "configs"
    for name, file in {
        "tower": "stage0_tower",
        "align": "stage1_align",
        "instruct": "stage2_instruct",
    }.items():
        assert find_recipe(name).stem == find_recipe(file).stem == file
    assert find_recipe("lora_table").name == "lora_table.yaml"
    with pytest.raises(ValueError, match="Did you mean instruct"):
        find_recipe("instuct")
    with pytest.raises(ValueError, match="Did you mean debug_cpu"):
        find_recipe("debug_gpu")
    with pytest.raises(ValueError, match=r"there is no recipe .*qqq\. Recipes: .*debug_cpu"):
        find_recipe("qqq")
    with pytest.raises(ValueError, match="there is no recipe"):
        find_recipe(tmp_path)


def test_dataclasses_check_without_a_file():
    assert StageRecipe(name="tower").parts() == ("vision_tower", "connector", "language_model")
    with pytest.raises(ValueError, match=r"data\.sources"):
        DataRecipe()
