"""Training state spread over processes: which way a recipe asks for, what goes with it, and its settings.

With `trainer.deepspeed` DeepSpeed spreads the optimizer's state and gradients (ZeRO-2; Rajbhandari et al., 2020) and the
weights too (ZeRO-3); `trainer.fsdp` has PyTorch's fully_shard spread all three. Every process reads the whole model
first, so that any recipe starts the same way, and gives its part away before the first step.
"""

import json
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from training.recipe import Recipe

FOLDER = Path(__file__).resolve().parent.parent / "configs" / "deepspeed"
OURS = {  # what a DeepSpeed file must leave to the recipe
    "optimizer": "trainer.optimizer and trainer.rates",
    "scheduler": "trainer.schedule",
    "gradient_clipping": "trainer.max_grad_norm",
    "gradient_accumulation_steps": "trainer.gradient_accumulation_steps",
    "train_batch_size": "data.max_pixels",
    "train_micro_batch_size_per_gpu": "data.max_pixels",
    "bf16": "model.dtype",
    "fp16": "model.dtype",
}
HARMLESS = {  # what DeepSpeed's own files name, beside tensors and numbers
    "deepspeed.runtime.fp16.loss_scaler.LossScaler",
    "deepspeed.runtime.zero.config.ZeroStageEnum",
    "deepspeed.utils.tensor_fragment.fragment_address",
}
ADAMW = {"lr": 1e-3, "betas": (0.9, 0.98)}  # as MasterWeights; the groups have their own rates


@dataclass(frozen=True)
class Sharding:
    """How training state is spread.

    name:      for people and manifests: ZeRO-2, ZeRO-3 with offload, FSDP …
    deepspeed: whether DeepSpeed does it
    weights:   whether the weights are spread too: no process has them whole
    """

    name: str
    deepspeed: bool
    weights: bool


def sharding_of(recipe: "Recipe") -> Sharding | None:
    """How a recipe spreads its state; None: every process has all of it. Raises ValueError for a bad file."""
    trainer = recipe.trainer
    if trainer.fsdp:
        return Sharding("FSDP", False, True)
    if trainer.deepspeed is None:
        return None
    zero = read_deepspeed(trainer.deepspeed)["zero_optimization"]
    offload = any(
        (zero.get(f"offload_{what}") or {}).get("device", "none") != "none" for what in ("optimizer", "param")
    )
    return Sharding(f"ZeRO-{zero['stage']}{' with offload' if offload else ''}", True, zero["stage"] == 3)


def read_deepspeed(name: str) -> dict[str, Any]:
    """A DeepSpeed configuration.

    Args:
        name: of a file in configs/deepspeed, or the path of another.

    Raises:
        ValueError: there is none, it is no JSON, its stage is not 1, 2 or 3, or it says what the recipe says.
    """
    path = FOLDER / f"{name}.json" if (FOLDER / f"{name}.json").is_file() else Path(name)
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.json")))
        raise ValueError(f"trainer.deepspeed={name} is neither a file nor one of {known}.")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"trainer.deepspeed: {path} is not valid JSON: {error}") from None
    zero = config.get("zero_optimization") if isinstance(config, dict) else None
    if not isinstance(zero, dict) or zero.get("stage") not in (1, 2, 3):
        raise ValueError(f"trainer.deepspeed: {path} needs zero_optimization with a stage of 1, 2 or 3.")
    twice = [key for key in OURS if key in config]
    if twice:
        raise ValueError(f"trainer.deepspeed: leave {twice[0]} out of {path}: {OURS[twice[0]]} says it.")
    return config


def check_sharding(recipe: "Recipe") -> None:
    """Raise ValueError, naming both keys, for what does not go together with spread state."""
    trainer, stage = recipe.trainer, recipe.stage
    if trainer.fsdp and trainer.deepspeed is not None:
        raise ValueError(f"trainer.fsdp=true and trainer.deepspeed={trainer.deepspeed}: choose one.")
    sharding = sharding_of(recipe)
    if sharding is None:
        return
    key = "trainer.fsdp" if trainer.fsdp else f"trainer.deepspeed={trainer.deepspeed}"
    if trainer.optimizer != "adamw":
        raise ValueError(
            f"trainer.optimizer={trainer.optimizer} needs whole matrices, and {key} spreads them over processes: "
            "choose adamw, or leave that out."
        )
    if (stage.lora or {}).get("quantize"):
        raise ValueError(f"stage.lora.quantize does not go with {key}: leave one of them out.")
    if not (stage.lm_weight or stage.guide_weight) or any(s.get("dense_only") for s in recipe.data.sources):
        raise ValueError(
            f"{key} needs every process to run every part at every step, and stage.lm_weight=0 or dense_only samples "
            f"(data.sources) leave the language model out: leave out {key.partition('=')[0]}."
        )
    if sharding.weights and (stage.dense_weight or stage.guide_weight):
        raise ValueError(
            "stage.dense_weight and stage.guide_weight look into weights that no process has whole with "
            f"{key}: set both to 0, or choose trainer.deepspeed=zero2."
        )


