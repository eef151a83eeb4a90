"""The processor: placeholders, chat template, assistant masks, batches, saving."""

import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

import samvlm
from samvlm import SamVlmProcessor
from samvlm.model.characters import character_tokenizer


@pytest.fixture(scope="module")
def processor(tiny_checkpoint) -> SamVlmProcessor:
    return AutoProcessor.from_pretrained(tiny_checkpoint)


@pytest.fixture(scope="module")
def model(tiny_checkpoint):
    return AutoModelForImageTextToText.from_pretrained(tiny_checkpoint)


def picture(width: int, height: int) -> Image.Image:
    return Image.effect_noise((width, height), 80).convert("RGB")


def user(*parts) -> dict:
    content = [
        {"type": "image", "image": p} if isinstance(p, Image.Image) else {"type": "text", "text": p}
        for p in parts
    ]
    return {"role": "user", "content": content}


def assistant(text: str) -> dict:
    return {"role": "assistant", "content": [{"type": "text", "text": text}]}


def tokenized(processor, messages, **kwargs):
    settings = {"tokenize": True, "return_dict": True, "return_tensors": "pt"}
    return processor.apply_chat_template(messages, **{**settings, **kwargs})


def test_the_template(processor):
    messages = [
        {"role": "system", "content": "Be exact."},
        user(picture(20, 20), "Parse."),
        assistant("<fcel>1<nl>"),
        {"role": "user", "content": "Sum?"},
    ]
    text = processor.apply_chat_template(messages, add_generation_prompt=True)
    assert text == (
        "<|im_start|>system\nBe exact.<|im_end|>\n<|im_start|>user\n<image>Parse.<|im_end|>\n"
        "<|im_start|>assistant\n<fcel>1<nl><|im_end|>\n<|im_start|>user\nSum?<|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.parametrize("size", [(200, 90), (64, 256), (100, 100), (30, 7), (256, 3)], ids=str)
def test_as_many_placeholders_as_tokens(size, processor, model):
    inputs = tokenized(processor, [user(picture(*size), "Parse this table.")], add_generation_prompt=True)
    tokens = model.model.get_image_features(inputs["pixel_values"], inputs["image_sizes"]).pooler_output
    count = (inputs["input_ids"] == processor.image_token_id).sum()
    assert [len(image) for image in tokens] == [count]
    width, height = size
    assert processor._get_num_multimodal_tokens(image_sizes=[(height, width)])["num_image_tokens"] == [count]


def test_counts_for_servers(processor):
    counts = processor._get_num_multimodal_tokens(image_sizes=[(90, 200), (300, 300)])
    assert counts["num_image_tokens"] == [2 * 4, 4 * 4]
    assert counts["num_image_patches"] == [1, 1]
    smaller = processor._get_num_multimodal_tokens(image_sizes=[(90, 200)], size={"longest_edge": 128})
    assert smaller["num_image_tokens"] == [2]
    assert processor._get_num_multimodal_tokens(image_sizes=[(90, 200)], pad_to_square=True)[
        "num_image_tokens"
    ] == [16]


def test_masks_cover_the_answers_and_their_end(processor):
    """Labels are what the assistant says and `<|im_end|>`, in every turn, also behind expanded images."""
    answers = ["<ched>Year<nl><fcel>2004 ±1<nl>", "34.7"]
    messages = [
        user(picture(200, 90), "Parse this table."),
        assistant(answers[0]),
        user("Sum of sales?"),
        assistant(answers[1]),
    ]
    inputs = tokenized(processor, messages, return_assistant_tokens_mask=True)
    ids, mask = inputs["input_ids"][0], inputs["assistant_masks"][0].bool()
    assert processor.tokenizer.decode(ids[mask]) == "".join(answer + "<|im_end|>" for answer in answers)
    starts = mask & ~torch.cat([torch.tensor([False]), mask[:-1]])
    assert int(starts.sum()) == 2
    assert not (mask & (ids == processor.image_token_id)).any()


def test_masks_in_a_padded_batch(processor):
    conversations = [
        [user(picture(60, 200), "Read."), assistant("a longer answer, which fills the row")],
        [user(picture(200, 60), "Read."), assistant("x")],
        [user("No image here."), assistant("no")],
    ]
    inputs = tokenized(
        processor, conversations, return_assistant_tokens_mask=True, processor_kwargs={"padding": True}
    )
    assert inputs["pixel_values"].shape[0] == 2
    for conversation, ids, mask, attention in zip(
        conversations, inputs["input_ids"], inputs["assistant_masks"], inputs["attention_mask"], strict=True
    ):
        said = processor.tokenizer.decode(ids[mask.bool()])
        assert said == conversation[1]["content"][0]["text"] + "<|im_end|>"
        assert not (mask.bool() & ~attention.bool()).any()


def test_batches_are_padded_on_the_left(processor):
    conversations = [[user(picture(40, 40), "Parse this table.")], [user(picture(200, 50), "Read.")]]
    inputs = tokenized(
        processor, conversations, add_generation_prompt=True, processor_kwargs={"padding": True}
    )
    lengths = inputs["attention_mask"].sum(1).tolist()
    assert len(set(lengths)) == 2
    for conversation, ids, length in zip(conversations, inputs["input_ids"], lengths, strict=True):
        alone = tokenized(processor, conversation, add_generation_prompt=True)["input_ids"][0]
        assert torch.equal(ids[-length:], alone)
        assert (ids[:-length] == processor.tokenizer.pad_token_id).all()
    assert inputs["image_sizes"].tolist() == [[256, 256], [64, 256]]


def test_several_images_in_one_text(processor):
    inputs = processor(
        text=["<image> and <image>?", "<image>"],
        images=[[picture(60, 60), picture(200, 40)], [picture(40, 200)]],
        padding=True,
        return_tensors="pt",
    )
    assert (inputs["input_ids"] == processor.image_token_id).sum(1).tolist() == [16 + 4, 4]
    assert inputs["image_sizes"].tolist() == [[256, 256], [64, 256], [256, 64]]


@pytest.mark.parametrize("text", ["<image> <image>", "none", ["<image>", "<image>"]])
def test_text_and_images_must_match(text, processor):
    with pytest.raises(ValueError, match="image"):
        processor(text=text, images=[picture(9, 9)], return_tensors="pt")


@pytest.mark.parametrize("text", ["Größe: 5 µm 漢字 😀\t|\n", "a  b ", " lead", "<image>d", "1<2 & 3>2"])
def test_any_text_survives_the_character_tokenizer(text, processor):
    ids = processor.tokenizer(text, add_special_tokens=False)["input_ids"]
    assert processor.tokenizer.decode(ids) == text
    assert None not in ids


def test_every_table_token_is_one_token(processor):
    from samvlm.model.assembly import IMAGE_TOKEN, OTSL_TOKENS

    for token in (*OTSL_TOKENS, IMAGE_TOKEN, "<|im_start|>", "<|im_end|>"):
        assert len(processor.tokenizer(token, add_special_tokens=False)["input_ids"]) == 1, token
    shown = processor.tokenizer.decode(
        processor.tokenizer("<fcel>1<nl><|im_end|>", add_special_tokens=False)["input_ids"],
        skip_special_tokens=True,
    )
    assert shown == "<fcel>1<nl>"


def test_save_and_load(processor, tmp_path):
    processor.save_pretrained(tmp_path)
    again = AutoProcessor.from_pretrained(tmp_path)
    assert type(again) is samvlm.SamVlmProcessor
    assert type(again.image_processor) is samvlm.SamVlmImageProcessor
    assert (again.patch_size, again.pool_factor) == (processor.patch_size, processor.pool_factor)
    assert again.chat_template == processor.chat_template
    assert again.image_token_id == processor.image_token_id
    messages = [user(picture(120, 70), "Parse."), assistant("<fcel>ä<nl>")]
    before, after = tokenized(processor, messages), tokenized(again, messages)
    assert all(torch.equal(after[key], before[key]) for key in before)


def test_a_tokenizer_without_image_token():
    with pytest.raises(ValueError, match=r"no image token '<image>'.*scripts/assemble\.py"):
        SamVlmProcessor(samvlm.SamVlmImageProcessor(), character_tokenizer("abc"))
