"""Tiny GOT-OCR2 checkpoints with real values in them, in transformers' layout and in the authors', with tokenizers."""

import base64
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from sam_reference import randomise
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    GotOcr2Config,
    GotOcr2ForConditionalGeneration,
    GotOcr2Processor,
    PreTrainedTokenizerFast,
)
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

CLIP = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
TURNS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
EXTRAS = [f"<|extra_{i}|>" for i in range(205)]
LAST = ["<ref>", "</ref>", "<box>", "</box>", "<quad>", "</quad>", "<img>", "</img>", "<imgpad>"]
MERGED = [b"OC", b"OCR", b" O", b"th", b"the", b" the", b" f", b"or", b" for"]  # in the order of their ranks
FIRST = 256 + len(MERGED)  # id of <|endoftext|>
IMGPAD, VOCABULARY = FIRST + 216, FIRST + 217
VISION = {
    "hidden_size": 32,
    "output_channels": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 128,
    "patch_size": 16,
    "window_size": 3,
    "global_attn_indexes": [1],
    "mlp_dim": 48,
}
TEXT = {
    "model_type": "qwen2",
    "vocab_size": VOCABULARY,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0},
    "tie_word_embeddings": True,
    "bos_token_id": FIRST,
    "eos_token_id": FIRST,
}


def byte_letters() -> dict[int, str]:
    """GPT-2's letters for bytes."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {byte: chr(byte) for byte in shown} | {byte: chr(256 + i) for i, byte in enumerate(hidden)}


def got_tokenizer() -> PreTrainedTokenizerFast:
    """Made by hand as transformers' repository has it: byte-level BPE, then the special tokens in their order."""
    letters = byte_letters()
    pieces = [bytes([byte]) for byte in range(256)] + MERGED
    spelled = ["".join(letters[byte] for byte in piece) for piece in pieces]
    cuts = [
        (b"O", b"C"),
        (b"OC", b"R"),
        (b" ", b"O"),
        (b"t", b"h"),
        (b"th", b"e"),
        (b" ", b"the"),
        (b" ", b"f"),
    ]
    cuts += [(b"o", b"r"), (b" f", b"or")]
    merges = [tuple("".join(letters[byte] for byte in part) for part in cut) for cut in cuts]
    tokenizer = Tokenizer(
        models.BPE({piece: rank for rank, piece in enumerate(spelled)}, merges, fuse_unk=False)
    )
    tokenizer.model.ignore_merges = True
    pattern = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
        r"\s+(?!\S)|\s+"
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.add_special_tokens(
        [AddedToken(token, normalized=False, special=True) for token in TURNS + EXTRAS + LAST]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_input_names=["input_ids", "attention_mask"],
        model_max_length=8000,
        bos_token="<|endoftext|>",
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        clean_up_tokenization_spaces=True,
    )


def tiny_got(seed: int = 0, vision: dict | None = None, **text) -> GotOcr2ForConditionalGeneration:
    """A random model in which relative positions, position table and biases matter."""
    text = {**TEXT, **text}
    config = GotOcr2Config(
        vision_config={**VISION, **(vision or {})},
        text_config=text,
        image_token_index=IMGPAD,
        tie_word_embeddings=text["tie_word_embeddings"],
    )
    model = GotOcr2ForConditionalGeneration(config)
    randomise(model, seed)
    model.tie_weights()
    with torch.no_grad():  # so that greedy decoding does not repeat its last token
        for layer in model.model.language_model.layers:
            layer.self_attn.o_proj.weight.mul_(6)
            layer.mlp.down_proj.weight.mul_(6)
    return model.eval()


def image_processor(side: int) -> GotOcr2ImageProcessorPil:
    return GotOcr2ImageProcessorPil(size={"height": side, "width": side}, **CLIP)


