"""What trains in a stage: one function decides, and says so."""

import hashlib
import logging
from collections.abc import Sequence

import torch
from torch import nn

from training.recipe import StageRecipe

logger = logging.getLogger("samvlm.training")

WHERE = {
    "vision_tower": "vision_tower.",
    "connector": "multi_modal_projector.",
    "language_model": "language_model.",
}
WHOLE = {"vision_tower": "vision_tower", "connector": "multi_modal_projector"}  # trained beside the adapters
LORA_TARGETS = r".*language_model\.layers\.\d+\..*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"


def part_of(name: str) -> str:
    """The part that a parameter belongs to: vision_tower, connector, language_model or training_heads."""
    if "training_heads." in name:
        return "training_heads"
    for part, prefix in WHERE.items():
        if prefix in name:
            return part
    return "language_model"  # lm_head


def set_trainable(model: nn.Module, stage: StageRecipe, new_tokens: Sequence[int] = ()) -> nn.Module:
    """Freeze and unfreeze the model's parts for a stage; with LoRA, wrap it; say what trains.

    Args:
        new_tokens: ids of the tokens that were added to the language model's own, for `stage.lora.new_tokens`.

    Returns:
        The model, or the `PeftModel` around it. With LoRA the language model's own weights stay frozen; adapters
        train, and the stage's other parts train whole and are saved with them.
    """
    parts = stage.parts()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(part_of(name) in (*parts, "training_heads"))
    if stage.lora is not None:
        model = add_lora(model, stage, new_tokens)
    for line in summary(model):
        logger.info(line)
    return model


def add_lora(model: nn.Module, stage: StageRecipe, new_tokens: Sequence[int] = ()) -> nn.Module:
    """Adapters on the language model's linear layers (Hu et al., 2021, by peft).

    Raises:
        ValueError: `stage.lora` has a setting that peft does not know, or that does not fit the model.
    """
    from peft import LoraConfig, get_peft_model

    whole = [name for part, name in WHOLE.items() if part in stage.parts()]
    settings = {"target_modules": LORA_TARGETS, "modules_to_save": whole or None} | stage.lora
    if settings.pop("new_tokens", False):
        settings["trainable_token_indices"] = _rows(model, list(new_tokens))
    try:
        config = LoraConfig(**settings)
        return get_peft_model(model, config)
    except (TypeError, ValueError) as error:
        raise ValueError(f"stage.lora: {error}; see peft's LoraConfig.") from None


def _rows(model: nn.Module, tokens: list[int]) -> list[int] | dict[str, list[int]]:
    """peft's way to say which rows of the token tables train: tied tables are one."""
    if model.config.tie_word_embeddings:
        return tokens
    names = {id(module): name.rpartition(".")[2] for name, module in model.named_modules()}
    tables = (model.get_input_embeddings(), model.get_output_embeddings())
    return {names[id(table)]: tokens for table in tables}


def summary(model: nn.Module) -> list[str]:
    """A line for each part: whether it trains, how many parameters train and how many are frozen."""
    counts: dict[str, list[int]] = {}
    for name, parameter in model.named_parameters():
        if ".original_module." in name:  # peft keeps what its copy replaces
            continue
        count = counts.setdefault(part_of(name), [0, 0])
        count[0 if parameter.requires_grad else 1] += parameter.numel()
    lines = []
    for part, (trained, frozen) in counts.items():
        label = "[TRAINABLE]" if trained and not frozen else "[Frozen]" if not trained else "[PARTLY]"
        lines.append(f"{label:12} {part:15} {trained:12,} trained {frozen:12,} frozen")
    return lines


@torch.no_grad()
def fingerprint(model: nn.Module) -> dict[str, str]:
    """SHA-256 of every frozen parameter's bytes, to prove after a run that it did not move."""
    return {
        name: hashlib.sha256(
            parameter.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes()
        ).hexdigest()
        for name, parameter in model.named_parameters()
        if not parameter.requires_grad
    }