def prepare_processes(recipe: "Recipe") -> None:
    """Set up this process for DeepSpeed, before anything is distributed.

    Raises:
        ValueError: a launcher has been told to shard, and the recipe has not; DeepSpeed or its compiler is missing.
    """
    for name, key in (
        ("ACCELERATE_USE_DEEPSPEED", "trainer.deepspeed"),
        ("ACCELERATE_USE_FSDP", "trainer.fsdp"),
    ):
        if os.environ.get(name, "false").lower() == "true" and not getattr(recipe.trainer, key.split(".")[1]):
            raise ValueError(f"the launcher asks for sharding ({name}): set {key} in the recipe instead.")
    if recipe.trainer.fsdp and int(os.environ.get("WORLD_SIZE", "1")) == 1:
        raise ValueError(
            "trainer.fsdp spreads weights over processes, and this is the only one: add --nproc 2 or more, or leave "
            "it out."
        )
    if recipe.trainer.deepspeed is None:
        return
    on_cpu = recipe.trainer.use_cpu or not torch.cuda.is_available()
    if on_cpu:
        os.environ["DS_ACCELERATOR"] = "cpu"
        if (
            shutil.which("ninja") is None
        ):  # pip puts it beside an interpreter whose folder may not be on the path
            os.environ["PATH"] = os.pathsep.join(
                [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
            )
        missing = [tool for tool in (os.environ.get("CXX", "g++"), "ninja") if shutil.which(tool) is None]
        if missing:
            raise ValueError(
                f"trainer.deepspeed compiles a small library for CPUs, and {missing[0]} is missing: install "
                "g++ and ninja (apt-get install g++ ninja-build), or leave it out."
            )
    if "RANK" not in os.environ:  # one process without a launcher
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        alone = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}
        os.environ.update(alone | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port})
    try:
        import deepspeed
    except ImportError:
        raise ValueError(
            "trainer.deepspeed needs DeepSpeed (Linux): pip install 'samvlm[train]'; trainer.fsdp does without."
        ) from None
    if on_cpu:
        deepspeed.init_distributed("gloo")


def deepspeed_arguments(recipe: "Recipe") -> dict[str, Any]:
    """What TrainingArguments is told about DeepSpeed: its file, with what the recipe says put in."""
    if recipe.trainer.deepspeed is None:
        return {}
    bf16 = recipe.model.dtype == "bfloat16"
    config = read_deepspeed(recipe.trainer.deepspeed)
    config.setdefault("zero_force_ds_cpu_optimizer", False)  # PyTorch's AdamW: nothing to compile
    config |= {
        "train_batch_size": "auto",  # numbers that DeepSpeed wants to see; the sampler decides
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": recipe.trainer.max_grad_norm,
        "bf16": {"enabled": bf16},
    }
    return {"deepspeed": config, "bf16": bf16}


def check_state(checkpoint: Path, manifest: dict[str, Any], about: dict[str, Any]) -> None:
    """Raise ValueError where spread state cannot go on in this run, whatever is forced: its parts are of another
    number of processes or another way to spread it, or could run code when they are read.

    Args:
        manifest, about: what the checkpoint's manifest and this run's say.
    """
    was, now = manifest.get("sharding"), about.get("sharding")
    if was != now:
        raise ValueError(
            f"{checkpoint} holds the state of {was or 'whole weights'}, and this run is of {now or 'whole weights'}: "
            "set trainer.deepspeed and trainer.fsdp as they were, or start anew from its weights "
            f"(model.init_from={checkpoint}, another trainer.output_dir)."
        )
    if now is not None and manifest["world_size"] != about["world_size"]:
        raise ValueError(
            f"{checkpoint} holds {now} state in {manifest['world_size']} parts, and this run has "
            f"{about['world_size']} processes: run as many, or start anew from its weights "
            f"(model.init_from={checkpoint}, another trainer.output_dir)."
        )
    for path in sorted(checkpoint.glob("global_step*/*.pt")):  # DeepSpeed reads them as pickles
        wrong = set(torch.serialization.get_unsafe_globals_in_checkpoint(str(path))) - HARMLESS
        if wrong:
            raise ValueError(f"{path} would run code of its own when it is read: {', '.join(sorted(wrong))}.")


@contextmanager
def whole_model(args: "TrainingArguments") -> Iterator[None]:
    """Within this context models are built and read whole, though ZeRO-3 is to come."""
    config = getattr(args, "hf_deepspeed_config", None)
    if config is None:
        yield
        return
    from transformers.integrations.deepspeed import set_hf_deepspeed_config, unset_hf_deepspeed_config

    unset_hf_deepspeed_config()
    try:
        yield
    finally:
        set_hf_deepspeed_config(config)
