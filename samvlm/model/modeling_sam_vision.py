"""SAM's image encoder (Kirillov et al., "Segment Anything", 2023; ViTDet backbone of Li et al., 2022) as a vision
tower: parameter names are those of transformers' SAM vision encoder, images of any aspect, exact light attention."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from transformers import AutoModel, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import ModelOutput
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .configuration_samvlm import SamVisionTowerConfig
from .connector import POOLS, check_grid
from .cpu_path import own_stream, run_block, run_neck, serves
from .image_processing_samvlm import SamVlmImageProcessor
from .vision_layers import SamAttention, SamNeck, SamPatchEmbed, SamVisionBlock, sincos_positions


@dataclass
class SamVisionTowerOutput(ModelOutput):
    """
    Args:
        last_hidden_state: the feature map, (B, output_channels, H/16, W/16); (B, 256, 64, 64) for 1024x1024 pixels.
        hidden_states: on request, the patch embedding's and the blocks' states, each (B, H/16 * W/16, embed_dim), and
            last the tokens that Llava-style models take, (B, N, hidden_size): the map condensed by
            `config.token_pool`. None in the places that were not asked for.
    """

    last_hidden_state: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor | None, ...] | None = None


class SamVisionTower(PreTrainedModel):
    """SAM's image encoder. Any image whose sides are multiples of the patch size, up to `config.image_size`."""

    config: SamVisionTowerConfig
    config_class = SamVisionTowerConfig
    base_model_prefix = "vision_tower"
    main_input_name = "pixel_values"
    input_modalities = ("image",)
    supports_gradient_checkpointing = True
    _no_split_modules = ["SamVisionBlock"]
    _supports_sdpa = True
    _supports_flash_attn = False
    _supports_flex_attn = False
    base_model_fsdp_plan = {"layers.*": "free_full_weight"}

    def __init__(self, config: SamVisionTowerConfig):
        super().__init__(config)
        side = config.image_size // config.patch_size
        self.patch_embed = SamPatchEmbed(config)
        self.pos_embed = nn.Parameter(torch.zeros(1, side, side, config.embed_dim))
        self.layers = nn.ModuleList(
            SamVisionBlock(config, 0 if i in config.global_attn_indexes else config.window_size)
            for i in range(config.num_hidden_layers)
        )
        self.neck = SamNeck(config)
        self.gradient_checkpointing = False
        self.post_init()

    @property
    def patch_size(self) -> int:
        """Side in pixels of one token of `hidden_states[-1]`; Llava tells the tokens of its images apart by it."""
        return self.config.patch_size * self.config.token_pool_factor

    def get_input_embeddings(self) -> nn.Module:
        return self.patch_embed

    @classmethod
    def _can_set_attn_implementation(cls) -> bool:
        return True  # transformers would look for its own attention interface in the source

    def get_correct_attn_implementation(
        self, requested_attention: str | None, is_init_check: bool = False
    ) -> str:
        """The tower has its own paths ("eager" is the plain one): flash and flex are meant for the language model."""
        if requested_attention in ALL_ATTENTION_FUNCTIONS.valid_keys():
            requested_attention = "sdpa"
        return super().get_correct_attn_implementation(requested_attention, is_init_check)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        if isinstance(module, SamVisionTower):
            init.copy_(module.pos_embed, sincos_positions(*module.pos_embed.shape[1:]))
        elif isinstance(module, SamAttention):
            init.zeros_(module.rel_pos_h)
            init.zeros_(module.rel_pos_w)

    def forward(
        self,
        pixel_values: torch.Tensor,
        output_hidden_states: bool | int | list[int] | None = None,
        image_sizes: torch.Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs,
    ) -> SamVisionTowerOutput | tuple:
        """
        Args:
            pixel_values: (B, 3, height, width), normalised; height and width multiples of `config.patch_size`.
            output_hidden_states: True for all of the output's `hidden_states`, or the index or indexes of some.
            image_sizes: (B, 2), height and width of each image where `pixel_values` is their common canvas: the
                output is then only `hidden_states[-1]`, (1, N_1 + … + N_B, hidden_size), as Llava takes it.

        Raises:
            ValueError: the size does not fit the tower.
        """
        if image_sizes is not None:
            return self.forward_sizes(pixel_values, image_sizes, return_dict)
        self.check_size(*pixel_values.shape[1:])
        wanted = self.wanted_states(output_hidden_states)
        # A frozen tower costs nothing in the backward pass, even where activation checkpointing made the patch
        # embedding's output require gradients.
        needs_grad = torch.is_grad_enabled() and (
            pixel_values.requires_grad or any(p.requires_grad for p in self.parameters())
        )
        with torch.set_grad_enabled(needs_grad):
            hidden_states = self.patch_embed(pixel_values.to(self.patch_embed.projection.weight.dtype))
            height, width = hidden_states.shape[1:3]
            # The top left part of the table: where SAM's padding to the bottom right would put this image.
            hidden_states = hidden_states + self.pos_embed[:, :height, :width]  # (B, H, W, embed_dim)
            states = [hidden_states.flatten(1, 2) if 0 in wanted else None]
            light = serves(self.layers, self.neck, hidden_states)
            if light:
                hidden_states = own_stream(hidden_states)
            for number, layer in enumerate(self.layers, start=1):
                hidden_states = run_block(layer, hidden_states) if light else layer(hidden_states)
                state = hidden_states.flatten(1, 2) if number in wanted else None
                states.append(state.to(self.dtype, copy=True) if light and number in wanted else state)
            # (B, output_channels, H, W)
            features = run_neck(self.neck, hidden_states) if light else self.neck(hidden_states)
            states.append(self.pool(features) if len(states) in wanted else None)
        output = SamVisionTowerOutput(
            last_hidden_state=features, hidden_states=tuple(states) if wanted else None
        )
        use_dict = self.config.return_dict if return_dict is None else return_dict
        return output if use_dict else output.to_tuple()

    def forward_sizes(
        self, pixel_values: torch.Tensor, image_sizes: torch.Tensor, return_dict: bool | None = None
    ) -> SamVisionTowerOutput | tuple:
        """The tokens of images of several sizes, one after the other (see `forward`)."""
        tokens: list[torch.Tensor | None] = [None] * len(pixel_values)
        for (height, width), members in group_by_size(pixel_values, image_sizes).items():
            batch = pixel_values[members, :, :height, :width]
            states = self(batch, output_hidden_states=-1, return_dict=True).hidden_states
            for index, image_tokens in zip(members, states[-1], strict=True):
                tokens[index] = image_tokens
        states = (None,) * (len(self.layers) + 1) + (torch.cat(tokens)[None],)
        output = SamVisionTowerOutput(hidden_states=states)
        use_dict = self.config.return_dict if return_dict is None else return_dict
        return output if use_dict else output.to_tuple()

    def wanted_states(self, request: bool | int | list[int] | None) -> set[int]:
        """Which of the `hidden_states` a call asks for, counted from 0 (the patch embedding)."""
        request = self.config.output_hidden_states if request is None else request
        total = len(self.layers) + 2
        if isinstance(request, bool) or request is None:
            return set(range(total)) if request else set()
        indexes = [request] if isinstance(request, int) else list(request)
        wrong = [index for index in indexes if not -total <= index < total]
        if wrong:
            raise ValueError(f"hidden_states {wrong} do not exist: the tower has {total}, counted from 0.")
        return {index % total for index in indexes}

    def pool(self, features: torch.Tensor) -> torch.Tensor:
        """The tokens a Llava-style model takes: (B, C, H, W) -> (B, N, hidden_size)."""
        factor = self.config.token_pool_factor
        check_grid(*features.shape[-2:], factor)
        return POOLS[self.config.token_pool](features, factor).flatten(2).transpose(1, 2)

    def check_size(self, channels: int, height: int, width: int) -> None:
        """Raise ValueError for an image that the tower cannot take."""
        patch, largest = self.config.patch_size, self.config.image_size
        if channels != self.config.num_channels:
            raise ValueError(
                f"pixel_values have {channels} channels, the tower takes {self.config.num_channels}."
            )
        if height % patch or width % patch or not 0 < height <= largest or not 0 < width <= largest:
            raise ValueError(
                f"pixel_values of {height}x{width} pixels: both sides must be multiples of {patch} and at most "
                f"{largest}; SamVlmImageProcessor makes such images."
            )

    def save_pretrained(self, save_directory: str | Path, *args, **kwargs) -> None:
        """See [`PreTrainedModel.save_pretrained`]. Unless the folder has some, it also gets the settings of the image
        processor, so that AutoImageProcessor makes the images that this tower takes."""
        super().save_pretrained(save_directory, *args, **kwargs)
        if not (Path(save_directory) / "preprocessor_config.json").exists():
            SamVlmImageProcessor.for_tower(self.config).save_pretrained(save_directory)

    @classmethod
    def from_source(cls, path: str | Path, preprocessing: str | None = None, **kwargs) -> "SamVisionTower":
        """The tower from weights of others, recognised by the names of their tensors: SAM (Meta's `.pth`, Hugging Face
        folders), HQ-SAM, GOT-OCR2, DeepSeek-OCR and -OCR-2, Vary, DeepSeek-VL, fine-tunes of them and encoders cut
        out of them; docs/towers.md lists all. Only the tower's tensors are read, and no code that a file may hold.

        Args:
            path: a weight file (`.pth`, `.pt`, `.bin`, `.safetensors`), or the folder or hub name of a model.
            preprocessing: what the weights were trained with, where the names do not tell: a name in
                `samvlm.model.source_layouts.PREPROCESSING`. It becomes `config.images`, which
                `SamVlmImageProcessor.for_tower` and saved folders follow.
            kwargs: settings of `SamVisionTowerConfig` that the weights do not decide, such as `token_pool`.

        Raises:
            ValueError: no tower was found, or weights are missing, unknown, of another shape or not finite.
        """
        from .sources import load_tower

        return load_tower(cls, path, preprocessing, **kwargs)

    @classmethod
    def from_sam(cls, path: str | Path, **kwargs) -> "SamVisionTower":
        """The same as `from_source`, by its older name."""
        return cls.from_source(path, **kwargs)


def group_by_size(
    pixel_values: torch.Tensor, image_sizes: torch.Tensor | None
) -> dict[tuple[int, int], list[int]]:
    """Which images of a batch have the same size: {(height, width): [index, …]}."""
    if image_sizes is None:
        return {tuple(pixel_values.shape[-2:]): list(range(len(pixel_values)))}
    if len(image_sizes) != len(pixel_values):
        raise ValueError(f"{len(pixel_values)} images, but {len(image_sizes)} image_sizes.")
    groups: dict[tuple[int, int], list[int]] = {}
    for index, (height, width) in enumerate(torch.as_tensor(image_sizes).tolist()):
        groups.setdefault((height, width), []).append(index)
    return groups


AutoModel.register(SamVisionTowerConfig, SamVisionTower, exist_ok=True)

__all__ = ["SamVisionTower", "SamVisionTowerOutput"]
