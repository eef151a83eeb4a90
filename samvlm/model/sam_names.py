"""The two namings of SAM's image encoder: Meta's (also GOT-OCR2's, DeepSeek-OCR's and Vary's) and Hugging Face's."""

import re

# Meta's names to Hugging Face's (transformers, convert_sam_to_hf.py); what stands in no line is the same in both.
META_TO_HF = (
    (r"^patch_embed\.proj\.", "patch_embed.projection."),
    (r"^blocks\.", "layers."),
    (r"^(layers\.\d+)\.norm([12])\.", r"\1.layer_norm\2."),
    (r"^neck\.0\.", "neck.conv1."),
    (r"^neck\.1\.", "neck.layer_norm1."),
    (r"^neck\.2\.", "neck.conv2."),
    (r"^neck\.3\.", "neck.layer_norm2."),
)
HF_TO_META = (
    (r"^patch_embed\.projection\.", "patch_embed.proj."),
    (r"^(layers\.\d+)\.layer_norm([12])\.", r"\1.norm\2."),
    (r"^layers\.", "blocks."),
    (r"^neck\.conv1\.", "neck.0."),
    (r"^neck\.layer_norm1\.", "neck.1."),
    (r"^neck\.conv2\.", "neck.2."),
    (r"^neck\.layer_norm2\.", "neck.3."),
)


def to_hf(name: str) -> str:
    """A tensor of the encoder, without prefix, as transformers and our tower name it (either naming is taken)."""
    return _renamed(name, META_TO_HF)


def to_meta(name: str) -> str:
    """A tensor of the encoder, without prefix, as Meta's code names it (either naming is taken)."""
    return _renamed(name, HF_TO_META)


def _renamed(name: str, rules: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name
