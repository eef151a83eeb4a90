"""GOT-OCR2's two layouts, the authors' and transformers': names of tensors and settings, to ours and back."""

import re
from collections.abc import Iterable

from transformers import GotOcr2Config, Qwen2Config

from .configuration_samvlm import SamVisionTowerConfig, SamVlmConfig
from .sam_names import to_hf

PARTS = ("text_config", "vision_config")
TOWER, CONNECTOR = "model.vision_tower.", "model.multi_modal_projector."
CONVS = tuple(f"{CONNECTOR}compressor.convs.{i}.weight" for i in range(2))
# Names in transformers' layout, in memory and (without "model." and with another prefix of the language model) as it is
# saved, to ours. The first line that fits counts.
TRANSFORMERS_NAMES = (
    (r"^(?:model\.)?vision_tower\.", TOWER),
    (r"^(?:model\.)?multi_modal_projector\.conv_upsampler1\.", CONNECTOR + "compressor.convs.0."),
    (r"^(?:model\.)?multi_modal_projector\.conv_upsampler2\.", CONNECTOR + "compressor.convs.1."),
    (r"^(?:model\.)?multi_modal_projector\.multimodal_projector\.", CONNECTOR + "layers.0."),
    (r"^(?:language_model\.)?lm_head\.", "lm_head."),
    (r"^language_model\.model\.", "model.language_model."),
)
# Names in the authors' layout (GOT/model/GOT_ocr_2_0.py) to ours.
ORIGINAL_NAMES = (
    (r"^model\.vision_tower_high\.net_2\.", CONNECTOR + "compressor.convs.0."),
    (r"^model\.vision_tower_high\.net_3\.", CONNECTOR + "compressor.convs.1."),
    (r"^model\.vision_tower_high\.", TOWER),
    (r"^model\.mm_projector_vary\.", CONNECTOR + "layers.0."),
    (r"^model\.(?=embed_tokens\.|layers\.|norm\.)", "model.language_model."),
)
SAVED_NAMES = (  # ours to transformers' layout as it is saved
    (r"^model\.vision_tower\.", "vision_tower."),
    (r"^model\.multi_modal_projector\.compressor\.convs\.0\.", "multi_modal_projector.conv_upsampler1."),
    (r"^model\.multi_modal_projector\.compressor\.convs\.1\.", "multi_modal_projector.conv_upsampler2."),
    (r"^model\.multi_modal_projector\.layers\.0\.", "multi_modal_projector.multimodal_projector."),
    (r"^model\.language_model\.", "language_model.model."),
    (r"^lm_head\.", "language_model.lm_head."),
)
COMPUTED = re.compile(r"\.rotary_emb\.inv_freq$")  # kept in files of old versions
SHARED = (  # settings of the tower that have the same names there
    "output_channels",
    "num_hidden_layers",
    "num_attention_heads",
    "num_channels",
    "image_size",
    "patch_size",
    "hidden_act",
    "layer_norm_eps",
    "qkv_bias",
    "window_size",
    "global_attn_indexes",
    "mlp_dim",
)


def layout_of(names: Iterable[str]) -> str | None:
    """Which layout of GOT-OCR2 tensors of these names have: "transformers", "original", or None: it is another model."""
    names = set(names)
    if any(re.fullmatch(r"(model\.)?multi_modal_projector\.conv_upsampler1\.weight", name) for name in names):
        return "transformers"
    original = {"model.vision_tower_high.net_2.weight", "model.mm_projector_vary.weight"}
    if original <= names and any(name.startswith("model.layers.") for name in names):
        # Vary has the same tower and projector beside CLIP's.
        return None if any(name.startswith("model.vision_tower.") for name in names) else "original"
    return None


def our_name(name: str, layout: str) -> str | None:
    """A tensor of a layout by our name; None for what is computed anew."""
    if COMPUTED.search(name):
        return None
    new = renamed(name, TRANSFORMERS_NAMES if layout == "transformers" else ORIGINAL_NAMES)
    return TOWER + to_hf(new.removeprefix(TOWER)) if new.startswith(TOWER) else new


def saved_name(name: str) -> str:
    """A tensor of ours by its name in transformers' layout."""
    return renamed(name, SAVED_NAMES)


