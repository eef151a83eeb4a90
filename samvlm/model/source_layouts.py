"""Who keeps SAM's image encoder where: the layouts of checkpoints, told apart by the names of their tensors, with the
preprocessing that their encoders were trained with."""

import re
from collections.abc import Collection
from dataclasses import dataclass

from transformers.image_utils import (
    IMAGENET_DEFAULT_MEAN,
    IMAGENET_DEFAULT_STD,
    IMAGENET_STANDARD_MEAN,
    IMAGENET_STANDARD_STD,
    OPENAI_CLIP_MEAN,
    OPENAI_CLIP_STD,
)

BILINEAR, BICUBIC = 2, 3  # Pillow's numbers
IMAGENET = {"image_mean": IMAGENET_DEFAULT_MEAN, "image_std": IMAGENET_DEFAULT_STD}
CLIP = {"image_mean": OPENAI_CLIP_MEAN, "image_std": OPENAI_CLIP_STD}
HALF = {"image_mean": IMAGENET_STANDARD_MEAN, "image_std": IMAGENET_STANDARD_STD}
GREY = {"pad_to_square": True, "background": [127, 127, 127]}
CLIP_GREY = [int(mean * 255) for mean in OPENAI_CLIP_MEAN]
# Settings of the SamVlmImageProcessor, by the name that `preprocessing` takes.
PREPROCESSING: dict[str, dict] = {
    "sam": {"resample": BILINEAR, "pad_to_square": True, **IMAGENET},
    "got_ocr2": {"resample": BICUBIC, "keep_aspect": False, **CLIP},
    "vary": {"resample": BILINEAR, "keep_aspect": False, **IMAGENET},
    "deepseek_ocr": {"resample": BICUBIC, "placement": "center_even", **GREY, **HALF},
    "deepseek_ocr_transformers": {"resample": BICUBIC, "placement": "center", **GREY, **HALF},
    "deepseek_vl": {
        "resample": BICUBIC,
        "placement": "center",
        "pad_to_square": True,
        "background": CLIP_GREY,
        **CLIP,
    },
    "slanext": {"resample": BILINEAR, "pad_to_square": True, **IMAGENET},
}


@dataclass(frozen=True)
class Layout:
    """How one family of checkpoints is laid out.

    title:         for people
    preprocessing: a key of PREPROCESSING
    licence:       of the published weights
    prefix:        pattern of what comes before the encoder's names, whole
    beside:        patterns of names of which each must be found
    convs:         how the names of the compressor's convolutions end, in their order
    settings:      where in config.json those of the encoder are; None: nowhere, the shapes say it all
    """

    title: str
    preprocessing: str
    licence: str
    prefix: str
    beside: tuple[str, ...] = ()
    convs: tuple[str, ...] = ()
    settings: tuple[str, ...] | None = None


