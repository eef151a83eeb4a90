"""The first checkpoint: a tower, a language model, a new connector, the added tokens and the processor."""

import dataclasses
import difflib
import logging
from collections.abc import Iterable

import torch
from transformers import (
    CONFIG_MAPPING,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from .characters import CHAT_TOKENS, character_tokenizer
from .configuration_samvlm import SamVisionTowerConfig, SamVlmConfig
from .connector import Connector
from .image_processing_samvlm import SamVlmImageProcessor
from .modeling_sam_vision import SamVisionTower
from .modeling_samvlm import SamVlmForConditionalGeneration
from .processing_samvlm import SamVlmProcessor
from .source_images import IMAGE_SETTINGS
from .sources import find_tower

logger = logging.getLogger(__name__)

IMAGE_TOKEN = "<image>"
CONNECTOR = {"compressor": "avg_pool", "factor": 4, "depth": 2, "act": "gelu", "bias": True}
OTSL_TOKENS = ("<fcel>", "<ecel>", "<lcel>", "<ucel>", "<xcel>", "<nl>", "<ched>", "<rhed>", "<srow>")


def assemble(
    tower: str | dict,
    language_model: str | dict,
    characters: str | None = None,
    connector: dict | None = None,
    image: dict | None = None,
    seed: int = 0,
    dtype: str | torch.dtype | None = None,
) -> tuple[SamVlmForConditionalGeneration, SamVlmProcessor]:
    """Put a model together from parts.

    Args:
        tower: whatever `SamVisionTower.from_source` reads (SAM, GOT-OCR2, DeepSeek-OCR …), a folder of a samvlm tower
            or whole model, or the settings of a `SamVisionTowerConfig` for a new, random tower. Where it has
            convolutions behind the map and `connector` asks for the "conv" compressor, these start from them.
        language_model: folder or hub name of a causal language model, or the settings of a new one with its
            `model_type`.
        characters: the characters of a new character tokenizer, for a new language model; a pretrained one brings
            its own tokenizer.
        connector: `compressor`, `factor`, `depth`, `act`, `bias`, `conv_widths` of the [`Connector`].
        image: settings of the [`SamVlmImageProcessor`]; what is left out is as the tower's weights were trained, save
            that images of SAM's keep their own aspect instead of being padded to the square.
        seed: for all new weights.
        dtype: of all weights, such as "bfloat16"; default float32.

    Raises:
        ValueError: parts that do not fit, or settings that do not exist.
    """
    if isinstance(dtype, str) and not isinstance(getattr(torch, dtype, None), torch.dtype):
        raise ValueError(f"dtype {dtype!r} does not exist: choose float32, bfloat16 or float16.")
    check_names("connector", connector or {}, _settings_of(SamVlmConfig, "connector_"))
    check_names("image", image or {}, SamVlmImageProcessor.valid_kwargs.__annotations__)
    torch.manual_seed(seed)
    vision_tower, convs = _tower(tower)
    image = _image_settings(vision_tower.config, image)
    decoder, tokenizer = _language_model(language_model, characters)
    _add_tokens(tokenizer, decoder)
    connector = CONNECTOR | (connector or {})
    if connector["compressor"] == "conv" and convs:
        connector.setdefault("conv_widths", _widths(convs, connector["factor"]))
    config = SamVlmConfig(
        vision_config=vision_tower.config,
        text_config=decoder.config,
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
        **{f"connector_{key}": value for key, value in connector.items()},
    )
    model = SamVlmForConditionalGeneration(config)
    model.model.vision_tower.load_state_dict(vision_tower.state_dict())
    _warm_start(model.model.multi_modal_projector, convs)
    model.model.language_model.load_state_dict(decoder.base_model.state_dict())
    model.lm_head.weight.data.copy_(decoder.get_output_embeddings().weight)
    model.tie_weights()
    if not isinstance(language_model, dict):
        _check_decoder(model, decoder, language_model)
    if dtype is not None:
        model.to(getattr(torch, dtype) if isinstance(dtype, str) else dtype)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    model.generation_config.eos_token_id = end
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    if tokenizer.bos_token_id is None:
        model.generation_config.bos_token_id = None
    processor = SamVlmProcessor(
        image_processor=SamVlmImageProcessor.for_tower(vision_tower.config, connector["factor"], **image),
        tokenizer=tokenizer,
        patch_size=vision_tower.config.patch_size,
        pool_factor=connector["factor"],
    )
    return model.eval(), processor


def _tower(source: str | dict) -> tuple[SamVisionTower, dict[str, torch.Tensor]]:
    """The tower, and the weights of the convolutions that its source has behind it; {} for none."""
    if isinstance(source, dict):
        check_names("tower", source, _settings_of(SamVisionTowerConfig))
        return SamVisionTower(SamVisionTowerConfig(**source)), {}
    found = find_tower(source)
    for line in found.report():
        logger.info("%s", line)
    return found.load(SamVisionTower), found.load_compressor()


def _widths(convs: dict[str, torch.Tensor], factor: int) -> list[int] | None:
    """The channels behind each convolution of a compressor that can start from those of a source; None: the usual."""
    steps = {1: 0, 2: 1, 4: 2}.get(factor, 0)
    widths = [weight.shape[0] for weight in convs.values()][:steps]
    return widths if len(widths) == steps else None


@torch.no_grad()
def _warm_start(connector: Connector, convs: dict[str, torch.Tensor]) -> None:
    """Start the connector's convolutions from those of the tower's source, where they fit, and say what was done."""
    if not convs:
        return
    if connector.compressor is None:
        logger.info(
            'compressor: the tower has convolutions behind it; compressor "conv" would start from them'
        )
        return
    for name, weight in connector.compressor.named_parameters():
        if name not in convs:
            said = "is new: the tower's source has none"
        elif convs[name].shape != weight.shape:
            said = f"is new: {tuple(convs[name].shape)} does not fit {tuple(weight.shape)}"
        else:
            weight.copy_(convs[name])
            said = f"starts from the tower's source, {tuple(weight.shape)}"
        logger.info("compressor: %s %s", name, said)


def _image_settings(config: SamVisionTowerConfig, image: dict | None) -> dict:
    """The settings of the image processor that differ from the source's. SAM's square is the image in its own aspect
    with zeros around it, which are left out unless asked for; other towers see what they were trained with."""
    settings, told = dict(image or {}), config.images or {}
    own_aspect = settings.get("keep_aspect", told.get("keep_aspect", True))
    at_top_left = told.get("placement", "top_left") == "top_left" and told.get("background") is None
    if own_aspect and at_top_left:
        settings.setdefault("pad_to_square", False)
    if told:  # from now on the tower sees other images than its source did
        config.images = {**told, **{key: settings[key] for key in IMAGE_SETTINGS if key in settings}}
    return settings


def _settings_of(config: type[PreTrainedConfig], prefix: str = "") -> list[str]:
    names = ["model_type", *(field.name for field in dataclasses.fields(config)), *config.attribute_map]
    return [name.removeprefix(prefix) for name in names if name.startswith(prefix)]


def check_names(what: str, given: dict, known: Iterable[str], only_near: bool = False) -> None:
    """Raise ValueError, with the nearest name, for settings that do not exist: configurations take any without a word.

    Args:
        only_near: let those pass that are not nearly the name of one that exists.
    """
    known = list(known)
    for name in given:
        near = difflib.get_close_matches(str(name), known, 1, 0.85 if only_near else 0.6)
        if name not in known and (near or not only_near):
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}."
            raise ValueError(f"{what}: unknown setting {name!r}: {hint}")


