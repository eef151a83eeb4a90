"""Recipes: YAML into small dataclasses. A file may hold several documents (`---`): stages that run in turn.

An unknown key is an error that names the nearest one; `key=value` on the command line overrides every document.
"""

import difflib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from training.adapters import check_alone, check_lora
from training.data_recipe import DataRecipe, check_packing, is_placed
from training.scoring_recipe import ScoringRecipe
from training.sharding import check_sharding
from training.typed_yaml import apply_override, build, read_documents

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
PARTS = ("vision_tower", "connector", "language_model")
Schedule = Literal[
    "cosine",
    "linear",
    "constant",
    "constant_with_warmup",
    "cosine_with_restarts",
    "polynomial",
    "inverse_sqrt",
]
STAGES = {
    "tower": ("vision_tower", "connector", "language_model"),
    "align": ("connector",),
    "instruct": ("connector", "language_model"),
}


@dataclass
class ModelRecipe:
    """Where the weights come from: exactly one of `init_from` and `assemble`."""

    init_from: str | None = None
    """A checkpoint folder or hub name; "samvlm-tiny": the checkpoint that ships; "previous": what the stage before
    this one in the same file saved."""
    assemble: dict[str, Any] | None = None
    """A new model: the arguments of samvlm.model.assembly.assemble; `characters: synth` is the renderer's alphabet."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of weights and activations; with bfloat16 the optimizer keeps fp32 copies of the weights."""
    attn_implementation: str | None = None
    """transformers' setting, "sdpa" or "eager"; default: the library's choice."""
    rescale: dict[str, Any] | None = None
    """Another scale than the checkpoint's from here on: `image_size` (longest side in pixels) and `text_height` (font
    size in pixels that text is brought to), the arguments of samvlm.model.rescaling.rescale."""

    def __post_init__(self):
        if (self.init_from is None) == (self.assemble is None):
            raise ValueError("give exactly one of model.init_from (a folder) and model.assemble (parts).")
        if self.rescale is not None and self.assemble is not None:
            raise ValueError(
                "model.rescale changes a checkpoint; model.assemble has `tower` and `image` for it."
            )


@dataclass
class StageRecipe:
    """What trains, on which losses."""

    name: Literal["tower", "align", "instruct"] = "instruct"
    """tower: all parts learn to read. align: the connector alone. instruct: connector and language model."""
    train: list[str] | None = None
    """The parts that train, instead of the stage's own: vision_tower, connector, language_model."""
    tower_blocks: int | None = None
    """Of the tower only its last so many blocks and its neck train (0: the neck alone); default: all of it."""
    lora: dict[str, Any] | None = None
    """For instruct: settings of peft's LoraConfig (r, lora_alpha, use_dora, …) for the language model's linear layers;
    `tower: true` for the tower's qkv too, `new_tokens: true` to train the embeddings of the added tokens too,
    `quantize: 4bit` for QLoRA (needs bitsandbytes). The stage's other parts train whole."""
    lm_weight: float = 1.0
    """Of the next-token loss; 0: the language model does not run at all."""
    dense_weight: float = 0.0
    """Of the dense loss (training/losses.py); drawn samples only."""
    guide_weight: float = 0.0
    """Of the guide loss (training/losses.py); drawn samples only."""
    guide_layers: list[int] = field(default_factory=lambda: [1])
    """The decoder layers whose head 0 is guided."""

    def __post_init__(self):
        parts = self.parts()
        wrong = [part for part in parts if part not in PARTS]
        if wrong:
            raise ValueError(f"stage.train={wrong}: the parts are {', '.join(PARTS)}.")
        if not parts:
            raise ValueError(f"stage.train is empty: name at least one of {', '.join(PARTS)}.")
        if self.lora is not None and self.name != "instruct":
            raise ValueError(f"stage.lora goes with stage.name=instruct, not {self.name}.")
        if self.lora is not None and "language_model" not in parts:
            raise ValueError(
                f"stage.lora adapts the language model, which stage.train={list(parts)} leaves out."
            )
        if self.lora is not None:
            check_lora(self.lora, parts)
        if self.tower_blocks is not None and "vision_tower" not in parts:
            raise ValueError(
                f"stage.tower_blocks={self.tower_blocks} unfreezes blocks of the tower, which stage.train="
                f"{list(parts)} leaves out: add vision_tower to it."
            )
        if self.tower_blocks is not None and self.tower_blocks < 0:
            raise ValueError(f"stage.tower_blocks={self.tower_blocks}: at least 0.")
        if self.lora is not None and (self.dense_weight or self.guide_weight):
            raise ValueError(
                "stage.lora goes without stage.dense_weight and stage.guide_weight: set both to 0."
            )
        for key in ("lm_weight", "dense_weight", "guide_weight"):
            if not 0 <= getattr(self, key) < float("inf"):
                raise ValueError(f"stage.{key}={getattr(self, key)}: a number from 0 up.")
        if not (self.lm_weight or self.dense_weight or self.guide_weight):
            raise ValueError(
                "stage.lm_weight, stage.dense_weight and stage.guide_weight are all 0: nothing to learn."
            )

    def parts(self) -> tuple[str, ...]:
        """The parts that train."""
        return tuple(self.train) if self.train is not None else STAGES[self.name]


