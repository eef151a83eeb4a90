"""Every stage: recipe -> model -> stage -> data -> Trainer -> save.

samvlm train debug_cpu trainer.output_dir=runs/debug --resume auto
torchrun --nproc_per_node 2 training/train.py configs/debug_cpu.yaml trainer.output_dir=runs/debug
"""

import dataclasses
import inspect
import json
import logging
import os
import pickle
import signal
import sys
import warnings
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
if __name__ == "__main__":  # signals while the libraries load, which takes seconds
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, lambda signum, _: os._exit(128 + signum))

import torch
import torch.distributed as dist
from transformers import AutoModelForImageTextToText, AutoProcessor, TrainingArguments
from transformers.utils.logging import disable_progress_bar

import samvlm  # noqa: F401  (registers the Auto classes)
from samvlm.adapters import check_whole, loading
from samvlm.data.datasets import MixtureDataset, source_of
from samvlm.data.lock import alone_in
from samvlm.data.printed_source import EngineSource
from samvlm.data.samples import SynthSource
from samvlm.data.synth import CHARSET
from samvlm.generation.parser import find_checkpoint
from samvlm.model.assembly import assemble, check_names
from samvlm.model.rescaling import rescale
from training.adapters import check_start, quantised
from training.checkpoints import has_result
from training.faults import TrainingStopped, said_by_a_worker
from training.intake import check_source
from training.preflight import Preflight, empty_folder
from training.recipe import Recipe, load_recipe
from training.resume import Start, find_start
from training.sharding import deepspeed_arguments, prepare_processes, whole_model
from training.signals import Interrupted, Signals
from training.stages import fingerprint, set_trainable
from training.trainer import SamVlmTrainer, attach_heads

logger = logging.getLogger("samvlm.training")
USAGE = """usage: samvlm train RECIPE [section.key=value …] [--resume auto|CHECKPOINT] [--dry-run] [--force]
RECIPE: a YAML file or a name in configs/"""
STOPPED, BAD_INPUT = 1, 2  # exit codes; a signal's is 128 and its number
FLAGS = {"--dry-run": "trainer.dry_run=true", "--force": "trainer.force=true"}  # --resume takes a value


def build_model(recipe: Recipe):
    """The model, in fp32, and the processor that a stage starts from."""
    source, attention = recipe.model.init_from, recipe.model.attn_implementation
    if recipe.model.assemble is not None:
        parts = dict(recipe.model.assemble)
        if parts.get("characters") == "synth":
            parts["characters"] = CHARSET
        check_names("model.assemble", parts, inspect.signature(assemble).parameters)
        try:
            model, processor = assemble(**parts)
        except (TypeError, ValueError) as error:
            raise ValueError(f"model.assemble: {error}") from None
        if attention:
            model.set_attn_implementation(attention)
        return model, processor
    check_start(source)
    try:
        source = find_checkpoint(source)
    except ValueError as error:
        raise ValueError(f"model.init_from={error}") from None
    if Path(source).is_dir():
        source = str(Path(source).resolve())  # an adapter keeps the name of its base model
    settings = {"dtype": torch.float32, **({"attn_implementation": attention} if attention else {})}
    settings |= quantised(recipe.stage.lora, getattr(torch, recipe.model.dtype))
    name = f"model.init_from={recipe.model.init_from}"
    with loading(name):
        model, report = AutoModelForImageTextToText.from_pretrained(
            source, output_loading_info=True, **settings
        )
        processor = AutoProcessor.from_pretrained(source)
    check_whole(name, report)
    if recipe.model.rescale is not None:
        change = dict(recipe.model.rescale)
        check_names("model.rescale", change, [*inspect.signature(rescale).parameters][2:])
        try:
            rescale(model, processor, **change)
        except (TypeError, ValueError) as error:
            raise ValueError(f"model.rescale: {error}") from None
    return model, processor


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

    sources = [source_of(source) for source in recipe.data.sources]
    for source in sources:
        check_source(source, recipe.data.max_refused)
        if isinstance(source, EngineSource):
            source.fit(images.text_height, images.size.longest_edge, images.max_upscale)
        if isinstance(source, SynthSource) and not images.keep_aspect:
            source.resize = True  # a model that stretches what it reads sees drawn pages stretched too
    return MixtureDataset(sources, recipe.data.seed, canvas=canvas)


def arguments(recipe: Recipe, folder: Path) -> TrainingArguments:
    """transformers' arguments for a stage."""
    settings = recipe.trainer
    prepare_processes(recipe)
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
        use_cpu=settings.use_cpu or not torch.accelerator.is_available(),  # said or not: gloo needs it
        remove_unused_columns=False,
        logging_nan_inf_filter=False,
        dataloader_num_workers=recipe.data.workers,
        dataloader_pin_memory=False,
        **deepspeed_arguments(recipe),
    )
    if args.n_gpu > 1:
        args._n_gpu = 1  # a process has one GPU; more of them take more processes (samvlm train --nproc)
    return args


def run_stage(recipe: Recipe, folder: Path, signals: Signals) -> None:
    """Train one stage and save its result in `folder`."""
    with empty_folder() if recipe.trainer.dry_run else nullcontext(folder) as place:
        args = arguments(recipe, place)
        start = find_start(recipe, folder, args.world_size)
        look_and_train(recipe, folder, args, start, signals)


