"""LoRA, DoRA and QLoRA: what `stage.lora` may say, and the adapters that it asks for (Hu et al., 2021, by peft)."""

import dataclasses
import difflib
import importlib.util
from collections.abc import Sequence
from typing import Any

import torch
from accelerate import PartialState
from torch import nn
from transformers import BitsAndBytesConfig

from samvlm.adapters import is_adapter

LANGUAGE_MODEL = (
    r".*language_model\.layers\.\d+\..*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
)
TOWER = r".*vision_tower\.layers\.\d+\.attn\.qkv"
OURS = ("new_tokens", "tower", "quantize")  # keys of stage.lora beside peft's


def check_lora(lora: dict[str, Any], parts: Sequence[str]) -> None:
    """Raise ValueError, with the keys, for settings that contradict each other.

    Args:
        lora: `stage.lora`.
        parts: that train in the stage; all but the language model train whole.
    """
    for key in ("new_tokens", "tower"):
        if not isinstance(lora.get(key, False), bool):
            raise ValueError(f"stage.lora.{key}={lora[key]!r}: true or false.")
    for key in ("r", "lora_alpha"):
        value = lora.get(key, 1)
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise ValueError(f"stage.lora.{key}={value!r}: a number above 0.")
    if lora.get("quantize") not in (None, "4bit"):
        raise ValueError(f"stage.lora.quantize={lora['quantize']!r}: 4bit, or leave it out.")
    if lora.get("tower") and "vision_tower" in parts:
        raise ValueError(
            "stage.lora.tower adapts the tower's qkv, and stage.train has vision_tower, which trains them whole: "
            "choose one."
        )
    if "target_modules" in lora and lora.get("tower"):
        raise ValueError(
            "stage.lora.target_modules says itself what is adapted: leave out stage.lora.tower, or that."
        )
    if lora.get("new_tokens") and "trainable_token_indices" in lora:
        raise ValueError(
            "stage.lora.new_tokens chooses the rows of stage.lora.trainable_token_indices: choose one."
        )


def check_alone(lora: dict[str, Any] | None, sharded: bool) -> None:
    """Raise ValueError where weights of 4 bits would be spread over processes."""
    if sharded and (lora or {}).get("quantize"):
        raise ValueError(
            "stage.lora.quantize goes without trainer.deepspeed and trainer.fsdp, which spread weights that are not "
            "quantised: choose one."
        )


def check_start(source: str) -> None:
    """Raise ValueError where a stage would start from an adapter: its result would be another adapter, and lose it."""
    if is_adapter(source):
        raise ValueError(
            f"model.init_from={source} is an adapter: make one model of it and its base first, with "
            f"samvlm merge {source} -o FOLDER, and start from that."
        )


def quantised(lora: dict[str, Any] | None, dtype: torch.dtype) -> dict[str, Any]:
    """What `from_pretrained` is told for QLoRA (Dettmers et al., 2023): the language model's linear layers in 4 bits,
    NF4; {} without `quantize`.

    Args:
        lora: `stage.lora`.
        dtype: in which the layers compute.

    Raises:
        ValueError: bitsandbytes is not installed.
    """
    if not (lora or {}).get("quantize"):
        return {}
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ValueError("stage.lora.quantize=4bit needs bitsandbytes: pip install bitsandbytes.")
    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=["model.vision_tower", "model.multi_modal_projector", "lm_head"],
    )
    return {"quantization_config": config, "dtype": dtype, "device_map": {"": PartialState().device}}


def add_lora(
    model: nn.Module, lora: dict[str, Any], whole: Sequence[str] = (), new_tokens: Sequence[int] = ()
) -> nn.Module:
    """Put adapters on the language model's linear layers, and on the tower's qkv where `lora` has `tower`.

    Args:
        lora: `stage.lora`: settings of peft's LoraConfig (use_dora too) and our own.
        whole: names of the modules that train whole and are saved with the adapters.
        new_tokens: ids whose embeddings train where `lora` has `new_tokens`.

    Raises:
        ValueError: a setting that peft does not know, or that does not fit the model.
    """
    from peft import LoraConfig, get_peft_model

    known = [field.name for field in dataclasses.fields(LoraConfig)]
    for key in lora:
        if key not in (*known, *OURS):
            near = difflib.get_close_matches(key, (*known, *OURS), 1)
            hint = f"did you mean {near[0]!r}?" if near else "see peft's LoraConfig."
            raise ValueError(f"stage.lora: unknown key {key!r}: {hint}")
    targets = f"({LANGUAGE_MODEL}|{TOWER})" if lora.get("tower") else LANGUAGE_MODEL
    settings = {"target_modules": targets, "modules_to_save": list(whole) or None}
    settings |= {key: value for key, value in lora.items() if key not in OURS}
    if lora.get("new_tokens"):
        settings["trainable_token_indices"] = _rows(model, list(new_tokens))
    try:
        return get_peft_model(model, LoraConfig(**settings))
    except (TypeError, ValueError, NotImplementedError) as error:
        raise ValueError(f"stage.lora: {error}; see peft's LoraConfig.") from None


def _rows(model: nn.Module, tokens: list[int]) -> list[int] | dict[str, list[int]]:
    """peft's way to say which rows of the token tables train: tied tables are one."""
    if model.config.tie_word_embeddings:
        return tokens
    names = {id(module): name.rpartition(".")[2] for name, module in model.named_modules()}
    tables = (model.get_input_embeddings(), model.get_output_embeddings())
    return {names[id(table)]: tokens for table in tables}
