"""The document VLM: SAM's tower, a connector and any causal language model, composed on transformers' Llava."""

from dataclasses import dataclass, replace

import torch
from torch import nn
from transformers import (
    AutoModel,
    AutoModelForImageTextToText,
    AutoModelForMultimodalLM,
    Cache,
    PreTrainedConfig,
)
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightRenaming
from transformers.modeling_utils import LoadStateDictConfig, LoadStateDictInfo
from transformers.models.llava.modeling_llava import (
    LlavaForConditionalGeneration,
    LlavaModel,
    LlavaModelOutputWithPast,
    LlavaPreTrainedModel,
)
from transformers.utils.generic import can_return_tuple

from .configuration_samvlm import SamVisionTowerConfig, SamVlmConfig
from .connector import Connector
from .modeling_sam_vision import SamVisionTower, SamVisionTowerOutput, group_by_size


@dataclass
class SamVlmImageFeatures(SamVisionTowerOutput):
    """What `get_image_features` returns: `pooler_output` is a list with one (N_i, D) tensor of visual tokens an
    image; `last_hidden_state` is None (the images of a batch may have maps of different sizes)."""

    pooler_output: list[torch.Tensor] | None = None


class SamVlmPreTrainedModel(LlavaPreTrainedModel):
    """What both model classes share."""

    config: SamVlmConfig
    config_class = SamVlmConfig
    _no_split_modules = ["SamVisionBlock"]
    base_model_fsdp_plan: dict = {}

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)

    def load_adapter(
        self, *args, load_config: LoadStateDictConfig | None = None, **kwargs
    ) -> LoadStateDictInfo:
        """transformers' own, with DoRA's magnitudes: peft saves them without the last part of their name, and
        transformers (up to 5.23 at least) leaves them at their start and tells it as a warning. Arguments and result
        are the same; of weights that are one, as the new tokens' of tied tables, the result names none as missing."""
        mapping = (load_config and load_config.weight_mapping) or get_model_conversion_mapping(self)
        mapping = [*mapping, WeightRenaming(r"(lora_magnitude_vector\.[^.]+)$", r"\1.weight")]
        if load_config is not None:
            load_config = replace(load_config, weight_mapping=mapping)
        else:
            kwargs["weight_mapping"] = mapping
        info = super().load_adapter(*args, load_config=load_config, **kwargs)
        names: dict[int, set[str]] = {}
        for name, parameter in self.named_parameters(remove_duplicate=False):
            names.setdefault(id(parameter), set()).add(name)
        for same in names.values():
            if not same <= info.missing_keys:
                info.missing_keys -= same
        return info


def build_tower(config: PreTrainedConfig) -> nn.Module:
    """The tower of a `vision_config`. Ours is built directly: as remote code, its configuration class has a
    twin in another module, which the Auto mapping does not know."""
    if config.model_type == SamVisionTowerConfig.model_type:
        return SamVisionTower._from_config(config)
    return AutoModel.from_config(config)


