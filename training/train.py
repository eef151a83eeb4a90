"""Every stage: recipe -> model -> stage -> data -> Trainer -> save.

samvlm train configs/debug_cpu.yaml trainer.output_dir=runs/debug
"""

import logging
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
import torch.distributed as dist
from transformers import AutoModelForImageTextToText, AutoProcessor, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

import samvlm  # noqa: F401  (registers the Auto classes)
from samvlm.data.datasets import MixtureDataset, RecordSource, SynthSource
from samvlm.data.synth import CHARSET
from samvlm.model.assembly import assemble
from training.recipe import Recipe, load_recipe
from training.stages import fingerprint, set_trainable
from training.trainer import SamVlmTrainer, attach_heads

logger = logging.getLogger("samvlm.training")


def build_model(recipe: Recipe):
    """The model and processor that a stage starts from."""
    if recipe.model.assemble is not None:
        parts = dict(recipe.model.assemble)
        if parts.get("characters") == "synth":
            parts["characters"] = CHARSET
        try:
            model, processor = assemble(**parts)
        except TypeError as error:
            raise ValueError(f"model.assemble: {error}") from None
    else:
        settings = {}
        if recipe.model.attn_implementation:
            settings["attn_implementation"] = recipe.model.attn_implementation
        model = AutoModelForImageTextToText.from_pretrained(
            recipe.model.init_from, dtype=torch.float32, **settings
        )
        processor = AutoProcessor.from_pretrained(recipe.model.init_from)
    return model, processor


def build_dataset(recipe: Recipe) -> MixtureDataset:
    """The mixture of a recipe's sources."""
    sources = []
    for source in recipe.data.sources:
        kind = SynthSource if "synth" in source else RecordSource
        try:
            sources.append(kind(**source))
        except TypeError as error:
            raise ValueError(f"data.sources: {source}: {error}") from None
    return MixtureDataset(sources, recipe.data.seed)


def arguments(recipe: Recipe, folder: Path) -> TrainingArguments:
    """transformers' arguments for a stage."""
    settings = recipe.trainer
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=settings.max_steps,
        learning_rate=settings.learning_rate,
        warmup_steps=settings.warmup_steps,
        lr_scheduler_type=settings.schedule,
        gradient_accumulation_steps=settings.gradient_accumulation_steps,
        max_grad_norm=settings.max_grad_norm,
        save_steps=settings.save_steps,
        save_total_limit=settings.save_total_limit,
        logging_steps=settings.logging_steps,
        report_to=settings.report_to,
        seed=settings.seed,
        use_cpu=settings.use_cpu,
        remove_unused_columns=False,
        logging_nan_inf_filter=False,
        dataloader_num_workers=recipe.data.workers,
        dataloader_pin_memory=False,
    )


def run_stage(recipe: Recipe, folder: Path) -> dict:
    """Train one stage and save its result in `folder`. Returns the last figures."""
    torch.manual_seed(recipe.trainer.seed)
    model, processor = build_model(recipe)
    if recipe.stage.dense_weight:
        attach_heads(model, CHARSET, recipe.model.init_from)
    model.to(getattr(torch, recipe.model.dtype))
    model = set_trainable(model, recipe.stage)
    before = fingerprint(model)
    trainer = SamVlmTrainer(recipe, model, processor, build_dataset(recipe), arguments(recipe, folder))
    trainer.train(resume_from_checkpoint=last_checkpoint(recipe, folder))
    after = fingerprint(model)
    moved = [name for name, value in before.items() if after.get(name) != value]
    if moved:
        raise RuntimeError(
            f"{len(moved)} frozen parameters moved, the first is {moved[0]}: nothing was saved."
        )
    if trainer.is_world_process_zero():
        trainer.save_result(folder)
        logger.info("saved %s", folder)
    return trainer.state.log_history[-1]


def last_checkpoint(recipe: Recipe, folder: Path) -> str | None:
    """The checkpoint that trainer.resume asks for."""
    resume = recipe.trainer.resume
    if resume != "auto":
        return resume
    return get_last_checkpoint(str(folder)) if folder.is_dir() else None


def main(argv: list[str] | None = None) -> int:
    """Run the stages of a recipe in turn."""
    argv = sys.argv[1:] if argv is None else argv
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    if not argv or argv[0] in ("-h", "--help"):
        print(
            "usage: samvlm train RECIPE [section.key=value …]   (RECIPE: a YAML file or a name in configs/)"
        )
        return 0 if argv else 2
    try:
        recipes = load_recipe(argv[0], argv[1:])
        previous = None
        for number, recipe in enumerate(recipes, 1):
            folder = Path(recipe.trainer.output_dir) / f"{number}-{recipe.stage.name}"
            if recipe.model.init_from == "previous":
                recipe.model.init_from = previous
            logger.info("stage %d of %d: %s -> %s", number, len(recipes), recipe.stage.name, folder)
            run_stage(recipe, folder)
            previous = str(folder)
    except (ValueError, OSError) as error:
        print(f"samvlm train: {error}", file=sys.stderr)
        return 2
    finally:
        if dist.is_initialized():
            dist.barrier()
            dist.destroy_process_group()
    return 0


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sys.exit(main())
