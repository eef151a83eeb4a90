"""transformers' Trainer with our losses, optimizer and batches."""

import json
import logging
import math
import signal
from collections import defaultdict
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from transformers import PrinterCallback, ProgressCallback, Trainer, TrainerState, TrainingArguments

from samvlm.data.datasets import MixtureDataset, SizeBatchSampler
from training.collator import Collator
from training.losses import DenseHead
from training.objective import Objective
from training.optimizers import MasterWeights, parameter_groups
from training.progress import Progress
from training.recipe import Recipe
from training.stages import part_of

HEADS_FILE = "training_heads.safetensors"
logger = logging.getLogger("samvlm.training")


class TrainingStopped(RuntimeError):
    """A run that cannot go on. The message is for the user: what, where, remedy."""


class SamVlmTrainer(Trainer):
    """Trains one stage.

    Args:
        recipe: the stage.
        model: a `SamVlmForConditionalGeneration` (with `training_heads` where a dense loss is wanted), or the
            `PeftModel` around it.
        processor: its processor, saved with every checkpoint.
        dataset: what to read.
        args: transformers' arguments.
    """

    def __init__(
        self, recipe: Recipe, model: nn.Module, processor, dataset: MixtureDataset, args: TrainingArguments
    ):
        self.recipe, self.mixture, self.processor = recipe, dataset, processor
        stage = recipe.stage
        objective = Objective(model, stage)
        collator = Collator(
            processor,
            dense=objective.dense,
            guide=bool(stage.guide_weight),
            input_noise=recipe.data.input_noise,
            text=bool(stage.lm_weight or stage.guide_weight),
        )
        super().__init__(
            model=model,
            args=args,
            data_collator=collator,
            train_dataset=dataset,
            processing_class=processor,
            callbacks=[Progress()],
        )
        self.remove_callback(ProgressCallback)
        self.remove_callback(PrinterCallback)
        self.objective = objective
        self.model_accepts_loss_kwargs = False
        self.figures: dict[str, list[torch.Tensor]] = defaultdict(list)
        self.last_loss: torch.Tensor | None = None

    def get_train_dataloader(self) -> DataLoader:
        """Batches of images of one size, in an order that the seed alone decides; each process takes its share."""
        data = self.recipe.data
        sampler = SizeBatchSampler(
            self.mixture,
            data.max_pixels,
            data.max_images,
            seed=data.seed,
            rank=self.args.process_index,
            world=self.args.world_size,
        )
        return DataLoader(
            self.mixture,
            batch_sampler=sampler,
            collate_fn=self.data_collator,
            num_workers=data.workers,
            persistent_workers=data.workers > 0,
            prefetch_factor=16 if data.workers else None,  # drawing times vary: keep some batches in hand
            worker_init_fn=ignore_interrupts,
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
            self.optimizer = MasterWeights(groups)
        return self.optimizer

    def _wrap_model(self, model: nn.Module, training: bool = True, dataloader=None) -> nn.Module:
        """With several processes, DDP goes around the objective: the losses too are part of its forward."""
        if training and self.accelerator.distributed_type in ("MULTI_CPU", "MULTI_GPU"):
            device = self.args.device
            return DistributedDataParallel(
                self.objective,
                device_ids=[device.index] if device.type == "cuda" else None,
                find_unused_parameters=self.objective.may_leave_out(self.recipe.data.sources),
            )
        return super()._wrap_model(model, training, dataloader)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """The weighted sum of the stage's losses."""
        objective = model if isinstance(model, DistributedDataParallel) else self.objective
        loss, figures = objective(**inputs)
        for name, value in figures.items():
            self.figures[name].append(value.float())
        self.last_loss = loss.detach()
        return (loss, figures) if return_outputs else loss

    def _get_grad_norm(self, model, grad_norm=None):
        """The gradient's norm. A run whose loss or gradient is not finite ends here, before the step is taken."""
        norm = super()._get_grad_norm(model, grad_norm)
        for name, value in (("loss", self.last_loss), ("gradient's norm", norm)):
            if value is not None and not math.isfinite(float(value)):
                raise TrainingStopped(
                    f"the {name} is {float(value)} at step {self.state.global_step + 1}: the step was not taken and "
                    "nothing of it is saved; lower trainer.learning_rate or raise trainer.warmup_steps, and go on "
                    "from the last checkpoint with trainer.resume=auto."
                )
        return norm

    def log(self, logs: dict[str, float], *args, **kwargs) -> None:
        """Add the means, over all processes, of what was recorded since the last line."""
        if "loss" in logs:
            sums = {name: (torch.stack(v).sum().item(), len(v)) for name, v in self.figures.items()}
            self.figures.clear()
            parts = [sums]
            if self.args.world_size > 1:
                parts = [None] * self.args.world_size
                dist.all_gather_object(parts, sums)
            for name in dict.fromkeys(name for part in parts for name in part):
                total, count = map(sum, zip(*(part[name] for part in parts if name in part), strict=True))
                logs[name] = round(total / count, 4)
        super().log(logs, *args, **kwargs)

    def restore(self, checkpoint: str) -> None:
        """Take weights and history from a checkpoint, without a step."""
        self._load_from_checkpoint(checkpoint)
        self.state = TrainerState.load_from_json(str(Path(checkpoint) / "trainer_state.json"))

    def _issue_warnings_after_load(self, load_result) -> None:
        """A checkpoint without some of the weights is of another model or stage; the tied head is no weight."""
        tied = {"lm_head.weight"} if self.model.config.tie_word_embeddings else set()
        missing = [name for name in load_result.missing_keys if name not in tied]
        if missing:
            raise ValueError(
                f"the checkpoint lacks {len(missing)} weights of this stage, the first is {missing[0]}: it is of "
                "another model or recipe; name another output_dir, or the checkpoint in trainer.resume."
            )

    def save_result(self, folder: Path) -> None:
        """The stage's result: the model (or adapter) and processor; the training heads in a file of their own."""
        folder.mkdir(parents=True, exist_ok=True)
        core = self.objective.core
        heads = core.__dict__["_modules"].pop("training_heads", None)
        try:
            self.model.save_pretrained(folder)
        finally:
            if heads is not None:
                core.training_heads = heads
        start = self.recipe.model.init_from
        weights = heads.state_dict() if heads is not None else load_heads(Path(start)) if start else {}
        if weights:  # a stage that has no use for them hands them on to the next
            save_file({name: weight.contiguous() for name, weight in weights.items()}, folder / HEADS_FILE)
        self.processor.save_pretrained(folder)
        history = [line for line in self.state.log_history if "loss" in line]
        (folder / "log.json").write_text(json.dumps(history, indent=1), encoding="utf-8")


def ignore_interrupts(worker: int) -> None:
    """Ctrl-C is the main process' affair."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


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