def look_and_train(
    recipe: Recipe, folder: Path, args: TrainingArguments, start: Start, signals: Signals
) -> None:
    """The stage from its model to its result."""
    if start.done:
        logger.info(
            "done already, at step %d: raise trainer.max_steps, or scoring.patience where it ended early, to go on (with "
            "--force, where the schedule depends on the steps)",
            start.steps,
        )
        return
    torch.manual_seed(recipe.trainer.seed)
    with whole_model(args):
        model, processor = build_model(recipe)
        if recipe.stage.dense_weight:
            attach_heads(model, CHARSET, recipe.model.init_from)
        # FSDP trains fp32 weights, and computes as model.dtype says; 4 bits have the dtype that they were loaded for.
        if not (recipe.trainer.fsdp or getattr(model, "is_loaded_in_4bit", False)):
            model.to(getattr(torch, recipe.model.dtype))
        added = set(processor.tokenizer.get_added_vocab().values()) - {processor.image_token_id}
        model = set_trainable(model, recipe.stage, sorted(added))
    before = fingerprint(model)
    start.check_frozen(before)
    dataset = build_dataset(recipe, processor)
    trainer = SamVlmTrainer(recipe, model, processor, dataset, args, start.about, signals)
    if not start.ended:
        Preflight(trainer, folder, start.steps).run()
    if recipe.trainer.dry_run:
        logger.info("dry run: nothing was trained or written")
        return
    with trainer.drawing():
        if start.ended:
            trainer.restore(start.checkpoint)
            trainer.score_if_missing()
        else:
            trainer.train(resume_from_checkpoint=start.checkpoint and str(start.checkpoint))
            trainer.end_early(signals)
    trainer.take_best()
    after = fingerprint(model)
    moved = [name for name, value in before.items() if after.get(name) != value]
    if moved:
        raise RuntimeError(
            f"{len(moved)} frozen parameters moved, the first is {moved[0]}: nothing was saved."
        )
    trainer.save_result()
    logger.info("saved %s", folder)
    trainer.accelerator.wait_for_everyone()
    signals.end_deferral()


def run(recipes: list[Recipe], signals: Signals) -> None:
    """Run stages in turn; each may start from what the one before it saved."""
    previous: dict = {}
    for number, recipe in enumerate(recipes, 1):
        folder = Path(recipe.trainer.output_dir) / f"{number}-{recipe.stage.name}"
        if recipe.model.init_from == "previous":
            recipe.model = dataclasses.replace(recipe.model, **previous)
        logger.info("stage %d of %d: %s -> %s", number, len(recipes), recipe.stage.name, folder)
        is_held = is_first() and not recipe.trainer.dry_run
        with alone_in(folder, "another trainer.output_dir", first=is_held):
            run_stage(recipe, folder, signals)
        if not recipe.trainer.dry_run or has_result(folder):
            previous = {"init_from": str(folder), "assemble": None}
        else:  # the next stage is looked over from what this one starts from
            previous = {"init_from": recipe.model.init_from, "assemble": recipe.model.assemble}


def main(argv: list[str] | None = None) -> int:
    """Run a recipe; returns the exit code: 0, 1 where training cannot go on, 2 for bad input, 143 for SIGTERM, 130
    for Ctrl-C."""
    argv = sys.argv[1:] if argv is None else argv
    logging.basicConfig(
        level=logging.INFO if is_first() else logging.WARNING, format="%(message)s", stream=sys.stderr
    )
    warnings.filterwarnings("ignore", message=".*gradient_checkpointing.*", category=FutureWarning)  # by peft
    disable_progress_bar()
    if not argv or argv[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if argv else BAD_INPUT
    try:
        with Signals() as signals:
            path, settings = read_arguments(argv)
            run(load_recipe(path, settings), signals)
            if dist.is_initialized():
                dist.barrier()
    except (ValueError, OSError, pickle.UnpicklingError) as error:
        print(f"samvlm train: {one_line(error)}", file=sys.stderr)
        return BAD_INPUT
    except TrainingStopped as error:
        print(f"samvlm train: {error}", file=sys.stderr)
        return STOPPED
    except RuntimeError as error:
        told = said_by_a_worker(error)
        if told is None:
            raise
        print(f"samvlm train: {told}", file=sys.stderr)
        return STOPPED
    except Interrupted as error:
        print(f"samvlm train: interrupted by {error}; --resume auto goes on from there", file=sys.stderr)
        return 128 + error.signum
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
    return 0


def is_first() -> bool:
    """Whether this process is the first of the run, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def read_arguments(argv: list[str]) -> tuple[str, list[str]]:
    """The recipe and the `section.key=value` that the command line means. Raises ValueError."""
    words, settings = list(argv), []
    plain = []
    while words:
        word, equals, value = words.pop(0).partition("=")
        if word == "--resume":
            if not equals and (not words or words[0].startswith("--")):
                raise ValueError("--resume: say auto, or name a checkpoint.")
            settings.append(f"trainer.resume={json.dumps(value if equals else words.pop(0))}")
        elif word in FLAGS and not equals:
            settings.append(FLAGS[word])
        elif word.startswith("-"):
            raise ValueError(f"{word} is no option: {', '.join(('--resume', *FLAGS))}.")
        else:
            plain.append(word + equals + value)
    if not plain:
        raise ValueError("name a recipe: a YAML file, or one in configs/.")
    return plain[0], plain[1:] + settings


def one_line(error: Exception) -> str:
    """What an error says, without the traceback that a data worker puts around it."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    if lines and lines[0].startswith("Caught ") and "DataLoader worker" in lines[0]:
        return lines[-1].partition(": ")[2]
    return " ".join(lines) or type(error).__name__


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sys.exit(main())