def save_got(model: GotOcr2ForConditionalGeneration, folder: Path) -> Path:
    """In transformers' layout, with tokenizer and image settings."""
    model.save_pretrained(folder)
    GotOcr2Processor(image_processor(model.config.vision_config.image_size), got_tokenizer()).save_pretrained(
        folder
    )
    return folder


def save_original(model: GotOcr2ForConditionalGeneration, folder: Path) -> Path:
    """In the authors' layout, by its names as their code has them (vary_b.py, GOT_ocr_2_0.py)."""
    inner = {
        "patch_embed.projection": "patch_embed.proj",
        "neck.conv1": "neck.0",
        "neck.layer_norm1": "neck.1",
    }
    inner |= {"neck.conv2": "neck.2", "neck.layer_norm2": "neck.3"}
    tensors = {}
    for name, tensor in model.model.vision_tower.state_dict().items():
        stem, _, last = name.rpartition(".")
        if name.startswith("layers."):
            name = "blocks." + name.removeprefix("layers.").replace("layer_norm", "norm")
        elif stem in inner:
            name = f"{inner[stem]}.{last}"
        tensors[f"model.vision_tower_high.{name}"] = tensor
    projector = model.model.multi_modal_projector
    tensors["model.vision_tower_high.net_2.weight"] = projector.conv_upsampler1.weight
    tensors["model.vision_tower_high.net_3.weight"] = projector.conv_upsampler2.weight
    tensors["model.mm_projector_vary.weight"] = projector.multimodal_projector.weight
    tensors["model.mm_projector_vary.bias"] = projector.multimodal_projector.bias
    tensors |= {f"model.{name}": tensor for name, tensor in model.model.language_model.state_dict().items()}
    tensors["lm_head.weight"] = model.lm_head.weight
    folder.mkdir(parents=True)
    save_file(
        {name: tensor.clone().contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors"
    )
    text = model.config.text_config
    settings = {
        "architectures": ["GOTQwenForCausalLM"],
        "auto_map": {"AutoConfig": "modeling_GOT.GOTConfig", "AutoModel": "modeling_GOT.GOTQwenForCausalLM"},
        "attention_dropout": 0.0,
        "bos_token_id": FIRST,
        "eos_token_id": FIRST,
        "freeze_vision_tower": False,
        "hidden_act": "silu",
        "hidden_size": text.hidden_size,
        "im_end_token": IMGPAD - 1,
        "im_patch_token": IMGPAD,
        "im_start_token": IMGPAD - 2,
        "image_token_len": 256,
        "initializer_range": 0.02,
        "intermediate_size": text.intermediate_size,
        "max_position_embeddings": text.max_position_embeddings,
        "max_window_layers": 21,
        "model_type": "GOT",
        "num_attention_heads": text.num_attention_heads,
        "num_hidden_layers": text.num_hidden_layers,
        "num_key_value_heads": text.num_key_value_heads,
        "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0,
        "sliding_window": 32768,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.37.2",
        "use_cache": True,
        "use_im_start_end": True,
        "use_sliding_window": False,
        "vision_select_layer": -2,
        "vision_tower": "/home/someone/vit-large-patch14/",
        "vocab_size": text.vocab_size,
    }
    (folder / "config.json").write_text(json.dumps(settings))
    (folder / "generation_config.json").write_text(json.dumps({"bos_token_id": FIRST, "eos_token_id": FIRST}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "QWenTokenizer"}))
    pieces = [bytes([byte]) for byte in range(256)] + MERGED
    lines = [base64.b64encode(piece) + b" " + str(rank).encode() for rank, piece in enumerate(pieces)]
    (folder / "qwen.tiktoken").write_bytes(b"\n".join(lines) + b"\n")
    return folder


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def our_inputs(processor, images, texts):
    chats = [
        [{"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": text}]}]
        for image, text in zip(images, texts, strict=True)
    ]
    return processor.apply_chat_template(
        chats,
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs={"padding": True},
    )


def for_theirs(inputs) -> dict:
    return {name: inputs[name] for name in ("input_ids", "attention_mask", "pixel_values")}
