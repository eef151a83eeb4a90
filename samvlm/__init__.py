"""samvlm: SAM's image encoder as the vision tower of a small document VLM.

Importing it registers the model with transformers' Auto classes; the names below load on first use.
"""

from importlib import import_module

from .model import modeling_samvlm, processing_samvlm  # noqa: F401  (register the Auto classes)

__version__ = "0.1.0"

_WHERE = {
    "SamVisionTowerConfig": ".model.configuration_samvlm",
    "SamVlmConfig": ".model.configuration_samvlm",
    "SamVisionTower": ".model.modeling_sam_vision",
    "SamVlmModel": ".model.modeling_samvlm",
    "SamVlmForConditionalGeneration": ".model.modeling_samvlm",
    "Connector": ".model.connector",
    "SamVlmImageProcessor": ".model.image_processing_samvlm",
    "SamVlmProcessor": ".model.processing_samvlm",
    "DocumentParser": ".generation",
    "ChatSession": ".generation",
    "Table": ".data.tables",
}
__all__ = ["__version__", *_WHERE]


def __getattr__(name: str):
    if name not in _WHERE:
        raise AttributeError(f"module 'samvlm' has no attribute {name!r}")
    value = getattr(import_module(_WHERE[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
