"""What trains in a stage: one function decides, and says so."""

import hashlib
import logging

import torch
from torch import nn

from training.recipe import StageRecipe

logger = logging.getLogger("samvlm.training")

WHERE = {
    "vision_tower": "vision_tower.",
    "connector": "multi_modal_projector.",
    "language_model": "language_model.",
}
LORA_TARGETS = r".*language_model\.layers\.\d+\..*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"


def part_of(name: str) -> str:
    """The part that a parameter belongs to: vision_tower, connector, language_model or training_heads."""
    if "training_heads." in name:
        return "training_heads"
    for part, prefix in WHERE.items():
        if prefix in name:
            return part
    return "language_model"  # lm_head


def set_trainable(model: nn.Module, stage: StageRecipe) -> nn.Module:
    """Freeze and unfreeze the model's parts for a stage; with LoRA, wrap it.

    Returns:
        The model, or the `PeftModel` around it. With LoRA the language model's own weights stay frozen, adapters
        train, and the connector and the new tokens' embeddings train and are saved with them.
    """
    parts = stage.parts()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(part_of(name) in (*parts, "training_heads"))
    if stage.lora is not None:
        model = add_lora(model, stage)
    _log(model)
    return model


def add_lora(model: nn.Module, stage: StageRecipe) -> nn.Module:
    """Adapters on the language model's linear layers (Hu et al., 2021, by peft)."""
    from peft import LoraConfig, get_peft_model

    whole = ["multi_modal_projector"] if "connector" in stage.parts() else []
    settings = {"target_modules": LORA_TARGETS, "modules_to_save": whole or None} | stage.lora
    try:
        config = LoraConfig(**settings)
    except TypeError as error:
        raise ValueError(f"stage.lora: {error}; see peft's LoraConfig.") from None
    model = get_peft_model(model, config)
    if "vision_tower" in stage.parts():
        for name, parameter in model.named_parameters():
            if part_of(name) == "vision_tower":
                parameter.requires_grad_(True)
    return model


def _log(model: nn.Module) -> None:
    counts: dict[str, list[int]] = {}
    for name, parameter in model.named_parameters():
        count = counts.setdefault(part_of(name), [0, 0])
        count[0 if parameter.requires_grad else 1] += parameter.numel()
    for part, (trained, frozen) in counts.items():
        label = "[TRAINABLE]" if trained and not frozen else "[Frozen]" if not trained else "[PARTLY]"
        logger.info("%-12s %-15s %12s trained %12s frozen", label, part, f"{trained:,}", f"{frozen:,}")


@torch.no_grad()
def fingerprint(model: nn.Module) -> dict[str, str]:
    """SHA-256 of every frozen parameter's bytes, to prove after a run that it did not move."""
    return {
        name: hashlib.sha256(
            parameter.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()
        ).hexdigest()
        for name, parameter in model.named_parameters()
        if not parameter.requires_grad
    }