class SamVlmModel(SamVlmPreTrainedModel, LlavaModel):
    """Tower, connector and language model without the head. Attribute names are Llava's: `vision_tower`,
    `multi_modal_projector` (a [`Connector`]) and `language_model`."""

    def __init__(self, config: SamVlmConfig):
        super(LlavaModel, self).__init__(config)  # Llava's own constructor would build its parts
        self.vision_tower = build_tower(config.vision_config)
        self.multi_modal_projector = Connector(
            channels=config.vision_config.output_channels,
            hidden_size=config.text_config.hidden_size,
            compressor=config.connector_compressor,
            factor=config.connector_factor,
            depth=config.connector_depth,
            act=config.connector_act,
            bias=config.connector_bias,
            conv_widths=config.connector_conv_widths,
        )
        self.language_model = AutoModel.from_config(config.text_config)
        self.post_init()

    @can_return_tuple
    def get_image_features(
        self, pixel_values: torch.Tensor, image_sizes: torch.Tensor | None = None, **kwargs
    ) -> SamVlmImageFeatures:
        """Visual tokens of a batch of images.

        Args:
            pixel_values: (B, 3, height, width), normalised; smaller images in the top left of a common canvas.
            image_sizes: (B, 2), height and width in pixels of each image within it; None: all fill it.

        Returns:
            `pooler_output`: a list of B tensors (N_i, D), D the width of the language model.
        """
        features: list[torch.Tensor | None] = [None] * len(pixel_values)
        for (height, width), members in group_by_size(pixel_values, image_sizes).items():
            batch = pixel_values[members, :, :height, :width]
            maps = self.vision_tower(batch, return_dict=True).last_hidden_state  # (b, C, H, W)
            for index, tokens in zip(members, self.multi_modal_projector(maps), strict=True):
                features[index] = tokens
        return SamVlmImageFeatures(pooler_output=features)

    def get_map_features(
        self, feature_maps: torch.Tensor, image_sizes: torch.Tensor | None = None
    ) -> SamVlmImageFeatures:
        """Visual tokens of images whose maps are known, so that the tower does not run.

        Args:
            feature_maps: (B, C, H, W), what `Connector.condense` made of the tower's maps, smaller ones in the top left.
            image_sizes: as in `get_image_features`.
        """
        cell = self.config.vision_config.patch_size * self.multi_modal_projector.condensing  # pixels a side
        sizes = None if image_sizes is None else torch.as_tensor(image_sizes) // cell
        features: list[torch.Tensor | None] = [None] * len(feature_maps)
        for (height, width), members in group_by_size(feature_maps, sizes).items():
            maps = feature_maps[members, :, :height, :width].contiguous()
            for index, tokens in zip(members, self.multi_modal_projector(maps, condensed=True), strict=True):
                features[index] = tokens
        return SamVlmImageFeatures(pooler_output=features)

    def get_placeholder_mask(
        self, input_ids: torch.Tensor | None, inputs_embeds: torch.Tensor, image_features: torch.Tensor
    ) -> torch.Tensor:
        """Where the image tokens stand: (B, T, 1) bool. Raises ValueError where counts disagree."""
        if input_ids is None:
            image_id = torch.tensor(self.config.image_token_id, device=inputs_embeds.device)
            mask = (inputs_embeds == self.get_input_embeddings()(image_id)).all(-1)
        else:
            mask = input_ids == self.config.image_token_id
        if not torch.compiler.is_compiling() and int(mask.sum()) != image_features.shape[0]:
            raise ValueError(
                f"The text has {int(mask.sum())} image tokens, the images give {image_features.shape[0]} features: "
                "let SamVlmProcessor write the placeholders, and do not truncate them (raise max_length)."
            )
        return mask.unsqueeze(-1).to(inputs_embeds.device)

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        image_sizes: torch.Tensor | None = None,
        mm_encoder_outputs: dict | None = None,
        feature_maps: torch.Tensor | None = None,
        **kwargs,
    ) -> LlavaModelOutputWithPast | tuple:
        """See [`LlavaModel`]; `image_sizes` as in `get_image_features`; `feature_maps` in place of `pixel_values` as in
        `get_map_features`."""
        if feature_maps is not None:
            if pixel_values is not None or mm_encoder_outputs:
                raise ValueError("give pixel_values, mm_encoder_outputs or feature_maps: one of them.")
            mm_encoder_outputs = {"image": self.get_map_features(feature_maps, image_sizes)}
        if self.training and pixel_values is None and not mm_encoder_outputs:
            # Every rank must run the same parts: a text-only batch on one of them would hang DDP and ZeRO.
            if inputs_embeds is None:
                inputs_embeds = self.get_input_embeddings()(input_ids)
            inputs_embeds = inputs_embeds + 0.0 * self.dummy_features().sum().to(inputs_embeds.dtype)
            input_ids = None
        return super().forward(
            input_ids=input_ids,
            pixel_values=pixel_values,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            image_sizes=image_sizes,
            mm_encoder_outputs=mm_encoder_outputs,
            **kwargs,
        )

    def dummy_features(self) -> torch.Tensor:
        """Visual tokens of the smallest image that the model takes, black: (N, D)."""
        config = self.config.vision_config
        side = config.patch_size * self.config.connector_factor
        weight = self.multi_modal_projector.layers[0].weight
        pixels = torch.zeros(1, config.num_channels, side, side, dtype=weight.dtype, device=weight.device)
        return self.get_image_features(pixels).pooler_output[0]


class SamVlmForConditionalGeneration(SamVlmPreTrainedModel, LlavaForConditionalGeneration):
    """[`SamVlmModel`] with the language model's head: chat over document images, `generate`, training loss."""

    def __init__(self, config: SamVlmConfig):
        super(LlavaForConditionalGeneration, self).__init__(config)
        self.model = SamVlmModel(config)
        self.lm_head = nn.Linear(config.text_config.hidden_size, config.text_config.vocab_size, bias=False)
        # Where tied, to the input embeddings, which have other names in some language models (GPT-2, OPT).
        embeddings = self.get_input_embeddings()
        name = next(name for name, module in self.named_modules() if module is embeddings)
        self._tied_weights_keys = {"lm_head.weight": f"{name}.weight"}
        self.post_init()
        if self.generation_config is not None and self.generation_config.suppress_tokens is None:
            # A generated image token would ask for an image that is not there.
            self.generation_config.suppress_tokens = [config.image_token_id]

    def get_image_features(
        self, pixel_values: torch.Tensor, image_sizes: torch.Tensor | None = None, **kwargs
    ) -> SamVlmImageFeatures:
        """See [`SamVlmModel.get_image_features`]."""
        return self.model.get_image_features(pixel_values, image_sizes=image_sizes, **kwargs)


AutoModel.register(SamVlmConfig, SamVlmModel, exist_ok=True)
AutoModelForImageTextToText.register(SamVlmConfig, SamVlmForConditionalGeneration, exist_ok=True)
AutoModelForMultimodalLM.register(SamVlmConfig, SamVlmForConditionalGeneration, exist_ok=True)

__all__ = ["SamVlmForConditionalGeneration", "SamVlmModel", "SamVlmPreTrainedModel"]
