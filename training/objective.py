"""What a stage minimises: the weighted sum of its losses, as one module, so that DDP sees a step as one forward."""

import torch
from torch import nn

from samvlm.features import FeatureCache
from samvlm.model.modeling_samvlm import group_by_size
from training.cached_features import complete_features
from training.data_recipe import is_placed
from training.losses import DenseHead, Guide
from training.packing import Packing
from training.recipe import StageRecipe


class Objective(nn.Module):
    """The model and the stage's losses.

    Args:
        model: a `SamVlmForConditionalGeneration` (with `training_heads`, a `DenseHead`, where a dense loss is wanted),
            or the `PeftModel` around it.
        stage: the weights of the losses.
    """

    def __init__(self, model: nn.Module, stage: StageRecipe):
        super().__init__()
        self.model, self.stage = model, stage
        self.maps: list[torch.Tensor] = []
        if self.dense is not None:
            self.core.model.vision_tower.register_forward_hook(
                lambda module, inputs, output: self.maps.append(output.last_hidden_state)
            )
        self.features: FeatureCache | None = None
        self.packing: Packing | None = None
        self.guide = None
        if stage.guide_weight:
            self.guide = Guide(self.core.model.language_model.layers, stage.guide_layers)

    @property
    def core(self) -> nn.Module:
        """The model without what peft puts around it."""
        return self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model

    @property
    def dense(self) -> DenseHead | None:
        """The dense head, which lives in the model and is saved with its checkpoints."""
        return getattr(self.core, "training_heads", None)

    def may_leave_out(self, sources: list[dict]) -> bool:
        """Whether a batch may not need all parameters: no language model runs, or a chat without an image has no
        use for the dense head."""
        runs = self.stage.lm_weight or self.stage.guide_weight
        if not runs or any(source.get("dense_only") for source in sources):
            return True
        return self.dense is not None and not all(is_placed(source) for source in sources)

    def forward(self, **batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """See `losses`."""
        return self.losses(**batch)

    def losses(
        self,
        dense_targets: torch.Tensor | None = None,
        guide_targets: torch.Tensor | None = None,
        no_labels: bool = False,
        **inputs: torch.Tensor,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss of a batch of the [`Collator`], and the figures to log (detached scalars).

        A batch with `no_labels` has the loss zero and zero gradients, on every weight that a step reaches.
        """
        loss, figures = torch.zeros((), device=self.core.device), {}
        self.maps.clear()
        if self.guide is not None:
            self.guide.seen.clear()
        if "feature_keys" in inputs:
            inputs = complete_features(self.features, inputs)
        if "input_ids" in inputs:
            if self.packing is not None:
                inputs = self.packing(inputs)
            outputs = self.model(**inputs, use_cache=False)
            if no_labels:
                return self.nothing(outputs.logits), {}
            loss = self.stage.lm_weight * outputs.loss
            figures["lm_loss"] = outputs.loss
            figures["token_accuracy"] = token_accuracy(outputs.logits, inputs["labels"])
        else:
            pixels = inputs["pixel_values"].to(self.core.dtype)
            for (height, width), members in group_by_size(pixels, inputs["image_sizes"]).items():
                self.core.model.vision_tower(pixels[members, :, :height, :width])
        if dense_targets is not None:
            dense, figures["dense_accuracy"] = self.dense_loss(inputs, dense_targets)
            loss = loss + self.stage.dense_weight * dense
            figures["dense_loss"] = dense
        else:  # a batch without images: all processes of a step have a gradient for the head
            loss = loss + self.unseen()
        if guide_targets is not None:
            guide, hits = self.guide.loss(guide_targets, inputs["attention_mask"])
            loss = loss + self.stage.guide_weight * guide
            figures["guide_loss"] = guide
            for layer, hit in zip(self.stage.guide_layers, hits, strict=True):
                figures[f"guide_accuracy_{layer}"] = hit
        return loss, {name: value.detach() for name, value in figures.items()}

    def nothing(self, logits: torch.Tensor) -> torch.Tensor:
        """A zero with a path to every weight that trains."""
        return logits.float().sum() * 0 + self.unseen()

    def unseen(self) -> torch.Tensor | int:
        """A zero with a path to the dense head's weights, from maps that nobody has looked at."""
        maps, self.maps = self.maps, []
        return sum(self.dense.project(features.permute(0, 2, 3, 1)).sum() * 0 for features in maps)

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


def token_accuracy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Share of labelled tokens that the model would choose, given all before them."""
    known = labels[:, 1:] != -100
    return (logits[:, :-1].argmax(-1)[known] == labels[:, 1:][known]).float().mean()
