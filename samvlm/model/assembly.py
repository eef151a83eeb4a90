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
    dtype: str | torch.dtype | None = None,
) -> tuple[SamVlmForConditionalGeneration, SamVlmProcessor]:
    """Put a model together from parts.

    Args:
        tower: a SAM source (Meta `.pth`, Hugging Face folder or name), a folder of a samvlm tower or whole model, or
            the settings of a `SamVisionTowerConfig` for a new, random tower.
        language_model: folder or hub name of a causal language model, or the settings of a new one with its
            `model_type`.
        characters: the characters of a new character tokenizer, for a new language model; a pretrained one brings
            its own tokenizer.
        connector: `compressor`, `factor`, `depth`, `act`, `bias` of the [`Connector`].
        image: settings of the [`SamVlmImageProcessor`].
        seed: for all new weights.
        dtype: of all weights, such as "bfloat16"; default float32.

    Raises:
        ValueError: parts that do not fit, or settings that do not exist.
    """
    if isinstance(dtype, str) and not isinstance(getattr(torch, dtype, None), torch.dtype):
        raise ValueError(f"dtype {dtype!r} does not exist: choose float32, bfloat16 or float16.")
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
    with torch.no_grad():
        for layer in {decoder.get_input_embeddings(), decoder.get_output_embeddings()} - {None}:
            for token, pieces in spelled.items():
                layer.weight[tokenizer.convert_tokens_to_ids(token)] = layer.weight[pieces].mean(0)