def renamed(name: str, names: Iterable[tuple[str, str]]) -> str:
    """A name by the first line of a table that fits."""
    for pattern, replacement in names:
        if re.match(pattern, name):
            return re.sub(pattern, replacement, name)
    return name


def got_config(settings: dict, layout: str, path: str) -> GotOcr2Config:
    """transformers' configuration of a checkpoint, from its `config.json`; the authors' says nothing of the tower.

    Raises:
        ValueError: there is none, or it is of another model.
    """
    if not settings:
        raise ValueError(
            f"{path}: there is no config.json, which says how many heads the language model has."
        )
    if layout == "transformers":
        if settings.get("model_type") != GotOcr2Config.model_type:
            raise ValueError(
                f"{path}: the tensors are GOT-OCR2's, but config.json is of {settings.get('model_type')!r}."
            )
        return GotOcr2Config.from_dict(settings)
    known = {*Qwen2Config().to_dict(), "rope_theta"} - {
        "model_type",
        "transformers_version",
        "dtype",
        "architectures",
    }
    text = {key: value for key, value in settings.items() if key in known}
    return GotOcr2Config(
        text_config={"model_type": "qwen2", **text},
        image_token_index=settings.get("im_patch_token", 151859),
        tie_word_embeddings=text.get("tie_word_embeddings", True),
    )


def their_tower(sizes: dict) -> dict:
    """Settings of a tower of ours in transformers' names."""
    return {key: sizes[key] for key in SHARED if key in sizes} | {"hidden_size": sizes["embed_dim"]}


def our_config(source: GotOcr2Config, sizes: dict, widths: list[int], images: dict) -> SamVlmConfig:
    """Our configuration.

    Args:
        sizes: settings of the tower.
        widths: channels behind each of the two convolutions.
        images: settings of the image processor.
    """
    config = SamVlmConfig(
        vision_config=SamVisionTowerConfig(**sizes, images=images),
        text_config=source.text_config,
        image_token_id=source.image_token_id,
        connector_compressor="conv",
        connector_factor=4,
        connector_depth=1,
        connector_bias=True,
        connector_conv_widths=widths,
        tie_word_embeddings=source.tie_word_embeddings,
        converted_from={"model_type": GotOcr2Config.model_type, "config": {}},
    )
    # What has no place in ours is what a way there and back would lose.
    config.converted_from["config"] = _difference(source.to_dict(), back_config(config).to_dict())
    config.converted_from["without_dtype"] = [part for part in PARTS if getattr(source, part).dtype is None]
    return config


def _difference(given: dict, back: dict) -> dict:
    """What of `given` is not the same in `back`, parts within parts too."""
    lost = {}
    for key, value in given.items():
        if isinstance(value, dict) and isinstance(back.get(key), dict):
            if inner := _difference(value, back[key]):
                lost[key] = inner
        elif key not in back or back[key] != value:
            lost[key] = value
    return lost


def back_config(config: SamVlmConfig) -> GotOcr2Config:
    """transformers' configuration of a model of ours. Raises ValueError where GOT-OCR2 has no such parts."""
    wanted = {
        "connector_compressor": "conv",
        "connector_factor": 4,
        "connector_depth": 1,
        "connector_bias": True,
    }
    other = [
        f"{key}={getattr(config, key)!r}" for key, value in wanted.items() if getattr(config, key) != value
    ]
    tower, width = config.vision_config, config.text_config.hidden_size
    widths = list(config.connector_conv_widths or [2 * tower.output_channels, 4 * tower.output_channels])
    if widths != [2 * tower.output_channels, width]:
        other.append(f"connector_conv_widths={widths}")
    if tower.model_type != SamVisionTowerConfig.model_type:
        other.append(f"a tower of type {tower.model_type!r}")
    if other:
        raise ValueError(
            f"GOT-OCR2 cannot hold {', '.join(other)}: its connector is two convolutions, to twice the map's channels and "
            "to the language model's width, and one linear layer with a bias."
        )
    settings = {
        "vision_config": their_tower(tower.to_dict()),
        "text_config": config.text_config.to_dict(),
        "image_token_index": config.image_token_id,
        "tie_word_embeddings": config.tie_word_embeddings,
    }
    for key, value in (config.converted_from or {}).get("config", {}).items():
        inner = settings.get(key)
        settings[key] = inner | value if isinstance(inner, dict) and isinstance(value, dict) else value
    return GotOcr2Config.from_dict(settings)
