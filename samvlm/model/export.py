"""Checkpoints that carry their own code, for `trust_remote_code=True` where samvlm is not installed."""

import json
import shutil
import sys
from pathlib import Path

from transformers import PreTrainedModel
from transformers.dynamic_module_utils import get_relative_import_files

from .configuration_samvlm import SamVisionTowerConfig, SamVlmConfig
from .image_processing_samvlm import SamVlmImageProcessor
from .modeling_sam_vision import SamVisionTower
from .modeling_samvlm import SamVlmForConditionalGeneration, SamVlmModel
from .processing_samvlm import SamVlmProcessor

VLM_CLASSES = {
    "AutoConfig": SamVlmConfig,
    "AutoModel": SamVlmModel,  # vLLM and SGLang look for this one
    "AutoModelForImageTextToText": SamVlmForConditionalGeneration,
    "AutoModelForMultimodalLM": SamVlmForConditionalGeneration,
    "AutoImageProcessor": SamVlmImageProcessor,
    "AutoProcessor": SamVlmProcessor,
}
TOWER_CLASSES = {
    "AutoConfig": SamVisionTowerConfig,
    "AutoModel": SamVisionTower,
    "AutoImageProcessor": SamVlmImageProcessor,
}


def export_remote_code(
    model: SamVlmForConditionalGeneration | SamVisionTower,
    processor: SamVlmProcessor | SamVlmImageProcessor | None,
    folder: str | Path,
) -> list[Path]:
    """Save a checkpoint together with the modules that it needs, and tell the Auto classes of them.

    `AutoModel`, `AutoModelForImageTextToText`, `AutoProcessor` and the others then load the folder (or the hub
    repository made of it) with `trust_remote_code=True` where only transformers and torch are installed.

    Args:
        model: the whole model, or a tower alone.
        processor: its processor; None for a tower (which writes its image processor's settings itself).
        folder: where to; made if it does not exist.

    Returns:
        The code files in the folder.

    Raises:
        ValueError: `model` is of another class.
    """
    if not isinstance(model, (SamVlmForConditionalGeneration, SamVisionTower)):
        raise ValueError(
            f"{type(model).__name__} cannot be exported: give SamVlmForConditionalGeneration or SamVisionTower."
        )
    classes = TOWER_CLASSES if isinstance(model, SamVisionTower) else VLM_CLASSES
    folder = Path(folder)
    model.save_pretrained(folder)
    if processor is not None:
        processor.save_pretrained(folder)
    auto_map = {auto: f"{cls.__module__.split('.')[-1]}.{cls.__name__}" for auto, cls in classes.items()}
    for name in ("config.json", "processor_config.json", "preprocessor_config.json"):
        file = folder / name
        if not file.exists():
            continue
        settings = json.loads(file.read_text(encoding="utf-8"))
        settings["auto_map"] = auto_map
        if "image_processor" in settings:
            settings["image_processor"]["auto_map"] = {"AutoImageProcessor": auto_map["AutoImageProcessor"]}
        file.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return [Path(shutil.copy(file, folder)) for file in code_files(classes.values())]


def code_files(classes: list[type[PreTrainedModel]]) -> list[Path]:
    """The modules that define `classes`, and all that these import relatively; they lie in one folder."""
    entries = {sys.modules[cls.__module__].__file__ for cls in classes}
    files = {Path(file) for entry in entries for file in (entry, *get_relative_import_files(entry))}
    return sorted(files)
