"""`samvlm merge`: one plain checkpoint folder of a LoRA adapter and its base model."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import nn
from transformers import AutoProcessor, PreTrainedModel

from .adapters import adapter_settings, base_of, folder_of, load_base, processor_of, with_adapter
from .cards import CARD, merged_card
from .data.whole_files import check_new_folder, whole_folder
from .model.configuration_samvlm import SamVlmConfig

HEADS = "training_heads.safetensors"  # of the tower, for later stages of training
DTYPES = ("float32", "bfloat16", "float16")
TOLERANCE = 1e-4  # of the largest logit: what float32 may differ by where the merged model is the adapter's


@dataclass(frozen=True)
class Merged:
    """What `merge_adapter` made.

    base:       folder or hub name of the base model
    parameters: of the checkpoint
    size:       of its weights, in bytes
    difference: between the logits of base with adapter and of the merged weights, before they were rounded to another
                dtype, as a share of the largest
    untied:     token table and head were one, and the adapter has made them two
    quantised:  the adapter was trained on the base model in 4 bits, and is merged into its whole weights
    """

    base: str
    parameters: int
    size: int
    difference: float
    untied: bool
    quantised: bool


def merge_adapter(
    adapter: str | Path,
    output: str | Path,
    base: str | Path | None = None,
    dtype: str = "float32",
    force: bool = False,
) -> Merged:
    """Merge an adapter into its base model: a checkpoint folder like that of a full training, which needs no peft.

    LoRA and DoRA matrices, modules that were trained whole and trained rows of the token table all go in. It is
    computed in float32 and compared with base and adapter on one input. The folder is written aside and then gets its
    name, so that it is there whole or not at all.

    Args:
        adapter: its folder.
        output: the checkpoint's folder.
        base: folder or hub name of the base model, or "samvlm-tiny"; None: the one that the adapter names.
        dtype: of the weights written: "float32" loses nothing.
        force: replace a checkpoint that is at `output`; merge although the base is not the model that the adapter was
            trained on.

    Raises:
        ValueError: something is missing, damaged or does not fit; it says what, and what to do.
        OSError: the disk does not take it.
    """
    adapter, output = Path(adapter), Path(output)
    settings = adapter_settings(adapter)
    if dtype not in DTYPES:
        raise ValueError(f"dtype {dtype!r}: choose one of {', '.join(DTYPES)}")
    base = folder_of(base) if base is not None else base_of(adapter)
    check_new_folder(output, (adapter, Path(base)), force)
    model = load_base(base, adapter)
    table, tied = model.get_input_embeddings().weight, model.config.tie_word_embeddings
    peft_model = with_adapter(model, adapter, settings)
    quantised = _check_base(peft_model, adapter, base, force)
    _part(table, model)
    inputs = probe(model)
    with torch.no_grad():
        expected = peft_model(**inputs).logits
        model = peft_model.merge_and_unload()
        difference = float((model(**inputs).logits - expected).abs().max() / expected.abs().max())
    if not difference <= TOLERANCE:
        raise ValueError(
            f"{adapter}: the merged weights give other logits than the adapter (by {difference:.1e} of the largest), so "
            "nothing was written: peft cannot merge this kind of adapter exactly; use the adapter's folder as it is"
        )
    untied = tied and not _tied_again(model)
    model.to(getattr(torch, dtype))
    for name, weight in model.named_parameters():
        if not torch.isfinite(weight).all():
            raise ValueError(f"{adapter}: {name} is not finite as {dtype}; try --dtype float32")
    said = (
        f"This is a whole checkpoint: the adapter `{adapter.name}` was merged into its base model `{_short(base)}` by "
        f"`samvlm merge`, in {dtype}."
    )
    processor = AutoProcessor.from_pretrained(processor_of(adapter, base))
    if quantised:
        said += (
            " In training the base model was in 4 bits; here it has its whole weights, so answers may differ."
        )
    with whole_folder(output) as folder:
        model.save_pretrained(folder)
        _compare(model, folder)
        processor.save_pretrained(folder)
        if (adapter / HEADS).is_file():
            shutil.copy(adapter / HEADS, folder)
        (folder / CARD).write_text(merged_card(adapter, _short(base), output.name, said), encoding="utf-8")
    size = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    count = sum(weight.numel() for weight in model.parameters())
    return Merged(base, count, size, difference, untied, quantised)


def probe(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """One input that every part of a document model has a share in: a picture of noise, and the last 256 tokens."""
    config = model.config
    text = config.get_text_config()
    ids = torch.arange(
        max(0, text.vocab_size - 256), text.vocab_size
    )  # the tokens that were added are the last
    if config.model_type != SamVlmConfig.model_type:
        return {"input_ids": ids[None]}
    side = config.vision_config.patch_size * config.connector_factor  # pixels of a visual token
    height, width = side, min(2 * side, config.vision_config.image_size // side * side)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(1, config.vision_config.num_channels, height, width, generator=generator)
    text = config.get_text_config()
    ids = torch.arange(
        max(0, text.vocab_size - 256), text.vocab_size
    )  # the tokens that were added are the last
    ids = ids[ids != config.image_token_id]
    image = torch.full((width // side,), config.image_token_id)
    return {"input_ids": torch.cat([image, ids])[None], "pixel_values": pixels.to(model.dtype)}


def frozen_digest(model: nn.Module, dtype: torch.dtype) -> str:
    """SHA-256 over the frozen weights of a model with adapters, as a training run in `dtype` writes it into its
    manifest."""
    hashes = {
        name: hashlib.sha256(
            weight.detach().to(dtype).cpu().reshape(-1).view(torch.uint8).numpy().tobytes()
        ).hexdigest()
        for name, weight in model.named_parameters()
        if not weight.requires_grad
    }
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()


def _check_base(peft_model: nn.Module, adapter: Path, base: str, force: bool) -> bool:
    """Raise ValueError where the run that made the adapter has written down frozen weights that the base has not.
    Returns whether the base was quantised in it, so that they cannot be compared."""
    try:
        manifest = json.loads((adapter / "manifest.json").read_text(encoding="utf-8"))
        wanted, recipe = manifest["frozen"], manifest["recipe"]
        dtype = getattr(torch, recipe["model"]["dtype"])
        quantised = bool((recipe["stage"]["lora"] or {}).get("quantize"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False  # of another trainer, or from before that was written
    if force or quantised or frozen_digest(peft_model, dtype) == wanted:
        return quantised
    raise ValueError(
        f"{base} is not the model that {adapter} was trained on: its frozen weights are others. Name the right one "
        "with --base FOLDER, or merge all the same with --force"
    )


def _part(table: nn.Parameter, model: nn.Module) -> None:
    """Give every module that shares a token table one of its own: adapters may change each in another way."""
    first = True
    for module in list(model.modules()):
        for name, weight in module._parameters.items():
            if weight is table:
                if not first:
                    module._parameters[name] = nn.Parameter(table.detach().clone(), requires_grad=False)
                first = False


def _tied_again(model: PreTrainedModel) -> bool:
    """Make token table and head of a model one again where they are still equal, and write into its configuration
    whether they are. Returns it."""
    tied = torch.equal(model.get_input_embeddings().weight, model.get_output_embeddings().weight)
    for config in (model.config, model.config.get_text_config()):
        config.tie_word_embeddings = tied
    model.tie_weights()
    return tied


def _compare(model: PreTrainedModel, folder: Path) -> None:
    """Raise OSError unless the files of a folder hold a model's weights, all and as they are."""
    wanted = model.state_dict()
    found = set()
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 (it is no dict)
                found.add(name)
                if name not in wanted or not torch.equal(file.get_tensor(name), wanted[name]):
                    raise OSError(f"{path.name}: {name} was not written as it is")
    pointers = {wanted[name].data_ptr() for name in found}
    if lost := [name for name, weight in wanted.items() if weight.data_ptr() not in pointers]:
        raise OSError(f"{lost[0]} was not written")


def _short(base: str) -> str:
    """A base model's name for other people: a hub name as it is, of a folder the last part."""
    return Path(base).name if Path(base).is_dir() else base
