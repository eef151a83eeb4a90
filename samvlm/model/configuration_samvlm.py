"""Configurations of the vision tower (`samvlm_vision`) and of the whole model (`samvlm`)."""

from typing import Literal

from huggingface_hub.dataclasses import strict
from transformers import CONFIG_MAPPING, AutoConfig, PreTrainedConfig

ATTENTION_PATHS = ("auto", "plain", "bias", "chunked", "folded", "flex", "triton")


@strict
class SamVisionTowerConfig(PreTrainedConfig):
    r"""
    Configuration of a [`SamVisionTower`]. The defaults are SAM's ViT-B (89,670,912 parameters);
    `SamVisionTowerConfig.vit("l")` and `.vit("h")` give the larger ones. The names are those of transformers'
    `SamVisionConfig`, save that the ViT's own width is `embed_dim`: `hidden_size` is the width of the tokens that
    the tower hands on (what Llava-style consumers read), and follows from the other settings.

    Args:
        embed_dim: width of the ViT.
        num_hidden_layers: number of blocks.
        num_attention_heads: heads a block; must divide `embed_dim`.
        mlp_dim: hidden width of the blocks' MLP.
        image_size: largest side in pixels; sets the size of the position tables (a multiple of `patch_size`).
        patch_size: side of a patch in pixels.
        num_channels: channels of the input image.
        output_channels: channels of the neck, and so of the feature map.
        window_size: side of the attention windows, in patches.
        global_attn_indexes: the blocks that attend over the whole image.
        hidden_act: activation of the MLPs.
        layer_norm_eps: epsilon of the layer norms.
        qkv_bias: whether the query, key and value projections have a bias.
        initializer_range: standard deviation of new weights.
        token_pool: how `hidden_states[-1]` condenses the map into tokens, "avg_pool" or "pixel_unshuffle".
        token_pool_factor: by how much per side: 1, 2 or 4.
        attention_path: "auto", or one path for every block: "plain", "bias", "chunked", "folded", "flex", "triton"
            (see `samvlm/model/attention.py`; all give the same numbers).
        images: settings of the [`SamVlmImageProcessor`] that the weights were trained with, where they are of others;
            no number of the tower depends on them.
    """

    model_type = "samvlm_vision"
    base_config_key = "vision_config"

    embed_dim: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    mlp_dim: int = 3072
    image_size: int = 1024
    patch_size: int = 16
    num_channels: int = 3
    output_channels: int = 256
    window_size: int = 14
    global_attn_indexes: list[int] | tuple[int, ...] = (2, 5, 8, 11)
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-6
    qkv_bias: bool = True
    initializer_range: float = 0.02
    token_pool: Literal["avg_pool", "pixel_unshuffle"] = "avg_pool"
    token_pool_factor: int = 4
    attention_path: str = "auto"
    images: dict | None = None
    hidden_size: int | None = None

    def __post_init__(self, **kwargs):
        if self.embed_dim % self.num_attention_heads:
            raise ValueError(
                f"embed_dim={self.embed_dim} is not divisible by num_attention_heads={self.num_attention_heads}."
            )
        if self.image_size % self.patch_size:
            raise ValueError(
                f"image_size={self.image_size} is not a multiple of patch_size={self.patch_size}."
            )
        if self.token_pool_factor not in (1, 2, 4):
            raise ValueError(f"token_pool_factor={self.token_pool_factor}: choose 1, 2 or 4.")
        if self.attention_path not in ATTENTION_PATHS:
            raise ValueError(
                f"attention_path={self.attention_path!r} does not exist: choose from {', '.join(ATTENTION_PATHS)}."
            )
        self.global_attn_indexes = list(self.global_attn_indexes)
        wrong = [i for i in self.global_attn_indexes if not 0 <= i < self.num_hidden_layers]
        if wrong:
            raise ValueError(
                f"global_attn_indexes={wrong} do not exist in a tower of {self.num_hidden_layers} layers."
            )
        merged = self.token_pool_factor**2 if self.token_pool == "pixel_unshuffle" else 1
        self.hidden_size = self.output_channels * merged
        super().__post_init__(**kwargs)

    @classmethod
    def vit(cls, name: Literal["b", "l", "h"], **kwargs) -> "SamVisionTowerConfig":
        """The configuration of SAM's ViT-B, ViT-L or ViT-H (Kirillov et al., 2023, build_sam.py)."""
        sizes = {"b": (768, 12, 12, (2, 5, 8, 11)), "l": (1024, 24, 16, (5, 11, 17, 23))}
        sizes["h"] = (1280, 32, 16, (7, 15, 23, 31))
        if name not in sizes:
            raise ValueError(f"SAM has no ViT {name!r}: choose 'b', 'l' or 'h'.")
        width, depth, heads, global_blocks = sizes[name]
        return cls(
            embed_dim=width,
            num_hidden_layers=depth,
            num_attention_heads=heads,
            mlp_dim=4 * width,
            global_attn_indexes=global_blocks,
            **kwargs,
        )


