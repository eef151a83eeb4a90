"""What trains in a stage: one function decides, and says so."""

import hashlib
import logging
import re
from collections.abc import Sequence

import torch
from torch import nn

from training.adapters import add_lora
from training.recipe import StageRecipe
from training.shards import whole

logger = logging.getLogger("samvlm.training")

WHERE = {
    "vision_tower": "vision_tower.",
    "connector": "multi_modal_projector.",
    "language_model": "language_model.",
}
WHOLE = {"vision_tower": "vision_tower", "connector": "multi_modal_projector"}  # trained beside the adapters
BLOCK = re.compile(r"vision_tower\.layers\.(\d+)\.")


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
    parts, total = stage.parts(), len(model.model.vision_tower.layers)
    first = 0 if stage.tower_blocks is None else first_block(model, stage.tower_blocks)
    for name, parameter in model.named_parameters():
        trains = part_of(name) in (*parts, "training_heads")
        if trains and stage.tower_blocks is not None and part_of(name) == "vision_tower":
            block = BLOCK.search(name)
            trains = int(block[1]) >= first if block else "vision_tower.neck." in name
        parameter.requires_grad_(trains and parameter.is_floating_point())  # 4 bits are kept as bytes
    if stage.lora is not None:
        model = add_lora(model, stage.lora, whole_modules(stage, first, total), new_tokens)
    for line in summary(model):
        logger.info(line)
    return model


def first_block(model: nn.Module, count: int) -> int:
    """The number of the first of the tower's last `count` blocks. Raises ValueError where it has not so many."""
    total = len(model.model.vision_tower.layers)
    if count > total:
        raise ValueError(f"stage.tower_blocks={count}: the tower has {total} blocks.")
    return total - count


def whole_modules(stage: StageRecipe, first: int, total: int) -> list[str]:
    """Names of the modules that train whole beside adapters.

    Args:
        first, total: the first of the tower's blocks that trains, and their number.
    """
    names = [name for part, name in WHOLE.items() if part in stage.parts()]
    if stage.tower_blocks is None or "vision_tower" not in names:
        return names
    names.remove("vision_tower")
    return [*names, "vision_tower.neck", *(f"vision_tower.layers.{number}" for number in range(first, total))]


def number_of(parameter: nn.Parameter) -> int:
    """How many numbers a parameter has, where this process holds a share of it (ZeRO-3) or packs them (4 bits) too."""
    if getattr(parameter, "quant_state", None) is not None:
        return parameter.quant_state.shape.numel()
    return getattr(parameter, "ds_numel", parameter.numel())


def counts(model: nn.Module) -> dict[str, tuple[int, int]]:
    """How many parameters of each part train, and how many are frozen."""
    found: dict[str, tuple[int, int]] = {}
    for name, parameter in model.named_parameters():
        if ".original_module." in name:  # peft keeps what its copy replaces
            continue
        trained, frozen = found.get(part_of(name), (0, 0))
        size = number_of(parameter)
        found[part_of(name)] = (
            (trained + size, frozen) if parameter.requires_grad else (trained, frozen + size)
        )
    return found


def summary(model: nn.Module) -> list[str]:
    """A line for each part: whether it trains, how many parameters train and how many are frozen."""
    lines = []
    for part, (trained, frozen) in counts(model).items():
        label = "[TRAINABLE]" if trained and not frozen else "[Frozen]" if not trained else "[PARTLY]"
        lines.append(f"{label:12} {part:15} {trained:12,} trained {frozen:12,} frozen")
    return lines


@torch.no_grad()
def fingerprint(model: nn.Module) -> dict[str, str]:
    """SHA-256 of every frozen parameter's bytes, to prove after a run that it did not move. All processes
    ask together."""
    return {
        name: hashlib.sha256(
            whole(parameter).cpu().reshape(-1).view(torch.uint8).numpy().tobytes()
        ).hexdigest()
        for name, parameter in model.named_parameters()
        if not parameter.requires_grad
    }