@dataclass
class TrainerRecipe:
    """How it runs."""

    output_dir: str = "runs/samvlm"
    """Results go to `<output_dir>/<number>-<stage>`, checkpoints below it."""
    max_steps: int = 1000
    """Optimizer steps."""
    learning_rate: float = 2e-4
    """Peak rate of all parts that `rates` does not name."""
    rates: dict[str, float] = field(default_factory=dict)
    """Peak rate by part: vision_tower, connector, language_model, training_heads."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """muon: Muon for hidden matrices and AdamW for the rest."""
    weight_decay: float = 0.01
    """Of matrices and convolutions."""
    warmup_steps: int = 0
    """Steps of linear warm-up."""
    schedule: Schedule = "cosine"
    """transformers' lr_scheduler_type."""
    gradient_accumulation_steps: int = 1
    """Micro-batches an optimizer step."""
    max_grad_norm: float = 1.0
    """Gradients are clipped to this norm."""
    max_bad_steps: int = 5
    """Steps in a row with a loss or gradient that is no finite number that end the run; none of them is taken."""
    save_steps: int = 500
    """A checkpoint every so many steps."""
    save_total_limit: int = 2
    """Complete checkpoints kept; 0: all."""
    logging_steps: int = 20
    """A line of figures every so many steps."""
    report_to: str = "none"
    """transformers' report_to, for example tensorboard."""
    seed: int = 0
    """Of dropout and new heads."""
    use_cpu: bool = False
    """Stay on the CPU even where there is a GPU."""
    deepspeed: str | None = None
    """Spread the state over processes by ZeRO: zero2, zero2_offload, zero3, zero3_offload, or a DeepSpeed file."""
    fsdp: bool = False
    """Spread weights, gradients and the optimizer's state over processes by PyTorch's FSDP."""
    resume: str | None = None
    """auto: go on from the last complete checkpoint in the output folder, if there is one; or a checkpoint's path."""
    dry_run: bool = False
    """Stop behind the pre-flight (training/preflight.py): nothing is trained or written."""
    preflight_samples: int = 64
    """Samples that the pre-flight reads, for a few seconds at the most."""
    force: bool = False
    """Go on from a checkpoint of another recipe, data set or number of processes; drop checkpoints in the way."""

    def __post_init__(self):
        for key in (
            "max_steps",
            "gradient_accumulation_steps",
            "save_steps",
            "logging_steps",
            "max_bad_steps",
            "preflight_samples",
        ):
            if getattr(self, key) < 1:
                raise ValueError(f"trainer.{key}={getattr(self, key)}: at least 1.")
        for key in ("warmup_steps", "max_grad_norm", "weight_decay"):
            if not 0 <= getattr(self, key) < float("inf"):
                raise ValueError(f"trainer.{key}={getattr(self, key)}: a number from 0 up.")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"trainer.seed={self.seed}: a whole number from 0 to 2^32 - 1.")
        for key, rate in {"learning_rate": self.learning_rate, **self.rates}.items():
            if not 0 <= rate < float("inf"):
                raise ValueError(f"trainer: the learning rate {key}={rate} is none: give a number from 0 up.")
        if self.schedule == "constant" and self.warmup_steps:
            raise ValueError(
                f"trainer.schedule=constant leaves out trainer.warmup_steps={self.warmup_steps}: "
                "write constant_with_warmup, or 0 steps."
            )
        wrong = [part for part in self.rates if part not in (*PARTS, "training_heads")]
        if wrong:
            raise ValueError(f"trainer.rates={wrong}: the parts are {', '.join(PARTS)}, training_heads.")


