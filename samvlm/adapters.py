"""LoRA adapter folders: the base model that one needs, and the model that the two make together."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForImageTextToText, PreTrainedModel

from .model import modeling_samvlm, processing_samvlm  # noqa: F401  (register the Auto classes)

SHIPPED = Path(__file__).parent / "assets" / "samvlm-tiny"
SETTINGS, WEIGHTS = "adapter_config.json", ("adapter_model.safetensors", "adapter_model.bin")


def folder_of(name: str | Path) -> str:
    """What is meant by a checkpoint's name: "samvlm-tiny" is the one that ships, unless a folder has that name."""
    return str(SHIPPED if str(name) == SHIPPED.name and not Path(name).exists() else name)


def is_adapter(folder: str | Path) -> bool:
    """Whether a folder is an adapter's."""
    return (Path(folder) / SETTINGS).is_file()


def base_of(adapter: str | Path) -> str:
    """The folder or hub name of the model that an adapter belongs to.

    A model that ships with samvlm is found wherever samvlm is installed.

    Raises:
        ValueError: the adapter names none, or a folder that is not there.
    """
    name = adapter_settings(adapter).get("base_model_name_or_path")
    if not isinstance(name, str) or not name:
        raise ValueError(
            f"{adapter}: {SETTINGS} names no base model; name it: samvlm merge {adapter} --base FOLDER"
        )
    if Path(name).is_dir():
        return name
    shipped = SHIPPED.parent / Path(name).name
    if Path(name).parts[-3:-1] == ("samvlm", "assets") and shipped.is_dir():
        return str(shipped)
    if re.fullmatch(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?", name) and not name.startswith("."):
        return name  # a hub name
    beside = Path(adapter).absolute().parent / Path(name).name
    found = f" ({beside} has the same name)" if (beside / "config.json").is_file() else ""
    raise ValueError(
        f"{adapter}: its base model {name} is not there. Put it back, or say where it is{found}: "
        f"samvlm merge {adapter} --base FOLDER -o OUT makes one model of both"
    )


def adapter_settings(adapter: str | Path) -> dict[str, Any]:
    """An adapter's settings. Raises ValueError where the folder is no adapter's."""
    adapter = Path(adapter)
    if not adapter.is_dir():
        raise ValueError(
            f"{adapter}: no such folder; give the folder of an adapter, such as runs/mine/1-instruct"
        )
    if not (adapter / SETTINGS).is_file():
        whole = (adapter / "config.json").is_file()
        raise ValueError(
            f"{adapter}: is a whole checkpoint already, there is nothing to merge"
            if whole
            else f"{adapter}: not an adapter's folder, it has no {SETTINGS}"
        )
    try:
        settings = json.loads((adapter / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{adapter}: {SETTINGS} cannot be read ({error})") from None
    if not isinstance(settings, dict) or not any((adapter / name).is_file() for name in WEIGHTS):
        raise ValueError(f"{adapter}: {SETTINGS} or {WEIGHTS[0]} is missing or damaged; get a complete copy")
    return settings


def processor_of(adapter: str | Path, base: str) -> str:
    """Where the processor of a model is: in the adapter's folder, or with its base, where other trainers leave it."""
    own = any(
        (Path(adapter) / name).is_file() for name in ("processor_config.json", "preprocessor_config.json")
    )
    return str(adapter) if own else base


def require_peft(adapter: str | Path) -> None:
    """Raise ValueError where peft is missing."""
    if importlib.util.find_spec("peft") is None:
        raise ValueError(f"{adapter}: adapters need peft, which is not installed: pip install peft")


@contextlib.contextmanager
def loading(name: str) -> Iterator[None]:
    """Within this context the errors of loaders become ValueErrors of one line."""
    try:
        yield
    except Exception as problem:  # what the many loaders raise on bad files has no common type
        reason = (str(problem).strip().splitlines() or ["unknown reason"])[0][:300]
        raise ValueError(f"{name}: not a document model that can be loaded ({reason})") from problem


def check_whole(name: str, report: dict[str, Iterable[Any]]) -> None:
    """Raise ValueError where loading a model has left weights as they were before.

    report: `missing_keys` and `mismatched_keys`, as from_pretrained gives them.
    """
    if lacking := sorted(report["missing_keys"]) + sorted(map(str, report["mismatched_keys"])):
        raise ValueError(
            f"{name}: {len(lacking)} weights are missing or of another shape, such as {lacking[0]}; "
            "get a complete copy of the checkpoint"
        )


def load_base(base: str, adapter: Path) -> PreTrainedModel:
    """The base model in float32. Raises ValueError."""
    require_peft(adapter)
    remedy = "name the right one: --base FOLDER"
    if is_adapter(base):
        raise ValueError(f"{base}: is an adapter itself; merge it first, and say --base with what comes out")
    try:
        config = (
            json.loads((Path(base) / "config.json").read_text(encoding="utf-8"))
            if Path(base).is_dir()
            else {}
        )
        if config.get("quantization_config"):
            raise ValueError(
                "its weights are stored quantised, and merging would round the adapter away; name the model from "
                "which they were quantised: --base FOLDER"
            )
        model, report = AutoModelForImageTextToText.from_pretrained(
            base, dtype=torch.float32, output_loading_info=True
        )
    except Exception as problem:  # what the many loaders raise on bad files has no common type
        reason = (str(problem).strip().splitlines() or ["unknown reason"])[0][:300]
        tail = "" if "--base" in reason else f"; {remedy}"
        raise ValueError(f"{adapter}: its base model {base} cannot be loaded: {reason}{tail}") from None
    lacking = sorted(report["missing_keys"]) + sorted(map(str, report["mismatched_keys"]))
    if lacking:
        raise ValueError(
            f"{base}: {len(lacking)} weights are missing or misshapen, such as {lacking[0]}; {remedy}"
        )
    return model.eval()


def with_adapter(model: PreTrainedModel, adapter: Path, settings: dict[str, Any]) -> nn.Module:
    """Base and adapter, every weight of which has found its place. Raises ValueError."""
    from peft import PeftConfig, PeftModel
    from peft.utils import get_peft_model_state_dict, load_peft_weights

    try:
        config = PeftConfig.from_pretrained(str(adapter))
        config.inference_mode = False  # so that what trained can be told from what was frozen
        if config.is_prompt_learning:
            raise ValueError(f"peft's {settings.get('peft_type')} adds no weights that could be merged")
        saved = load_peft_weights(str(adapter), device="cpu")
        peft_model = PeftModel(model, config)
        peft_model.load_adapter(str(adapter), "default", is_trainable=True, torch_device="cpu")
        wanted, possible = (
            set(get_peft_model_state_dict(peft_model, save_embedding_layers=tables))
            for tables in (False, True)
        )
    except Exception as problem:  # peft's and safetensors' errors have no common type
        reason = (str(problem).strip().splitlines() or ["unknown reason"])[0][:300]
        raise ValueError(f"{adapter}: does not fit its base model, or is damaged: {reason}") from None
    lacking, foreign = sorted(wanted - set(saved)), sorted(set(saved) - possible)
    if lacking or foreign:
        what, names = ("lacks", lacking) if lacking else ("has no place for", foreign)
        raise ValueError(
            f"{adapter}: the adapter {what} {len(names)} weights, such as {names[0]}: another base model?"
        )
    for name, weight in saved.items():
        if not torch.isfinite(weight).all():
            raise ValueError(
                f"{adapter}: the weight {name} holds numbers that are not finite; train it again"
            )
    return peft_model.eval()
