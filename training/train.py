"""Every stage: recipe -> model -> stage -> data -> Trainer -> save.

samvlm train configs/debug_cpu.yaml trainer.output_dir=runs/debug
torchrun --nproc_per_node 2 training/train.py configs/debug_cpu.yaml trainer.output_dir=runs/debug
"""

import json
import logging
import os
import signal
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
if __name__ == "__main__":  # Ctrl-C while the libraries load, which takes seconds
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))

import torch
import torch.distributed as dist
from transformers import AutoModelForImageTextToText, AutoProcessor, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint
from transformers.utils.logging import disable_progress_bar

import samvlm  # noqa: F401  (registers the Auto classes)
from samvlm.data.datasets import MixtureDataset, RecordSource, SynthSource
from samvlm.data.synth import CHARSET
from samvlm.model.assembly import assemble
from training.recipe import Recipe, load_recipe
from training.stages import fingerprint, set_trainable
from training.trainer import SamVlmTrainer, TrainingStopped, attach_heads

logger = logging.getLogger("samvlm.training")
STOPPED, BAD_INPUT, INTERRUPTED = 1, 2, 130  # exit codes


def build_model(recipe: Recipe):
    """The model, in fp32, and the processor that a stage starts from."""
    source, attention = recipe.model.init_from, recipe.model.attn_implementation
    if recipe.model.assemble is not None:
        parts = dict(recipe.model.assemble)
        if parts.get("characters") == "synth":
            parts["characters"] = CHARSET
        try:
            model, processor = assemble(**parts)
        except TypeError as error:
            raise ValueError(f"model.assemble: {error}") from None
        if attention:
            model.set_attn_implementation(attention)
        return model, processor
    if Path(source).is_dir():
        source = str(Path(source).resolve())  # an adapter keeps the name of its base model
    elif source == "samvlm-tiny":
        from samvlm.generation.parser import SHIPPED

        source = str(SHIPPED)
    settings = {"attn_implementation": attention} if attention else {}
    model = AutoModelForImageTextToText.from_pretrained(source, dtype=torch.float32, **settings)
    return model, AutoProcessor.from_pretrained(source)


