"""transformers' Trainer with our losses, optimizer and batches."""

import json
import logging
from collections import defaultdict
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments

from samvlm.data.datasets import MixtureDataset, SizeBatchSampler
from samvlm.model.modeling_samvlm import group_by_size
from training.collator import Collator
from training.losses import DenseHead, Guide
from training.optimizers import MasterWeights, parameter_groups
from training.recipe import Recipe
from training.stages import part_of

HEADS_FILE = "training_heads.safetensors"
logger = logging.getLogger("samvlm.training")


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
        self.dense: DenseHead | None = getattr(model, "training_heads", None)
        stage = recipe.stage
        collator = Collator(
            processor,
            dense=self.dense,
            guide=bool(stage.guide_weight),
            input_noise=recipe.data.input_noise,
            text=bool(stage.lm_weight or stage.guide_weight),
        )
        super().__init__(
            model=model, args=args, data_collator=collator, train_dataset=dataset, processing_class=processor
        )
        self.model_accepts_loss_kwargs = False
        self.figures: dict[str, list[torch.Tensor]] = defaultdict(list)
        core = model.get_base_model() if hasattr(model, "get_base_model") else model
        self.core = core
        self.maps: list[torch.Tensor] = []
        if self.dense is not None:
            core.model.vision_tower.register_forward_hook(
                lambda module, inputs, output: self.maps.append(output.last_hidden_state)
            )
        self.guide = None
        if stage.guide_weight:
            self.guide = Guide(core.model.language_model.layers, stage.guide_layers)

    def get_train_dataloader(self) -> DataLoader:
        """Batches of images of one size, in an order that the seed alone decides."""
        data = self.recipe.data
        sampler = SizeBatchSampler(self.mixture, data.max_pixels, data.max_images, seed=data.seed)
        loader = DataLoader(
            self.mixture,
            batch_sampler=sampler,
            collate_fn=self.data_collator,
            num_workers=data.workers,
            persistent_workers=data.workers > 0,
        )
        return self.accelerator.prepare(loader) if self.args.world_size > 1 else loader

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

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """The weighted sum of the stage's losses."""
        stage = self.recipe.stage
        dense_targets = inputs.pop("dense_targets", None)
        guide_targets = inputs.pop("guide_targets", None)
        loss, outputs = 0.0, None
        if stage.lm_weight or stage.guide_weight:
            outputs = model(**inputs, use_cache=False)
            loss = stage.lm_weight * outputs.loss
            self.record("lm_loss", outputs.loss)
            self.record("token_accuracy", token_accuracy(outputs.logits, inputs["labels"]))
        else:
            pixels = inputs["pixel_values"].to(self.core.dtype)
            for (height, width), members in group_by_size(pixels, inputs["image_sizes"]).items():
                self.core.model.vision_tower(pixels[members, :, :height, :width])
        if self.dense is not None:
            dense, right = self.dense_loss(inputs, dense_targets)
            loss = loss + stage.dense_weight * dense
            self.record("dense_loss", dense)
            self.record("dense_accuracy", right)
        if self.guide is not None:
            guide, hits = self.guide.loss(guide_targets)
            loss = loss + stage.guide_weight * guide
            self.record("guide_loss", guide)
            for layer, hit in zip(stage.guide_layers, hits, strict=True):
                self.record(f"guide_accuracy_{layer}", hit)
        return (loss, outputs) if return_outputs else loss

    def dense_loss(self, inputs: dict, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The dense loss of the maps that the tower has just made, one for each image size of the batch."""
        groups = group_by_size(inputs["pixel_values"], inputs["image_sizes"])
        results = []
        for ((height, width), members), features in zip(groups.items(), self.maps, strict=True):
            part = targets[members, : height // 8, : width // 4]
            results.append(self.dense(features, part))
        self.maps.clear()
        losses, rights = zip(*results, strict=True)
        return torch.stack(losses).mean(), torch.stack(rights).mean()

    def record(self, name: str, value: torch.Tensor) -> None:
        """Keep a figure for the next log line."""
        self.figures[name].append(value.detach().float())

    def log(self, logs: dict[str, float], *args, **kwargs) -> None:
        """Add the means of what was recorded since the last line."""
        if "loss" in logs:
            for name, values in self.figures.items():
                logs[name] = round(torch.stack(values).mean().item(), 4)
            self.figures.clear()
        super().log(logs, *args, **kwargs)

    def save_result(self, folder: Path) -> None:
        """The stage's result: the model (or adapter) and processor; the training heads in a file of their own."""
        folder.mkdir(parents=True, exist_ok=True)
        heads = self.core.__dict__["_modules"].pop("training_heads", None)
        try:
            self.model.save_pretrained(folder)
        finally:
            if heads is not None:
                self.core.training_heads = heads
        if heads is not None:
            save_file({k: v.contiguous() for k, v in heads.state_dict().items()}, folder / HEADS_FILE)
        self.processor.save_pretrained(folder)
        history = [line for line in self.state.log_history if "loss" in line]
        (folder / "log.json").write_text(json.dumps(history, indent=1), encoding="utf-8")


def attach_heads(model: nn.Module, characters: str, folder: str | None) -> None:
    """Give the model a dense head, with the weights that the stage before it left in `folder`, if any."""
    config = model.config.vision_config
    head = DenseHead(config.output_channels, config.patch_size, characters)
    saved = Path(folder) / HEADS_FILE if folder else None
    if saved is not None and saved.is_file():
        head.load_state_dict(load_file(saved))
        logger.info("dense head from %s", saved)
    model.training_heads = head.to(model.dtype)


def token_accuracy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Share of labelled tokens that the model would choose, given all before them."""
    known = labels[:, 1:] != -100
    return (logits[:, :-1].argmax(-1)[known] == labels[:, 1:][known]).float().mean()