@dataclass
class Recipe:
    """One stage, whole."""

    model: ModelRecipe
    data: DataRecipe
    stage: StageRecipe
    trainer: TrainerRecipe
    scoring: ScoringRecipe = field(default_factory=ScoringRecipe)

    def __post_init__(self):
        self.scoring.check(self.data.seed)
        if self.stage.lora is not None and self.model.assemble is not None:
            raise ValueError(
                "stage.lora adapts a trained model: name its folder in model.init_from, not model.assemble."
            )
        if self.stage.lora is not None and self.model.rescale is not None:
            raise ValueError(
                "stage.lora keeps its base model as it is, and model.rescale changes it: rescale it in a stage before."
            )
        check_sharding(self)
        check_alone(self.stage.lora, bool(self.trainer.deepspeed or self.trainer.fsdp))
        check_packing(self.data, self.stage)
        trained = [*self.stage.parts(), *(["training_heads"] if self.stage.dense_weight else [])]
        trained += ["vision_tower"] if (self.stage.lora or {}).get("tower") else []
        idle = [part for part in self.trainer.rates if part not in trained]
        if idle:
            raise ValueError(
                f"trainer.rates names {', '.join(idle)}, and stage.train={trained} does not train it: name it there "
                "(training_heads: set stage.dense_weight), or leave its rate out."
            )
        if not self.stage.dense_weight and any(source.get("dense_only") for source in self.data.sources):
            raise ValueError(
                "data.sources: dense_only samples are for the dense loss alone, and stage.dense_weight=0: set it, or "
                "leave dense_only out."
            )
        drawn = [is_placed(source) for source in self.data.sources]
        for key in ("dense_weight", "guide_weight"):
            if getattr(self.stage, key) and not any(drawn):
                raise ValueError(
                    f"stage.{key} needs the places of characters, which only drawn and printed samples know: add "
                    "{{synth: KIND}} to data.sources, or set it to 0."
                )
        if not (self.stage.lm_weight or self.stage.guide_weight or all(drawn)):
            raise ValueError(
                "stage.lm_weight=0 and stage.guide_weight=0 learn nothing from the records in data.sources: leave "
                "them out, or set stage.lm_weight."
            )


def load_recipe(path: str | Path, overrides: list[str] | None = None) -> list[Recipe]:
    """Read a recipe file.

    Args:
        path: a YAML file, or the name of one in `configs/`: tower, align, instruct, lora_table …
        overrides: `section.key=value`, the value as YAML; applied to every document.

    Returns:
        The stages, in order.

    Raises:
        ValueError: unknown or ill-typed keys, with file, key and remedy.
    """
    path = find_recipe(path)
    try:
        documents = [document for document in read_documents(path.read_text(encoding="utf-8")) if document]
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not valid YAML: {error}") from None
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from None
    recipes = []
    for number, document in enumerate(documents):
        if not isinstance(document, dict):
            raise ValueError(
                f"{path}: document {number + 1} is not a mapping of model, data, stage, trainer, scoring."
            )
        for override in overrides or []:
            apply_override(document, override)
        recipe = build(Recipe, document, f"{path.name}")
        if number == 0 and recipe.model.init_from == "previous":
            raise ValueError(
                f"{path}: the first document has no previous one: model.init_from names a folder."
            )
        if recipe.model.init_from == "previous" and recipes[-1].stage.lora is not None:
            raise ValueError(
                f"{path}: document {number + 1} starts from the previous one, whose stage.lora leaves an adapter: write "
                "it in a file of its own, and start it from what samvlm merge makes of the adapter."
            )
        recipes.append(recipe)
    if not recipes:
        raise ValueError(f"{path} is empty: write the sections model, data, stage and trainer.")
    return recipes


def find_recipe(path: str | Path) -> Path:
    """The file of a recipe given by path or by name. Raises ValueError with the names that exist."""
    path = Path(path)
    if path.is_file():
        return path
    files = {file.stem: file for file in CONFIGS.glob("*.yaml")}
    named = {re.sub(r"^stage\d_", "", stem): file for stem, file in files.items()}  # stage1_align is align
    found = (files | named).get(str(path))
    if found is not None:
        return found
    names = sorted(named)
    near = difflib.get_close_matches(str(path), names, 1)
    hint = f" Did you mean {near[0]}?" if near else f" Recipes: {', '.join(names)}."
    raise ValueError(f"there is no recipe {path}.{hint}")
