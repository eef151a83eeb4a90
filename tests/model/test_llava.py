"""The tower as a plain plugin: transformers' stock Llava with our tower as its `vision_config`."""

import pytest
import torch
from PIL import Image
from sam_reference import randomise, relative_error
from tiny import CHARACTERS, TINY_TOWER
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)

from samvlm import SamVisionTower, SamVisionTowerConfig, SamVlmImageProcessor, SamVlmProcessor
from samvlm.model.assembly import _add_tokens
from samvlm.model.characters import character_tokenizer

DECODER = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}


def llava_and_ours(family: str, pool: str):
    """A stock Llava with our tower, and our processor for it."""
    from transformers import AutoModelForCausalLM

    vision = SamVisionTowerConfig(**TINY_TOWER, token_pool=pool)
    tokenizer = character_tokenizer(CHARACTERS)
    text = AutoConfig.for_model(family, **DECODER, vocab_size=len(tokenizer))
    _add_tokens(tokenizer, AutoModelForCausalLM.from_config(text))
    text.vocab_size = len(tokenizer)
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
    )
    model = randomise(LlavaForConditionalGeneration(config)).eval()
    return model, SamVlmProcessor(SamVlmImageProcessor.for_tower(vision), tokenizer)


@pytest.fixture(scope="module", params=["llama", "qwen2"])
def ours(request):
    return llava_and_ours(request.param, "avg_pool" if request.param == "llama" else "pixel_unshuffle")


@pytest.fixture(scope="module", params=["ours", "Llava's"])
def parts(request, ours):
    """With our processor, and with Llava's over our image processor."""
    model, processor = ours
    if request.param == "Llava's":
        processor = LlavaProcessor(
            processor.image_processor,
            processor.tokenizer,
            patch_size=model.model.vision_tower.patch_size,
            vision_feature_select_strategy="full",
            chat_template=processor.chat_template,
        )
    return model, processor


def picture(width: int, height: int) -> Image.Image:
    return Image.effect_noise((width, height), 80).convert("RGB")


def prompt(processor, *images, text: str = "Read.") -> dict:
    conversations = [
        [{"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": text}]}]
        for image in images
    ]
    return processor.apply_chat_template(
        conversations,
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs={"padding": True},
    )


def test_forward_and_backward(parts):
    model, processor = parts
    inputs = prompt(processor, picture(200, 90), picture(199, 80))
    assert (inputs["input_ids"] == model.config.image_token_id).sum(1).tolist() == [8, 8]
    output = model(**inputs, labels=inputs["input_ids"])
    output.loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    model.zero_grad()


def test_generate(parts):
    model, processor = parts
    images = [picture(200, 90), picture(199, 80)]
    settings = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": None}
    inputs = prompt(processor, *images)
    together = model.generate(**inputs, **settings)
    assert together.shape[1] == inputs["input_ids"].shape[1] + 8
    for i, image in enumerate(images):
        alone = model.generate(**prompt(processor, image), **settings)[0]
        assert torch.equal(together[i, -8:], alone[-8:])
    beams = model.generate(**prompt(processor, images[0]), **settings, num_beams=3)
    assert beams.shape == (1, together.shape[1])


def test_save_and_reload(parts, tmp_path):
    model, processor = parts
    model.save_pretrained(tmp_path)
    again = AutoModelForImageTextToText.from_pretrained(tmp_path)
    assert type(again) is LlavaForConditionalGeneration
    assert type(again.model.vision_tower) is SamVisionTower
    inputs = prompt(processor, picture(200, 90))
    with torch.no_grad():
        assert torch.equal(again(**inputs).logits, model(**inputs).logits)


def test_several_sizes_in_one_batch(ours):
    """Our processor tells the sizes, and the tower gives each image its own tokens."""
    model, processor = ours
    images = [picture(200, 90), picture(60, 200), picture(100, 100)]
    inputs = prompt(processor, *images)
    assert (inputs["input_ids"] == model.config.image_token_id).sum(1).tolist() == [8, 8, 16]
    with torch.no_grad():
        logits = model(**inputs).logits
        for i, image in enumerate(images):
            alone = model(**prompt(processor, image)).logits[0]
            assert relative_error(logits[i, -len(alone) :], alone) < 1e-5


def test_sams_square(parts):
    model, processor = parts
    processor.image_processor.pad_to_square = True
    try:
        inputs = prompt(processor, picture(200, 90), picture(60, 200))
        assert (inputs["input_ids"] == model.config.image_token_id).sum(1).tolist() == [16, 16]
        assert model(**inputs).logits.isfinite().all()
    finally:
        processor.image_processor.pad_to_square = False


def test_its_tokens_are_ours(ours):
    """Llava's projector sees the map condensed by the tower's own setting."""
    model, processor = ours
    inputs = processor.image_processor(picture(200, 90), return_tensors="pt")
    tower = model.model.vision_tower
    with torch.no_grad():
        tokens = model.get_image_features(inputs["pixel_values"]).pooler_output[0]
        pooled = tower.pool(tower(inputs["pixel_values"]).last_hidden_state)
        assert torch.equal(tokens, model.model.multi_modal_projector(pooled)[0])