NETS = ("net_2.weight", "net_3.weight")
APACHE, MIT = "Apache-2.0", "MIT"
OWN_TOWER = Layout("samvlm, tower", "sam", "its own", r".*")
# The first that fits is the one.
LAYOUTS = (
    Layout(
        "samvlm, whole model",
        "sam",
        "its own",
        r"(.*\.)?vision_tower\.",
        (r"multi_modal_projector\.layers\.0\.weight$", r"vision_tower\.layers\.0\."),
        (
            "multi_modal_projector.compressor.convs.0.weight",
            "multi_modal_projector.compressor.convs.1.weight",
        ),
        ("vision_config",),
    ),
    Layout(
        "HQ-SAM (transformers)",
        "sam",
        APACHE,
        r"(.*\.)?vision_encoder\.",
        (r"mask_decoder\.hq_token",),
        settings=("vision_config",),
    ),
    Layout("HQ-SAM", "sam", APACHE, r"(.*\.)?image_encoder\.", (r"mask_decoder\.hf_token",)),
    Layout(
        "DeepSeek-VL (transformers)",
        "deepseek_vl",
        "DeepSeek model licence",
        r"(.*\.)?high_res_vision_model\.vision_encoder\.",
        settings=("high_res_vision_config",),
    ),
    Layout(
        "DeepSeek-VL",
        "deepseek_vl",
        "DeepSeek model licence",
        r"(.*\.)?vision_tower_high\.vision_tower\.",
    ),
    Layout(
        "DeepSeek-OCR-2 (transformers)",
        "deepseek_ocr_transformers",
        MIT,
        r"(.*\.)?sam_encoder\.",
        (r"query_\d+_resolution",),
        ("sam_encoder.proj.conv1.weight", "sam_encoder.proj.conv2.weight"),
        ("vision_config", "sam_config"),
    ),
    Layout(
        "DeepSeek-OCR or Unlimited-OCR (transformers)",
        "deepseek_ocr_transformers",
        MIT,
        r"(.*\.)?sam_encoder\.",
        (),
        ("sam_encoder.proj.conv1.weight", "sam_encoder.proj.conv2.weight"),
        ("vision_config", "sam_config"),
    ),
    Layout("DeepSeek-OCR-2", "deepseek_ocr", MIT, r"(.*\.)?sam_model\.", (r"qwen2_model\.",), NETS),
    Layout("DeepSeek-OCR or Unlimited-OCR", "deepseek_ocr", MIT, r"(.*\.)?sam_model\.", (), NETS),
    Layout(
        "GOT-OCR2 (transformers)",
        "got_ocr2",
        APACHE,
        r"(.*\.)?vision_tower\.",
        (r"multi_modal_projector\.conv_upsampler1\.",),
        ("multi_modal_projector.conv_upsampler1.weight", "multi_modal_projector.conv_upsampler2.weight"),
        ("vision_config",),
    ),
    Layout(
        "SLANeXt (transformers)",
        "slanext",
        APACHE,
        r"(.*\.)?vision_tower\.",
        (r"post_conv\.weight",),
        ("post_conv.weight",),
        ("vision_config",),
    ),
    Layout("Vary", "vary", "research only", r"(.*\.)?transformer\.vision_tower_high\.", (), NETS),
    Layout(
        "Vary-toy",
        "got_ocr2",
        "research only",
        r"(.*\.)?vision_tower_high\.",
        (r"(^|\.)(vision_tower\.vision_model|mm_projector)\.",),
        NETS,
    ),
    Layout("GOT-OCR2", "got_ocr2", APACHE, r"(.*\.)?vision_tower_high\.", (), NETS),
    Layout(
        "Vary-tiny",
        "got_ocr2",
        "research only",
        r"(.*\.)?(vision_tower_2|vision_tower|visual_encoder)\.",
        (r"net_2\.weight$",),
        NETS,
    ),
    Layout(
        "an encoder of Vary's kind (that of GOT-OCR2, DeepSeek-OCR and Vary has these names)",
        "got_ocr2",
        "that of its source",
        r".*",
        (r"net_2\.weight$",),
        NETS,
    ),
    Layout(
        "SAM (transformers)",
        "sam",
        APACHE,
        r"(.*\.)?",
        (r"patch_embed\.projection\.",),
        settings=("vision_config",),
    ),
    Layout("SAM", "sam", APACHE, r".*"),
)

# Why a tensor is left out, by its name without what wraps all of them; the first that fits.
REASONS = (
    (r"(prompt_encoder|shared_image_embedding|mask_decoder)\.", "SAM's prompts and masks"),
    (r"pixel_(mean|std)$", "the image processor has them"),
    (
        r"(neck_hd|hd_alpha_downsamples|downsamples|high_res_vision_(neck|proj|alpha))",
        "DeepSeek-VL's second neck",
    ),
    (r"(mm_projector\w*|multi_modal_projector|projector|aligner|opt_proj)\.", "projector"),
    (r"(image_newline|view_sep\w+|query_\d+\w*)", "tokens between tiles, and queries"),
    (r"(qwen2_model|vision_model|vision_tower|vision_tower_low|vision_encoder)\.", "a second vision encoder"),
    (r"(language_model|lm_head|embed_tokens|opt_model|decoder|wte|ln_f)\.", "language model"),
    (r"^(layers|h)\.\d+\.|^norm\.", "language model"),
    (r"(^|\.)head\.", "head for another task"),
)


def recognise(prefix: str, names: Collection[str]) -> Layout:
    """The layout of a checkpoint with these names, whose encoder's names begin with `prefix`."""

    def fits(layout: Layout) -> bool:
        return bool(re.fullmatch(layout.prefix, prefix)) and all(
            any(re.search(pattern, name) for name in names) for pattern in layout.beside
        )

    return next(layout for layout in LAYOUTS if fits(layout))


def reason_to_ignore(name: str) -> str:
    """Why a tensor outside of the encoder and the compressor is not read."""
    name = re.sub(r"^((module|_orig_mod|model|transformer)\.)+", "", name)
    return next((reason for pattern, reason in REASONS if re.search(pattern, name)), "not the image encoder")
