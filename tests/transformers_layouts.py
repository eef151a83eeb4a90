"""Tiny checkpoints in the layouts of transformers, written by its own classes."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from other_layouts import CHANNELS, SIDE, SMALL, Original
from sam_reference import randomise

VISION = {**{k: v for k, v in SMALL.items() if k != "embed_dim"}, "hidden_size": 48}
TEXT = {
    "hidden_size": 4 * CHANNELS,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "vocab_size": 40,
}


def need(name: str) -> type:
    """A class of transformers, or the test is skipped: the oldest supported version has not all."""
    if not hasattr(transformers, name):
        pytest.skip(f"transformers {transformers.__version__} has no {name}")
    return getattr(transformers, name)


def write_got_ocr2(folder: Path, **kwargs) -> Original:
    """transformers' GOT-OCR2."""
    config = need("GotOcr2Config")(vision_config=VISION, text_config={"model_type": "qwen2", **TEXT})
    model = randomise(need("GotOcr2ForConditionalGeneration")(config)).eval()
    model.save_pretrained(folder, **kwargs)
    projector = model.model.multi_modal_projector

    def encode(pixels: torch.Tensor) -> torch.Tensor:
        return model.model.vision_tower(pixels).last_hidden_state

    return Original(folder, encode, lambda p: projector.conv_upsampler2(projector.conv_upsampler1(encode(p))))


def write_deepseek_ocr2(folder: Path, **kwargs) -> Original:
    """transformers' DeepSeek-OCR-2 (which saves the names of the original unless told otherwise)."""
    encoder = {**TEXT, "max_position_embeddings": 2048}
    vision = {
        "sam_config": {**VISION, "downsample_channels": [2 * CHANNELS, 4 * CHANNELS]},
        "encoder_config": encoder,
    }
    text = {**TEXT, "n_routed_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 8}
    text |= {"mlp_layer_types": ["dense", "sparse"], "n_shared_experts": 1, "topk_group": 1, "n_group": 1}
    config = need("DeepseekOcr2Config")(vision_config=vision, text_config=text, image_token_id=5)
    model = randomise(need("DeepseekOcr2ForConditionalGeneration")(config)).eval()
    model.save_pretrained(folder, **kwargs)
    tower = model.model.vision_tower.sam_encoder
    return Original(folder, None, lambda pixels: tower(pixels).last_hidden_state)


def write_unlimited_ocr(folder: Path, **kwargs) -> Original:
    """transformers' Unlimited-OCR, whose encoder is that of DeepSeek-OCR."""
    vision = {
        "sam_config": {**VISION, "downsample_channels": [2 * CHANNELS, 4 * CHANNELS]},
        "encoder_config": {
            "hidden_size": 4 * CHANNELS,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
        },
    }
    text = {**TEXT, "n_routed_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 8}
    config = need("UnlimitedOcrConfig")(vision_config=vision, text_config=text, image_token_id=5)
    model = randomise(need("UnlimitedOcrForConditionalGeneration")(config)).eval()
    model.save_pretrained(folder, **kwargs)
    tower = model.model.vision_tower.sam_encoder
    return Original(folder, None, lambda pixels: tower(pixels).last_hidden_state)


def write_deepseek_vl(folder: Path, **kwargs) -> Original:
    """transformers' DeepSeek-VL with SAM beside SigLIP."""
    siglip = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = need("DeepseekVLHybridConfig")(
        vision_config={"model_type": "siglip_vision_model", **siglip},
        high_res_vision_config={"model_type": "sam_vision_model", **VISION, "num_pos_feats": CHANNELS // 2},
        text_config={"model_type": "llama", **TEXT},
        image_token_id=5,
    )
    model = randomise(need("DeepseekVLHybridForConditionalGeneration")(config)).eval()
    model.save_pretrained(folder, **kwargs)
    tower = model.model.high_res_vision_model
    return Original(folder, lambda pixels: tower(pixels).last_hidden_state)


def write_slanext(folder: Path, **kwargs) -> Original:
    """transformers' SLANeXt, the table reader of PaddleOCR."""
    config = need("SLANeXtConfig")(
        vision_config=VISION,
        post_conv_in_channels=CHANNELS,
        post_conv_out_channels=2 * CHANNELS,
        hidden_size=64,
    )
    model = randomise(need("SLANeXtForTableRecognition")(config)).eval()
    model.save_pretrained(folder, **kwargs)
    tower = model.backbone.vision_tower
    return Original(
        folder,
        lambda pixels: tower(pixels).last_hidden_state,
        lambda pixels: model.backbone.post_conv(tower(pixels).last_hidden_state),
    )


def write_sam(folder: Path, family: str = "Sam", **kwargs) -> Original:
    """transformers' SAM or HQ-SAM, whole."""
    decoder = {"hidden_size": CHANNELS, "mlp_dim": 16, "num_attention_heads": 2, "iou_head_hidden_dim": 16}
    decoder |= {"vit_dim": 48} if family == "SamHQ" else {}
    prompts = {
        "hidden_size": CHANNELS,
        "image_size": SIDE,
        "image_embedding_size": 16,
        "mask_input_channels": 4,
    }
    config = need(f"{family}Config")(
        vision_config={**VISION, "num_pos_feats": CHANNELS // 2},
        prompt_encoder_config=prompts,
        mask_decoder_config=decoder,
    )
    model = randomise(need(f"{family}Model")(config)).eval()
    model.save_pretrained(folder, **kwargs)
    return Original(folder, lambda pixels: model.vision_encoder(pixels).last_hidden_state)


def write_sam_hq(folder: Path, **kwargs) -> Original:
    """transformers' HQ-SAM."""
    return write_sam(folder, "SamHQ", **kwargs)


WRITERS: dict[str, Callable[..., Original]] = {
    "SAM (transformers)": write_sam,
    "HQ-SAM (transformers)": write_sam_hq,
    "GOT-OCR2 (transformers)": write_got_ocr2,
    "DeepSeek-OCR-2": write_deepseek_ocr2,
    "DeepSeek-OCR or Unlimited-OCR": write_unlimited_ocr,
    "DeepSeek-VL (transformers)": write_deepseek_vl,
    "SLANeXt (transformers)": write_slanext,
}
