"""Decoding: one look at the image, the same text cached or not, alone or in a batch."""

import pytest
import torch
from PIL import Image
from sam_reference import randomise
from tiny import CHARACTERS, TINY_TOWER
from transformers import pipeline

from samvlm.model.assembly import assemble

DECODER = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 2048,
}
FAMILIES = {"llama": {}, "qwen2": {}, "qwen3": {"head_dim": 16}}


@pytest.fixture(scope="module", params=FAMILIES)
def parts(request):
    settings = DECODER | FAMILIES[request.param] | {"model_type": request.param}
    model, processor = assemble(dict(TINY_TOWER), settings, characters=CHARACTERS)
    randomise(model).generation_config.eos_token_id = None  # all go on to the end
    return model.eval(), processor


@pytest.fixture
def looks(parts) -> list:
    """The batches that the tower saw."""
    seen = []
    handle = parts[0].model.vision_tower.register_forward_hook(lambda *args: seen.append(args[1][0].shape))
    yield seen
    handle.remove()


def picture(width: int, height: int) -> Image.Image:
    return Image.effect_noise((width, height), 80).convert("RGB")


def prompt(processor, *images, text="Parse this table.") -> dict:
    conversations = [
        [
            {
                "role": "user",
                "content": [{"type": "image", "image": image}, {"type": "text", "text": text[: 17 - 6 * i]}],
            }
        ]
        for i, image in enumerate(images)
    ]
    return processor.apply_chat_template(
        conversations,
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs={"padding": True},
    )


def new_tokens(model, inputs, count=12, **kwargs) -> torch.Tensor:
    output = model.generate(**inputs, max_new_tokens=count, do_sample=False, **kwargs)
    return output[:, inputs["input_ids"].shape[1] :]


def test_encodes_the_image_once(parts, looks):
    model, processor = parts
    inputs = prompt(processor, picture(200, 90), picture(60, 200))
    tokens = new_tokens(model, inputs)
    assert tokens.shape == (2, 12)
    assert len(looks) == 2  # one for each size
    assert (tokens != processor.image_token_id).all()


@pytest.mark.parametrize("settings", [{"use_cache": False}, {"cache_implementation": "static"}], ids=str)
def test_cached_is_uncached(settings, parts):
    model, processor = parts
    inputs = prompt(processor, picture(200, 90))
    assert torch.equal(new_tokens(model, inputs, **settings), new_tokens(model, inputs))


def test_greedy_is_the_best_of_each_step(parts):
    """Against forward passes over the whole text, by hand."""
    model, processor = parts
    inputs = dict(prompt(processor, picture(200, 90)))
    found = new_tokens(model, inputs, count=5)[0]
    for token in found:
        with torch.no_grad():
            logits = model(**inputs).logits[0, -1]
        logits[processor.image_token_id] = -torch.inf
        assert token == logits.argmax()
        inputs["input_ids"] = torch.cat([inputs["input_ids"], token.view(1, 1)], dim=1)
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])


def test_batch_is_single(parts):
    model, processor = parts
    images = [picture(200, 90), picture(60, 200), picture(100, 100)]
    together = new_tokens(model, prompt(processor, *images))
    for i, image in enumerate(images):
        alone = prompt(processor, image, text="Parse this table."[: 17 - 6 * i])
        assert torch.equal(together[i], new_tokens(model, alone)[0])


def test_beams(parts, looks):
    model, processor = parts
    inputs = prompt(processor, picture(200, 90), picture(60, 200))
    output = model.generate(
        **inputs,
        max_new_tokens=6,
        num_beams=3,
        num_return_sequences=2,
        do_sample=False,
        output_scores=True,
        return_dict_in_generate=True,
    )
    assert output.sequences.shape[0] == 4
    assert len(looks) == 2  # not once more for every beam
    # The score that the search reports is that of the text, image included.
    for row, score in zip(output.sequences, output.sequences_scores, strict=True):
        index = 0 if torch.equal(row[: inputs["input_ids"].shape[1]], inputs["input_ids"][0]) else 1
        whole = {
            "input_ids": row[None],
            "attention_mask": torch.cat([inputs["attention_mask"][index], torch.ones(6, dtype=torch.long)])[
                None
            ],
            "pixel_values": inputs["pixel_values"][index : index + 1],
            "image_sizes": inputs["image_sizes"][index : index + 1],
        }
        with torch.no_grad():
            log = model(**whole).logits[0, -7:-1].log_softmax(-1)
        assert log.gather(1, row[-6:, None]).mean().item() == pytest.approx(score.item(), abs=1e-3)


@pytest.mark.parametrize("beams", [1, 2])
def test_encoded_once_asked_twice(beams, parts, looks):
    model, processor = parts
    inputs = dict(prompt(processor, picture(200, 90)))
    expected = new_tokens(model, inputs, num_beams=beams)
    pixels = {key: inputs.pop(key) for key in ("pixel_values", "image_sizes")}
    with torch.no_grad():
        encoded = {"image": model.get_image_features(**pixels)}
    looks.clear()
    for _ in range(2):
        assert torch.equal(new_tokens(model, inputs, mm_encoder_outputs=encoded, num_beams=beams), expected)
    assert not looks


@pytest.mark.parametrize("cached", [True, False])
def test_never_an_image_token(cached, parts):
    """However much the weights want one; it would ask for an image that is not there."""
    model, processor = parts
    inputs = prompt(processor, picture(200, 90))
    wanted = torch.nn.functional.one_hot(torch.tensor(processor.image_token_id), model.lm_head.out_features)
    handle = model.lm_head.register_forward_hook(lambda *args: args[2] + 1e4 * wanted)
    try:
        tokens = new_tokens(model, inputs, count=3, use_cache=cached)
        assert (tokens != processor.image_token_id).all()
        assert (new_tokens(model, inputs, count=3, suppress_tokens=None) == processor.image_token_id).all()
    finally:
        handle.remove()


def test_text_only(parts):
    model, processor = parts
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": "Hello"}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    assert new_tokens(model, inputs).shape == (1, 12)


def test_pipeline(tiny_checkpoint):
    pipe = pipeline("image-text-to-text", model=str(tiny_checkpoint), device="cpu")
    image = picture(200, 90)
    messages = [
        {"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": "Read."}]}
    ]
    chat = pipe(text=messages, max_new_tokens=5, return_full_text=False)
    plain = pipe(
        images=image,
        text=pipe.processor.apply_chat_template(messages, add_generation_prompt=True),
        max_new_tokens=5,
        return_full_text=False,
    )
    assert isinstance(chat[0]["generated_text"], str) and chat[0]["generated_text"]
    assert plain[0]["generated_text"] == chat[0]["generated_text"]
