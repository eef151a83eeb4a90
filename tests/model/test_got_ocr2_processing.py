"""What goes into GOT-OCR2: our processor gives the ids and pixels of transformers' own."""

import pytest
import torch
from got_models import (
    IMGPAD,
    got_tokenizer,
    image_processor,
    our_inputs,
    picture,
    save_got,
    save_original,
    tiny_got,
)
from transformers import GotOcr2Config, GotOcr2Processor

from samvlm.data.tasks import TASKS
from samvlm.data.tasks import messages as task_messages
from samvlm.model.checkpoint_files import Checkpoint
from samvlm.model.got_ocr2 import load_got_ocr2
from samvlm.model.got_ocr2_layout import our_config
from samvlm.model.got_ocr2_processing import WORDS, image_settings, instruction, our_processor, tiles


@pytest.fixture(scope="module")
def theirs():
    return tiny_got()


@pytest.fixture(scope="module")
def folder(theirs, tmp_path_factory):
    return save_got(theirs, tmp_path_factory.mktemp("got"))


@pytest.fixture(scope="module")
def processor(folder):
    return load_got_ocr2(folder)[1]


def their_inputs(folder, images, **settings):
    processor = GotOcr2Processor.from_pretrained(folder)
    return processor(images, num_image_tokens=4, return_tensors="pt", padding=True, **settings)


def test_inputs_are_theirs(processor, folder):
    """Ids and pixels, whatever the prompt and the shape of the page."""
    images = [picture(60, 200, 4), picture(301, 99, 5)]
    for settings in ({}, {"formatted": True}, {"colour": "green"}):
        names = {"formatted": "format", "colour": "color"}
        given = {names[key]: value for key, value in settings.items()}
        expected = their_inputs(folder, images, **given)
        found = our_inputs(processor, images, [instruction(**settings)] * 2)
        assert torch.equal(found["input_ids"], expected["input_ids"])
        assert torch.equal(found["attention_mask"], expected["attention_mask"])
        assert torch.equal(found["pixel_values"], expected["pixel_values"])
    expected = their_inputs(folder, [images[0]], box=[6, 20, 30, 100])
    found = our_inputs(processor, images[:1], [instruction(box=[100, 100, 500, 500])])
    assert torch.equal(found["input_ids"], expected["input_ids"])


@pytest.mark.parametrize("size", [(900, 400), (100, 500), (300, 310), (128, 128), (97, 30)], ids=str)
def test_tiles_of_a_large_page(size, processor, folder):
    """Ids and pixels are those of transformers' `crop_to_patches`."""
    page = picture(*size)
    expected = their_inputs(folder, [page], crop_to_patches=True)
    parts = [{"type": "image", "image": tile} for tile in tiles(page, side=128)]
    chat = [{"role": "user", "content": [*parts, {"type": "text", "text": instruction(tiled=True)}]}]
    found = processor.apply_chat_template(
        chat, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    assert len(found["pixel_values"]) == len(parts) != 2
    for name in ("input_ids", "attention_mask", "pixel_values"):
        assert torch.equal(found[name], expected[name])


def test_the_published_size(tmp_path):
    """256 tokens a page at 1024 pixels, by the settings of the published checkpoint."""
    GotOcr2Processor(image_processor(1024), got_tokenizer()).save_pretrained(tmp_path)
    checkpoint = Checkpoint(str(tmp_path), {}, {}, {})
    source = GotOcr2Config(image_token_index=IMGPAD)
    config = our_config(source, {}, [512, 1024], image_settings(checkpoint))
    processor = our_processor(checkpoint, config)
    image = picture(640, 480)
    expected = GotOcr2Processor.from_pretrained(tmp_path)(image, return_tensors="pt")
    found = our_inputs(processor, [image], ["OCR:"])
    assert (found["input_ids"] == IMGPAD).sum() == 256
    for name in ("input_ids", "attention_mask", "pixel_values"):
        assert torch.equal(found[name], expected[name])


def test_words_of_the_tasks(processor):
    """Tasks of ours that GOT-OCR2 knows are asked for in its words, which the texts of the tasks must match."""
    assert set(WORDS) == {TASKS["text"].instruction, TASKS["table"].instruction}

    def prompt(text, **settings):
        chat = task_messages("question", question=text)
        return processor.apply_chat_template(chat, tokenize=False, **settings)

    start = (
        "<|im_start|>system\nYou should follow the instructions carefully and explain your answers in detail.<|im_end|>"
        "<|im_start|>user\n<img><imgpad></img>\n"
    )
    end = "<|im_end|><|im_start|>assistant\n"
    assert prompt("Read the text.", add_generation_prompt=True) == start + " OCR: " + end
    assert prompt("Parse this table.", add_generation_prompt=True) == start + " OCR with format: " + end
    assert prompt("OCR:", add_generation_prompt=True) == start + " OCR: " + end
    assert prompt("[1, 2, 3, 4] OCR:", add_generation_prompt=True) == start + "[1, 2, 3, 4] OCR: " + end
    assert prompt("What is this?", add_generation_prompt=True) == start + "What is this?" + end
    chat = [*task_messages("text", answer="the end"), {"role": "user", "content": "And OCR?"}]
    text = processor.apply_chat_template(chat, tokenize=False)
    said = "<|im_end|><|im_start|>assistant\nthe end<|im_end|><|im_start|>user\nAnd OCR?<|im_end|>"
    assert text == start + " OCR: " + said
    own = processor.apply_chat_template([{"role": "system", "content": "Be brief."}, *chat], tokenize=False)
    assert own == text.replace(
        "You should follow the instructions carefully and explain your answers in detail.", "Be brief."
    )


def test_tokenizer_of_the_authors(tmp_path, theirs):
    """qwen.tiktoken gives the very ids of transformers' tokenizer."""
    _, processor = load_got_ocr2(save_original(theirs, tmp_path / "original"))
    expected = got_tokenizer()
    assert processor.tokenizer.get_vocab() == expected.get_vocab()
    for text in (
        "OCR with format: ",
        " the forth – 12345 \n\n\ttheOCRs",
        "<img><imgpad></img>x<|im_end|><|extra_7|>",
    ):
        assert processor.tokenizer(text)["input_ids"] == expected(text)["input_ids"]
        assert processor.tokenizer.decode(expected(text)["input_ids"]) == text
    assert processor.tokenizer.pad_token == "<|endoftext|>"


@pytest.mark.parametrize("line", [b"OCR 300", b"T0NS", b"T0NS x", b"T0NS 1 2"])
def test_a_broken_tokenizer_file(line, tmp_path, theirs):
    folder = save_original(theirs, tmp_path / "original")
    with open(folder / "qwen.tiktoken", "ab") as file:
        file.write(line + b"\n")
    with pytest.raises(ValueError, match="is no tiktoken file"):
        load_got_ocr2(folder)
