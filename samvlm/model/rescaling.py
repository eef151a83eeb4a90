"""Another scale for a model that was trained at one: larger images, larger text, the positions stretched to fit."""

import torch
import torch.nn.functional as F
from torch import nn

from .modeling_sam_vision import SamVisionTower
from .modeling_samvlm import SamVlmForConditionalGeneration
from .processing_samvlm import SamVlmProcessor


def rescale(
    model: SamVlmForConditionalGeneration,
    processor: SamVlmProcessor,
    image_size: int | None = None,
    text_height: float | None = None,
) -> None:
    """Bring a model and its processor to another scale, in place; training then makes it read there.

    A tower that sees every letter larger has fewer of them in a patch: it reads better, at more patches an image.

    Args:
        image_size: longest side of an image in pixels, a multiple of the canvas step: of the tower's position tables,
            which are stretched, and of the processor's `size`; None: as it was.
        text_height: font size in pixels that the processor brings text to; None: as it was.

    Raises:
        ValueError: a size that does not fit, or text of no height.
    """
    images, tower = processor.image_processor, model.model.vision_tower
    number = isinstance(text_height, int | float)
    if text_height is not None and not (number and 0 < text_height < float("inf")):
        raise ValueError(f"text_height={text_height!r}: give a font size in pixels, such as 16.")
    step = max(images.canvas_step, tower.config.patch_size)
    if image_size is not None and (not isinstance(image_size, int) or image_size < step or image_size % step):
        raise ValueError(f"image_size={image_size!r}: give a multiple of {step} pixels.")
    if image_size is not None and image_size != tower.config.image_size:
        stretch_positions(tower, image_size)
    if image_size is not None:
        images.size = type(images.size)(longest_edge=image_size)
    if text_height is not None:
        images.text_height = float(text_height)


@torch.no_grad()
def stretch_positions(tower: SamVisionTower, image_size: int) -> None:
    """Stretch the tables of absolute positions (bicubic) and, of the blocks that see the whole image, of relative ones
    (linear), as ViTDet does for SAM's encoder (Li et al., 2022, section 3).

    Args:
        image_size: longest side in pixels, a multiple of the patches' side.
    """
    grid = image_size // tower.config.patch_size
    positions = tower.pos_embed.float().permute(0, 3, 1, 2)  # (1, embed_dim, H, W)
    positions = F.interpolate(positions, size=(grid, grid), mode="bicubic").permute(0, 2, 3, 1)
    tower.pos_embed = _like(tower.pos_embed, positions)
    for layer in tower.layers:
        if layer.attn.window_size:
            continue
        for name in ("rel_pos_h", "rel_pos_w"):
            table = getattr(layer.attn, name)  # (2 * grid - 1, head_dim)
            stretched = F.interpolate(table.float().t()[None], size=2 * grid - 1, mode="linear")[0].t()
            setattr(layer.attn, name, _like(table, stretched))
    tower.config.image_size = image_size


def _like(old: nn.Parameter, values: torch.Tensor) -> nn.Parameter:
    """A parameter of `values` with the old one's type."""
    return nn.Parameter(values.to(old.dtype).contiguous(), requires_grad=old.requires_grad)