def build_dataset(recipe: Recipe, processor) -> MixtureDataset:
    """The mixture of a recipe's sources, planned at the scale that the image processor brings images to."""
    images = processor.image_processor

    def canvas(width: int, height: int) -> tuple[int, int]:
        if images.pad_to_square:
            return images.size.longest_edge, images.size.longest_edge
        # With `text_height` this is the largest that an image may become: what it shows is not known yet.
        resized = images.resized_shape(height, width)
        height, width = (-(-side // images.canvas_step) * images.canvas_step for side in resized)
        return width, height

    sources = []
    for source in recipe.data.sources:
        kind = SynthSource if "synth" in source else RecordSource
        try:
            sources.append(kind(**source))
        except (TypeError, ValueError) as error:
            raise ValueError(f"data.sources: {source}: {error}") from None
    for source in sources:
        if isinstance(source, RecordSource):
            source.rows  # noqa: B018 (read now: a bad line is an error before the first step)
    return MixtureDataset(sources, recipe.data.seed, canvas=canvas)


def arguments(recipe: Recipe, folder: Path) -> TrainingArguments:
    """transformers' arguments for a stage."""
    settings = recipe.trainer
    args = TrainingArguments(
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
    if args.n_gpu > 1:
        args._n_gpu = 1  # a process has one GPU; more of them take more processes (samvlm train --nproc)
    return args


def run_stage(recipe: Recipe, folder: Path) -> None:
    """Train one stage and save its result in `folder`."""
    checkpoint = last_checkpoint(recipe, folder)
    done = checkpoint is not None and steps_of(checkpoint) >= recipe.trainer.max_steps
    if done and (folder / "log.json").is_file():
        logger.info("done already, at step %d: raise trainer.max_steps to go on", steps_of(checkpoint))
        return
    torch.manual_seed(recipe.trainer.seed)
    model, processor = build_model(recipe)
    if recipe.stage.dense_weight:
        attach_heads(model, CHARSET, recipe.model.init_from)
    model.to(getattr(torch, recipe.model.dtype))
    added = set(processor.tokenizer.get_added_vocab().values()) - {processor.image_token_id}
    model = set_trainable(model, recipe.stage, sorted(added))
    before = fingerprint(model)
    trainer = SamVlmTrainer(
        recipe, model, processor, build_dataset(recipe, processor), arguments(recipe, folder)
    )
    if done:
        trainer.restore(checkpoint)
    else:
        trainer.train(resume_from_checkpoint=checkpoint)
    after = fingerprint(model)
    moved = [name for name, value in before.items() if after.get(name) != value]
    if moved:
        raise RuntimeError(
            f"{len(moved)} frozen parameters moved, the first is {moved[0]}: nothing was saved."
        )
    if trainer.is_world_process_zero():
        trainer.save_result(folder)
        logger.info("saved %s", folder)
    trainer.accelerator.wait_for_everyone()


def last_checkpoint(recipe: Recipe, folder: Path) -> str | None:
    """The checkpoint that trainer.resume asks for. Raises ValueError where the one that it names is none."""
    resume = recipe.trainer.resume
    if resume == "auto":
        return get_last_checkpoint(str(folder)) if folder.is_dir() else None
    if resume is not None and not (Path(resume) / "trainer_state.json").is_file():
        raise ValueError(f"trainer.resume={resume} is no checkpoint: name a folder checkpoint-N, or auto.")
    return resume


def steps_of(checkpoint: str) -> int:
    """How many steps a checkpoint has behind it."""
    return json.loads((Path(checkpoint) / "trainer_state.json").read_text(encoding="utf-8"))["global_step"]


def run(recipes: list[Recipe]) -> None:
    """Run stages in turn; each may start from what the one before it saved."""
    previous = None
    for number, recipe in enumerate(recipes, 1):
        folder = Path(recipe.trainer.output_dir) / f"{number}-{recipe.stage.name}"
        if recipe.model.init_from == "previous":
            recipe.model.init_from = previous
        logger.info("stage %d of %d: %s -> %s", number, len(recipes), recipe.stage.name, folder)
        run_stage(recipe, folder)
        previous = str(folder)


def main(argv: list[str] | None = None) -> int:
    """Run a recipe; returns the exit code: 0, 1 where training cannot go on, 2 for bad input, 130 for Ctrl-C."""
    argv = sys.argv[1:] if argv is None else argv
    first = os.environ.get("RANK", "0") == "0"
    logging.basicConfig(
        level=logging.INFO if first else logging.WARNING, format="%(message)s", stream=sys.stderr
    )
    warnings.filterwarnings("ignore", message=".*gradient_checkpointing.*", category=FutureWarning)  # by peft
    disable_progress_bar()
    if not argv or argv[0] in ("-h", "--help"):
        print(
            "usage: samvlm train RECIPE [section.key=value …]   (RECIPE: a YAML file or a name in configs/)"
        )
        return 0 if argv else BAD_INPUT
    try:
        run(load_recipe(argv[0], argv[1:]))
        if dist.is_initialized():
            dist.barrier()
    except (ValueError, OSError) as error:
        print(f"samvlm train: {one_line(error)}", file=sys.stderr)
        return BAD_INPUT
    except TrainingStopped as error:
        print(f"samvlm train: {error}", file=sys.stderr)
        return STOPPED
    except KeyboardInterrupt:
        print(
            "samvlm train: interrupted; trainer.resume=auto goes on from the last checkpoint", file=sys.stderr
        )
        return INTERRUPTED
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
    return 0


def one_line(error: Exception) -> str:
    """What an error says, without the traceback that a data worker puts around it."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    if lines and lines[0].startswith("Caught ") and "DataLoader worker" in lines[0]:
        return lines[-1].partition(": ")[2]
    return " ".join(lines) or type(error).__name__


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sys.exit(main())