@strict
class SamVlmConfig(PreTrainedConfig):
    r"""
    Configuration of [`SamVlmForConditionalGeneration`]: a vision tower, a connector and any causal language model.

    Args:
        vision_config: configuration of the tower (a dict, or a config; default ViT-B).
        text_config: configuration of the language model (a dict with its `model_type`, or a config; default Qwen2).
        image_token_id: id of the `<image>` placeholder in the tokenizer.
        connector_compressor: "avg_pool", "pixel_unshuffle" or "conv" (3x3 stride-2 convolutions, as GOT-OCR2 has).
        connector_factor: by how much the compressor shrinks each side of the feature map: 1, 2 or 4.
        connector_depth: number of linear layers of the MLP behind it (1: a plain projection).
        connector_act: activation between them.
        connector_bias: whether they have a bias.
        connector_conv_widths: channels behind each convolution of "conv"; None: each doubles them (GOT-OCR2).
        converted_from: what a conversion has to keep of a model of another kind, so that it can be written back:
            its `model_type` and what has no place here.
        initializer_range: standard deviation of the connector's new weights.
    """

    model_type = "samvlm"
    sub_configs = {"vision_config": AutoConfig, "text_config": AutoConfig}

    vision_config: dict | PreTrainedConfig | None = None
    text_config: dict | PreTrainedConfig | None = None
    image_token_id: int = 151655
    connector_compressor: Literal["avg_pool", "pixel_unshuffle", "conv"] = "avg_pool"
    connector_factor: int = 4
    connector_depth: int = 2
    connector_act: str = "gelu"
    connector_bias: bool = True
    connector_conv_widths: list[int] | tuple[int, ...] | None = None
    converted_from: dict | None = None
    initializer_range: float = 0.02
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs):
        if self.connector_factor not in (1, 2, 4):
            raise ValueError(f"connector_factor={self.connector_factor}: choose 1, 2 or 4.")
        if self.connector_depth < 1:
            raise ValueError(
                f"connector_depth={self.connector_depth}: the connector needs at least one layer."
            )
        self.vision_config = _as_config(self.vision_config, SamVisionTowerConfig.model_type)
        self.text_config = _as_config(self.text_config, "qwen2")
        # Without this a tied language model (Qwen2-0.5B and many small ones) would get an untied lm_head.
        if not self.tie_word_embeddings and getattr(self.text_config, "tie_word_embeddings", False):
            self.tie_word_embeddings = True
        super().__post_init__(**kwargs)


def _as_config(config: dict | PreTrainedConfig | None, default_type: str) -> PreTrainedConfig:
    if isinstance(config, PreTrainedConfig):
        return config
    config = dict(config or {})
    model_type = config.pop("model_type", default_type)
    if (
        model_type == SamVisionTowerConfig.model_type
    ):  # not through the mapping: see modeling_samvlm.build_tower
        return SamVisionTowerConfig(**config)
    return CONFIG_MAPPING[model_type](**config)


AutoConfig.register(SamVisionTowerConfig.model_type, SamVisionTowerConfig, exist_ok=True)
AutoConfig.register(SamVlmConfig.model_type, SamVlmConfig, exist_ok=True)

__all__ = ["SamVisionTowerConfig", "SamVlmConfig"]
