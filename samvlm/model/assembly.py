"""The first checkpoint: a tower, a language model, a new connector, the added tokens and the processor."""

from pathlib import Path

import torch
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from .characters import CHAT_TOKENS, character_tokenizer
from .configuration_samvlm import SamVisionTowerConfig, SamVlmConfig
from .image_processing_samvlm import SamVlmImageProcessor
from .modeling_sam_vision import SamVisionTower
from .modeling_samvlm import SamVlmForConditionalGeneration
from .processing_samvlm import SamVlmProcessor

IMAGE_TOKEN = "<image>"
OTSL_TOKENS = ("<fcel>", "<ecel>", "<lcel>", "<ucel>", "<xcel>", "<nl>", "<ched>", "<rhed>", "<srow>")


def assemble(
    tower: str | dict,
    language_model: str | dict,
    characters: str | None = None,
    connector: dict | None = None,
    image: dict | None = None,
    seed: int = 0,
) -> tuple[SamVlmForConditionalGeneration, SamVlmProcessor]:
    """Put a model together from parts.

    Args:
        tower: a SAM source (Meta `.pth`, Hugging Face folder or name, samvlm tower folder), or the settings of a
            `SamVisionTowerConfig` for a new, random tower.
        language_model: folder or hub name of a causal language model, or the settings of a new one with its
            `model_type`.
        characters: the characters of a new character tokenizer, for a new language model; a pretrained one brings
            its own tokenizer.
        connector: `compressor`, `factor`, `depth`, `act`, `bias` of the [`Connector`].
        image: settings of the [`SamVlmImageProcessor`].
        seed: for all new weights.

    Raises:
        ValueError: parts that do not fit, or settings that do not exist.
    """
    torch.manual_seed(seed)
    vision_tower = _tower(tower)
    decoder, tokenizer = _language_model(language_model, characters)
    _add_tokens(tokenizer, decoder)
    connector = {"compressor": "avg_pool", "factor": 4, "depth": 2, "act": "gelu", "bias": True} | (
        connector or {}
    )
    config = SamVlmConfig(
        vision_config=vision_tower.config,
        text_config=decoder.config,
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
        **{f"connector_{key}": value for key, value in connector.items()},
    )
    model = SamVlmForConditionalGeneration(config)
    model.model.vision_tower.load_state_dict(vision_tower.state_dict())
    model.model.language_model.load_state_dict(decoder.base_model.state_dict())
    if not config.tie_word_embeddings:
        model.lm_head.load_state_dict(decoder.get_output_embeddings().state_dict())
    model.tie_weights()
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    model.generation_config.eos_token_id = end
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    if tokenizer.bos_token_id is None:
        model.generation_config.bos_token_id = None
    processor = SamVlmProcessor(
        image_processor=SamVlmImageProcessor.for_tower(
            vision_tower.config, connector["factor"], **(image or {})
        ),
        tokenizer=tokenizer,
        patch_size=vision_tower.config.patch_size,
        pool_factor=connector["factor"],
    )
    return model.eval(), processor


def _tower(source: str | dict) -> SamVisionTower:
    if isinstance(source, dict):
        return SamVisionTower(SamVisionTowerConfig(**source))
    config = Path(source) / "config.json"
    if config.is_file() and AutoConfig.from_pretrained(source).model_type == SamVisionTowerConfig.model_type:
        return SamVisionTower.from_pretrained(source)
    return SamVisionTower.from_sam(source)


def _language_model(
    source: str | dict, characters: str | None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    if not isinstance(source, dict):
        if characters is not None:
            raise ValueError(f"{source} brings its own tokenizer: leave `characters` out.")
        return AutoModelForCausalLM.from_pretrained(source), AutoTokenizer.from_pretrained(source)
    if not characters:
        raise ValueError("a new language model needs `characters`: those of its character tokenizer.")
    source = dict(source)
    model_type = source.pop("model_type", "llama")
    if model_type not in CONFIG_MAPPING:
        raise ValueError(f"model_type {model_type!r} is not known to transformers.")
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
    special = [token for token in new if token not in OTSL_TOKENS]
    tokenizer.add_special_tokens(
        {"additional_special_tokens": special, "image_token": IMAGE_TOKEN}
        if hasattr(tokenizer, "image_token")
        else {"additional_special_tokens": special}
    )
    tokenizer.add_tokens([token for token in new if token in OTSL_TOKENS])
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"
    if len(tokenizer) > decoder.get_input_embeddings().num_embeddings:
        decoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    with torch.no_grad():
        for layer in {decoder.get_input_embeddings(), decoder.get_output_embeddings()} - {None}:
            for token, pieces in spelled.items():
                layer.weight[tokenizer.convert_tokens_to_ids(token)] = layer.weight[pieces].mean(0)