@torch.no_grad()
def _check_decoder(model: SamVlmForConditionalGeneration, decoder: PreTrainedModel, source: str) -> None:
    """Raise ValueError where a language model does more behind its last layer than a matrix product (a bias, scaled or
    capped logits), which would be lost."""
    ids = torch.arange(8)[None] % decoder.config.vocab_size
    expected = decoder.eval().float()(input_ids=ids).logits
    found = model.eval()(input_ids=ids).logits
    if not torch.allclose(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max())):
        raise ValueError(
            f"{source}: {type(decoder).__name__} scales, caps or shifts its logits, which samvlm's head does not: "
            "choose another language model."
        )


def _language_model(
    source: str | dict, characters: str | None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    if not isinstance(source, dict):
        if characters is not None:
            raise ValueError(f"{source} brings its own tokenizer: leave `characters` out.")
        decoder = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
        return decoder, AutoTokenizer.from_pretrained(source)
    if not characters:
        raise ValueError("a new language model needs `characters`: those of its character tokenizer.")
    source = dict(source)
    model_type = source.pop("model_type", "llama")
    if model_type not in CONFIG_MAPPING:
        raise ValueError(f"model_type {model_type!r} is not known to transformers.")
    # Configurations take names that are not among their settings, older ones for example.
    check_names("language_model", source, _settings_of(CONFIG_MAPPING[model_type]), only_near=True)
    tokenizer = character_tokenizer(characters)
    ids = {
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = CONFIG_MAPPING[model_type](**{"vocab_size": len(tokenizer), **ids, **source})
    return AutoModelForCausalLM.from_config(config), tokenizer


def _add_tokens(tokenizer: PreTrainedTokenizerBase, decoder: PreTrainedModel) -> None:
    """Add the image, chat and OTSL tokens; a new embedding starts from the mean of its spelled-out pieces."""
    known = tokenizer.get_vocab()
    new = [token for token in (IMAGE_TOKEN, *CHAT_TOKENS[:2], *OTSL_TOKENS) if token not in known]
    spelled = {token: tokenizer(token, add_special_tokens=False)["input_ids"] for token in new}
    # Listed as special even where the tokenizer knows them, so that decoding can leave them out.
    special = {"extra_special_tokens": [IMAGE_TOKEN, *CHAT_TOKENS[:2]]}
    if hasattr(tokenizer, "image_token"):
        special["image_token"] = IMAGE_TOKEN
    tokenizer.add_special_tokens(special, replace_extra_special_tokens=False)
    tokenizer.add_tokens([token for token in new if token in OTSL_TOKENS])
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"
    if len(tokenizer) > decoder.get_input_embeddings().num_embeddings:
        decoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    start_from_pieces(decoder, tokenizer, spelled)


@torch.no_grad()
def start_from_pieces(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, spelled: dict[str, list[int]]
) -> None:
    """Set the embedding of each new token to the mean of the pieces that spelled it before."""
    for layer in {model.get_input_embeddings(), model.get_output_embeddings()} - {None}:
        for token, pieces in spelled.items():
            layer.weight[tokenizer.convert_tokens_to_ids(token)] = layer.weight[pieces].mean(0)
