"""transformers' Trainer with our losses, optimizer and batches."""

import json
import logging
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.data import DataLoader
from transformers import PrinterCallback, ProgressCallback, TrainerState, TrainingArguments

from samvlm.data.datasets import MixtureDataset
from training.batches import batch_sampler
from training.cached_features import FlushFeatures, open_cache
from training.collator import Collator
from training.faults import StepGuard, TrainingStopped, require_finite
from training.intake import Intake
from training.losses import DenseHead
from training.micro_batches import MicroBatches
from training.model_card import write_card
from training.objective import Objective
from training.optimizers import MasterWeights, parameter_groups
from training.packing import Packing
from training.progress import FAULTS, Progress
from training.recipe import Recipe
from training.resume import describe
from training.saving import Saver, disk_fault, recall, recalled
from training.scored_trainer import ScoredTrainer
from training.seen import Seen
from training.sharded_trainer import ShardedTrainer
from training.sharding import sharding_of
from training.signals import Signals, StopOnSignal, leave_signals_to_parent
from training.stages import part_of

HEADS_FILE = "training_heads.safetensors"
logger = logging.getLogger("samvlm.training")


class SamVlmTrainer(ScoredTrainer, ShardedTrainer):
    """Trains one stage.

    Args:
        recipe: the stage.
        model: a `SamVlmForConditionalGeneration` (with `training_heads` where a dense loss is wanted), or the
            `PeftModel` around it.
        processor: its processor, saved with every checkpoint.
        dataset: what to read.
        args: transformers' arguments.
        about: what the manifests of its checkpoints say of the run; default: `describe`.
        signals: what ends the run early.
    """

    def __init__(
        self,
        recipe: Recipe,
        model: nn.Module,
        processor,
        dataset: MixtureDataset,
        args: TrainingArguments,
        about: dict[str, Any] | None = None,
        signals: Signals | None = None,
    ):
        self.recipe, self.mixture, self.processor = recipe, dataset, processor
        self.signals = signals or Signals()
        self.sharding = sharding_of(recipe)
        stage = recipe.stage
        objective = Objective(model, stage)
        collator = Collator(
            processor,
            dense=objective.dense,
            guide=bool(stage.guide_weight),
            input_noise=recipe.data.input_noise,
            text=bool(stage.lm_weight or stage.guide_weight),
            mixed=recipe.data.packing,
            max_tokens=recipe.data.max_tokens
            or objective.core.config.get_text_config().max_position_embeddings,
        )
        super().__init__(
            model=model,
            args=args,
            data_collator=collator,
            train_dataset=dataset,
            processing_class=processor,
            callbacks=[Progress(), StopOnSignal(self.signals)],
        )
        self.remove_callback(ProgressCallback)
        self.remove_callback(PrinterCallback)
        self.objective = objective
        if recipe.data.packing:
            objective.packing = Packing(objective.core, recipe.data.row_tokens)
        objective.features = open_cache(recipe, objective, processor, dataset, args)
        if objective.features is not None:
            self.add_callback(FlushFeatures(objective.features))
        self.model_accepts_loss_kwargs = False
        self.figures: dict[str, list[torch.Tensor]] = defaultdict(list)
        folder, rank, world = Path(args.output_dir), args.process_index, args.world_size
        self.guard = StepGuard(folder, recipe.trainer.max_bad_steps, rank, world)
        name = "refused.jsonl" if rank == 0 else f"refused.rank{rank}.jsonl"
        self.intake = Intake(folder / name, recipe.data.max_refused)
        for refusal in (refusal for source in dataset.sources for refusal in getattr(source, "refused", ())):
            self.intake.note(refusal)
        self.seen = Seen(self.intake)
        self.add_callback(self.seen)
        alone = world == 1 and self.sharding is None
        self.pieces = MicroBatches(self.start_step_again, alone)
        self.step_figures: dict[str, list[torch.Tensor]] = defaultdict(list)
        about = about or describe(recipe, args.world_size)
        self.saver = Saver(Path(args.output_dir), about, recipe.trainer.save_total_limit)
        self.look_on()

    def get_train_dataloader(self) -> DataLoader:
        """Batches of images of one size, in an order that the seed alone decides; each process takes its share."""
        data = self.recipe.data
        sampler = batch_sampler(self.mixture, data, self.args.process_index, self.args.world_size)
        return DataLoader(
            self.mixture,
            batch_sampler=sampler,
            collate_fn=self.data_collator,
            num_workers=data.workers,
            persistent_workers=data.workers > 0,
            prefetch_factor=16 if data.workers else None,  # drawing times vary: keep some batches in hand
            timeout=data.worker_timeout if data.workers else 0,
            worker_init_fn=leave_signals_to_parent,
        )

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW or Muon with fp32 weights, a learning rate a part."""
        if self.optimizer is None:
            settings = self.recipe.trainer
            groups = parameter_groups(
                self.model,
                lambda name: settings.rates.get(part_of(name), settings.learning_rate),
                settings.weight_decay,
                settings.optimizer == "muon",
            )
            by_deepspeed = self.sharding is not None and self.sharding.deepspeed
            self.optimizer = self.plain_adamw(groups) if by_deepspeed else MasterWeights(groups)
        return self.optimizer

    def training_step(self, model, inputs, num_items_in_batch=None) -> torch.Tensor:
        """Forward and backward of a micro-batch, in pieces where memory is short. Returns its loss, 0 if not finite."""
        batch = dict(inputs)
        ids = batch.pop("sample_ids")
        refused = batch.pop("refused")
        self.intake.add(batch.pop("drawn"), refused)
        self.pace.add(batch, len(ids))
        self.figures["refused"].append(torch.tensor(float(len(refused))))
        self.figures["without_labels"].append(torch.tensor(float(batch.get("no_labels", False))))

        def step(piece: dict, share: float) -> torch.Tensor:
            self.share = share
            return super(SamVlmTrainer, self).training_step(model, piece, num_items_in_batch)

        loss = self.pieces.run(step, batch)
        self.guard.add(ids, loss)
        return torch.where(loss.isfinite(), loss, 0.0)

    def start_step_again(self) -> None:
        """Take back what the micro-batches of this optimizer step have done."""
        self.model.zero_grad()
        self.step_figures.clear()

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """The weighted sum of the stage's losses."""
        objective = self.objective if model is self.model else model  # what is around it
        loss, figures = objective(**inputs)
        for name, value in figures.items():
            self.step_figures[name].append(value.float())
        loss = loss * self.share
        return (loss, figures) if return_outputs else loss

    def _get_grad_norm(self, model, grad_norm=None):
        """The gradient's norm; the last before a step is taken. A step with a loss or gradient that is no finite
        number is not: without gradients the optimizer changes nothing."""
        norm = super()._get_grad_norm(model, grad_norm)
        if self.guard.judge(self.state.global_step + 1, norm):
            for name, values in self.step_figures.items():
                self.figures[name] += values
        else:
            self.model.zero_grad()
            norm = None
        self.figures["bad_steps"].append(torch.tensor(float(norm is None)))
        self.step_figures.clear()
        self.pieces.begin()
        return norm

    def log(self, logs: dict[str, float], *args, **kwargs) -> None:
        """Add the means, over all processes, of what was recorded since the last line; of faults their number."""
        if "loss" in logs:
            sums = {name: (torch.stack(v).sum().item(), len(v)) for name, v in self.figures.items()}
            self.figures.clear()
            parts = [sums]
            if self.args.world_size > 1:
                parts = [None] * self.args.world_size
                dist.all_gather_object(parts, sums)
            for name in dict.fromkeys(name for part in parts for name in part):
                total, count = map(sum, zip(*(part[name] for part in parts if name in part), strict=True))
                logs[name] = round(total if name in FAULTS else total / count, 4)
        super().log(logs, *args, **kwargs)

    def _save_checkpoint(self, model, trial) -> None:
        """A checkpoint, whole or not at all."""
        require_finite(self.model)
        write = super()._save_checkpoint
        with self.pace.paused():
            self.saver.save(self, lambda: write(model, trial))

    def _get_output_dir(self, trial) -> str:
        """Where checkpoints are written: aside while one is being saved."""
        return str(self.saver.aside or super()._get_output_dir(trial))

    def _load_rng_state(self, checkpoint: str | None) -> None:
        """The last that is read of a checkpoint before the first step: with it, what its log had recorded."""
        super()._load_rng_state(checkpoint)
        if checkpoint is not None:
            recall(self, Path(checkpoint))

    def end_early(self, signals: Signals) -> None:
        """Behind the last step: raises Interrupted if a signal cut the run, or its last scores, off, TrainingStopped
        if the last checkpoint could not be saved."""
        if self.state.global_step < self.state.max_steps or self.owes_scores:
            signals.end_deferral()
        if self.saver.failed:
            raise TrainingStopped(
                f"the steps are done, but not saved: {self.saver.failed}. {self.saver.what_is_left()}: make room, "
                "and go on from it with --resume auto."
            )

    def restore(self, checkpoint: Path) -> None:
        """Take weights and history from a checkpoint, without a step."""
        self._load_from_checkpoint(str(checkpoint))
        recalled(self, checkpoint)
        self.state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))

    def _issue_warnings_after_load(self, load_result) -> None:
        """A checkpoint without some of the weights is of another model or stage; the tied head is no weight."""
        tied = {"lm_head.weight"} if self.model.config.tie_word_embeddings else set()
        missing = [name for name in load_result.missing_keys if name not in tied]
        if missing:
            raise ValueError(
                f"the checkpoint lacks {len(missing)} weights of this stage, the first is {missing[0]}: it is of "
                "another model or recipe; name another output_dir, or the checkpoint in trainer.resume."
            )

    def save_result(self) -> None:
        """The stage's result in its folder: the model (or adapter) and processor; the training heads in a file of
        their own; the log. All processes call this, and the first one writes. Raises TrainingStopped where the disk
        does not take it."""
        require_finite(self.model)
        state = self.weights(getattr(torch, self.recipe.model.dtype))
        self.seen.gather()
        if not self.is_world_process_zero():
            return
        try:
            self.saver.save_result(lambda folder: self.write_result(folder, state), self.result_step)
        except (OSError, SafetensorError, RuntimeError) as error:
            reason = disk_fault(error)
            if reason is None:
                raise
            raise TrainingStopped(
                f"the result was not saved: {reason}. {self.saver.what_is_left()}: make room, and write the result "
                "from it with --resume auto."
            ) from None

    def write_result(self, folder: Path, state: dict[str, torch.Tensor] | None) -> None:
        """Write the result's files; `state` is the model's whole state dict, None where it has that itself."""
        core, mark = self.objective.core, "training_heads."
        heads = core.__dict__["_modules"].pop("training_heads", None)
        try:
            plain = state and {name: value for name, value in state.items() if mark not in name}
            self.model.save_pretrained(folder, **({"state_dict": plain} if plain else {}))
        finally:
            if heads is not None:
                core.training_heads = heads
        start = self.recipe.model.init_from
        if state and heads is not None:
            weights = {name.partition(mark)[2]: value for name, value in state.items() if mark in name}
        else:
            weights = heads.state_dict() if heads is not None else load_heads(Path(start)) if start else {}
        if weights:  # a stage that has no use for them hands them on to the next
            save_file({name: weight.contiguous() for name, weight in weights.items()}, folder / HEADS_FILE)
        self.processor.save_pretrained(folder)
        history = [line for line in self.state.log_history if "loss" in line]
        (folder / "log.json").write_text(json.dumps(history, indent=1), encoding="utf-8")
        write_card(self, folder)


def attach_heads(model: nn.Module, characters: str, folder: str | None) -> None:
    """Give the model a dense head, with the weights that are in `folder`: the result of a stage, or a checkpoint."""
    config = model.config.vision_config
    head = DenseHead(config.output_channels, config.patch_size, characters)
    saved = load_heads(Path(folder)) if folder else {}
    if saved:
        head.load_state_dict(saved)
        logger.info("dense head from %s", folder)
    model.training_heads = head.to(model.dtype)


def load_heads(folder: Path) -> dict[str, torch.Tensor]:
    """The dense head's weights in a folder: from their own file, or from a checkpoint's; {} if there are none."""
    if (folder / HEADS_FILE).is_file():
        return load_file(folder / HEADS_FILE)
    if not (folder / "model.safetensors").is_file():
        return {}
    prefix = "training_heads."
    with safe_open(folder / "model.safetensors", "pt") as file:
        names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118 (it is no dict)
        return {name.removeprefix(prefix): file.get_tensor(name) for name in names}
