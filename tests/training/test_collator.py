"""Batches: labels on what the assistant says, images as in use, characters' places, noise that stays in its bounds."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from readers import DECODER, TOWER, build_reader, draw_strips
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedTokenizerFast

from samvlm.data.conversations import read_conversation
from samvlm.data.samples import Refusal, Sample, SynthSource
from samvlm.data.tasks import messages
from samvlm.model.assembly import assemble
from training.collator import Collator
from training.losses import DenseHead

ALWAYS = ("sample_ids", "drawn", "refused")


@pytest.fixture(scope="module")
def processor():
    return build_reader()[1]


def text_of_labels(processor, batch: dict, row: int) -> str:
    labels = batch["labels"][row]
    return processor.tokenizer.decode(labels[labels != -100], skip_special_tokens=False)


def photo(width: int, height: int, answer: str = "<fcel>7<nl>") -> Sample:
    """A file's image: noise with a few dark lines."""
    pixels = np.random.default_rng(width).integers(150, 255, (height, width, 3)).astype(np.uint8)
    pixels[10 : height - 5 : 20, 5:-5] = 0
    image = Image.fromarray(pixels)
    return Sample(f"photo-{width}", image, "table", messages("table", answer), answer)


def test_labels_are_the_answer_and_the_end_of_the_turn(processor):
    samples = [SynthSource(kind, size=(192, 64)).load(1, 4) for kind in ("table", "form", "question")]
    batch = Collator(processor)(samples)
    for row, sample in enumerate(samples):
        assert text_of_labels(processor, batch, row) == sample.answer + "<|im_end|>"
        assert torch.equal(
            batch["labels"][row][batch["labels"][row] != -100],
            batch["input_ids"][row][batch["labels"][row] != -100],
        )
    assert (batch["labels"][batch["attention_mask"] == 0] == -100).all()


def test_every_turn_of_the_assistant_has_labels(processor):
    chat = read_conversation(
        [
            {"from": "human", "value": "<image>\nHow many?"},
            {"from": "gpt", "value": "Two."},
            {"from": "human", "value": "Sure?"},
            {"from": "gpt", "value": "Yes."},
        ],
        has_image=True,
    )
    sample = dataclasses.replace(photo(100, 60), messages=chat, answer="Yes.")
    batch = Collator(processor)([sample])
    assert text_of_labels(processor, batch, 0) == "Two.<|im_end|>Yes.<|im_end|>"


def test_chats_without_images(processor):
    chat = read_conversation(
        [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}], False
    )
    samples = [Sample("a", None, None, chat, "ho"), Sample("b", None, None, chat, "ho")]
    batch = Collator(processor, dense=DenseHead(4, 16, "a"), guide=True)(samples)
    assert set(batch) == {"input_ids", "attention_mask", "labels", "guide_targets", *ALWAYS}
    assert batch["sample_ids"] == ["a", "b"]
    assert text_of_labels(processor, batch, 1) == "ho<|im_end|>"
    assert (batch["guide_targets"] == -100).all()


def test_samples_that_cannot_be_used_are_refused_and_the_others_stay_as_they_are(processor):
    silent = dataclasses.replace(photo(90, 60), id="mute", messages=messages("table"))
    twice = dataclasses.replace(photo(91, 60), id="twice")
    twice.messages[0]["content"].append({"type": "image"})
    blind = dataclasses.replace(photo(92, 60), id="blind", image=None)
    long = dataclasses.replace(photo(93, 60), id="long", messages=messages("table", "<fcel>7" * 300))
    skipped = dataclasses.replace(photo(94, 60), refused=(Refusal("gone", "gone.png", "no such file"),))
    collator = Collator(processor, max_tokens=400)
    batch = collator([silent, twice, photo(90, 60), blind, long, skipped])
    assert (
        batch["sample_ids"] == ["photo-90", "photo-94"] and "no_labels" not in batch and batch["drawn"] == 6
    )
    told = {refusal.id: refusal.reason for refusal in batch["refused"]}
    assert "no label" in told["mute"] and "asks for 2 images" in told["twice"] and "has 0" in told["blind"]
    assert "more than the 400" in told["long"] and told["gone"] == "no such file" and len(told) == 5
    alone = collator([photo(90, 60), photo(94, 60)])
    for name in ("input_ids", "labels", "pixel_values"):
        assert torch.equal(batch[name], alone[name])


def test_a_batch_of_refused_samples_has_no_label(processor):
    silent = dataclasses.replace(photo(90, 60), id="mute", messages=messages("table"))
    batch = Collator(processor, dense=DenseHead(4, 16, "a"), guide=True)([silent, silent])
    assert batch["no_labels"] and len(batch["refused"]) == 2
    assert (batch["labels"] == -100).all() and batch["labels"].shape[0] == 1


@pytest.mark.parametrize(
    "setting", [{}, {"text_height": 14.0}, {"max_upscale": 1.5}, {"pad_to_square": True}]
)
def test_files_are_resized_as_in_use(setting):
    _, processor = build_reader(image_size=512)
    for name, value in setting.items():
        setattr(processor.image_processor, name, value)
    page = SynthSource("text", size=(448, 256)).load(3, 1)
    images = [page.image.resize((700, 400)), page.image.resize((301, 211)), photo(333, 90).image]
    for image in images:
        sample = Sample("x", image, "text", messages("text", "1"), "1")
        batch = Collator(processor)([sample])
        in_use = processor.image_processor(image, return_tensors="pt")
        assert torch.equal(batch["image_sizes"], in_use["image_sizes"])
        assert torch.equal(batch["pixel_values"], in_use["pixel_values"])
    if "text_height" in setting:
        assert processor.image_processor.resized_shape(211, 301) == (359, 512)
        size = processor.image_processor(images[1], return_tensors="pt")["image_sizes"][0].tolist()
        assert size != [384, 512], "the text of this image sets its size"


def test_what_is_drawn_keeps_its_scale_beside_what_is_not(processor):
    drawn, file = draw_strips(1)[0], photo(120, 40)
    assert processor.image_processor.resized_shape(40, 120) == (85, 256)
    batch = Collator(processor)([drawn, file])
    assert batch["image_sizes"].tolist() == [[64, 128], [128, 256]]
    assert batch["pixel_values"].shape == (2, 3, 128, 256)
    alone = processor.image_processor(drawn.image, do_resize=False, return_tensors="pt")["pixel_values"]
    assert torch.equal(batch["pixel_values"][0, :, :64, :128], alone[0])
    counts = (batch["input_ids"] == processor.image_token_id).sum(1).tolist()
    assert counts == [4 * 8, 8 * 16]


def test_centres_are_scaled_with_the_image(processor):
    source = SynthSource("strip", size=(128, 64), options={"damage": 0.0}, resize=True)
    sample = source.load(5, 0)
    scaled = Collator(processor).at_scale(sample)
    assert scaled.image.size == (256, 128)
    assert np.allclose(scaled.centres, sample.centres * 2)
    head = DenseHead(4, 16, "".join(sorted(set(sample.chars))))
    targets = Collator(processor, dense=head, text=False)([sample])["dense_targets"][0]
    assert targets.shape == (16, 64)
    for character, (x, y) in list(zip(sample.chars, sample.centres * 2, strict=True))[::7]:
        assert targets[int(y // 8), int(x // 4)] == head.class_of[character]


def test_nobody_claims_that_an_unknown_image_is_blank(processor):
    drawn, file = draw_strips(1)[0], photo(120, 40)
    targets = Collator(processor, dense=DenseHead(4, 16, drawn.chars), text=False)([drawn, file])[
        "dense_targets"
    ]
    assert (targets[1] == -100).all()
    assert (targets[0] > 0).sum() > 20 and (targets[0] >= 0).all()


@pytest.mark.parametrize("factor", [1, 2])
@pytest.mark.parametrize("kind", ["strip", "table", "form"])
def test_guide_targets_are_the_visual_tokens_of_the_next_characters(kind, factor):
    _, processor = build_reader(factor=factor)
    source = SynthSource(kind, size=(192, 64), options={"damage": 0.0})
    samples = [source.load(2, index) for index in range(3)]
    batch = Collator(processor, guide=True)(samples)
    side = 16 * factor
    for row, sample in enumerate(samples):
        targets = batch["guide_targets"][row]
        ids, labels = batch["input_ids"][row], batch["labels"][row]
        visual = (ids == processor.image_token_id).nonzero().flatten().tolist()
        assert len(visual) == (64 // side) * (192 // side)
        place_of = {int(p): i for i, p in enumerate(sample.positions) if p >= 0}
        answer_starts = int((labels != -100).nonzero()[0])
        assert (targets[: answer_starts - 1] == -100).all()
        offset, checked = 0, 0
        for step, token in enumerate(labels[labels != -100].tolist()):
            text = processor.tokenizer.decode([token])
            nearest = min((p for p in place_of if p >= offset), default=None)
            target = int(targets[answer_starts + step - 1])
            if nearest is None or text == "<|im_end|>":
                assert target == -100
            else:
                x, y = sample.centres[place_of[nearest]]
                token_column, token_row = int(x // side), int(y // side)
                assert target == visual[token_row * (192 // side) + token_column]
                checked += text == sample.answer[nearest : nearest + 1]
            offset += len(text)
        assert checked == len(place_of), "every character of the answer was checked at its own token"


def test_samples_for_the_tower_alone_have_no_text(processor):
    samples = [dataclasses.replace(sample, dense_only=True) for sample in draw_strips(2)]
    head = DenseHead(4, 16, samples[0].chars)
    batch = Collator(processor, dense=head, guide=True, input_noise=0.5)(samples)
    assert set(batch) == {"pixel_values", "image_sizes", "dense_targets", *ALWAYS}
    assert torch.equal(
        batch["dense_targets"], Collator(processor, dense=head)(draw_strips(2))["dense_targets"]
    )


def test_questions_have_no_guide(processor):
    sample = SynthSource("question", size=(192, 64)).load(1, 0)
    assert (Collator(processor, guide=True)([sample])["guide_targets"] == -100).all()


def test_noise_is_the_samples_own_and_stays_on_letters(processor):
    source = SynthSource("table", size=(256, 128), options={"damage": 0.0})
    samples = [source.load(2, index) for index in range(4)]
    clean, noisy = Collator(processor)(samples), Collator(processor, input_noise=0.3)(samples)
    again = Collator(processor, input_noise=0.3)(samples)
    assert torch.equal(noisy["input_ids"], again["input_ids"])
    assert torch.equal(noisy["labels"], clean["labels"])
    changed = noisy["input_ids"] != clean["input_ids"]
    added = torch.tensor(sorted(processor.tokenizer.get_added_vocab().values()))
    assert not torch.isin(clean["input_ids"][changed], added).any()
    assert not torch.isin(noisy["input_ids"][changed], added).any()
    assert (clean["labels"][changed] != -100).all()
    letters = torch.isin(clean["labels"], Collator(processor).letters)
    assert 0.2 < changed.sum() / letters.sum() < 0.4

    # Alone or in a batch, the same sample gets the same noise.
    alone = Collator(processor, input_noise=0.3)(samples[1:2])
    length = int((clean["attention_mask"][1] == 1).sum())
    assert torch.equal(alone["input_ids"][0][-length:], noisy["input_ids"][1][-length:])


def test_noise_differs_between_samples_whose_names_end_alike(processor):
    answer = "abcdefghij" * 8
    sample = dataclasses.replace(draw_strips(1)[0], messages=messages("text", answer), answer=answer)
    names = ["strip-7-10000042", "table-7-10000042", "strip-8-10000042", "strip-7-10000043", "x" * 300]
    batch = Collator(processor, input_noise=0.5)([dataclasses.replace(sample, id=name) for name in names])
    assert len({tuple(row.tolist()) for row in batch["input_ids"]}) == len(names)


@pytest.fixture(scope="module")
def subwords(tmp_path_factory):
    """A processor over a byte-level BPE tokenizer, as pretrained language models bring it."""
    answers = [SynthSource("table", size=(256, 128)).load(1, index).answer for index in range(60)]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(answers, trainer)
    folder = tmp_path_factory.mktemp("subwords")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>").save_pretrained(folder)
    settings = {name: value for name, value in DECODER.items() if name != "model_type"}
    config = CONFIG_MAPPING["qwen2"](**settings, vocab_size=500, eos_token_id=0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return assemble(dict(TOWER), str(folder), connector={"factor": 1})[1]


def test_subword_tokenizers(subwords):
    source = SynthSource("table", size=(256, 128), options={"damage": 0.0})
    samples = [source.load(2, index) for index in range(3)]
    clean = Collator(subwords, guide=True)(samples)
    noisy = Collator(subwords, guide=True, input_noise=0.5)(samples)
    assert torch.equal(clean["labels"], noisy["labels"])
    seen_long = 0
    for row, sample in enumerate(samples):
        assert text_of_labels(subwords, clean, row) == sample.answer + "<|im_end|>"
        spoken = clean["labels"][row] != -100
        assert "\ufffd" not in subwords.tokenizer.decode(noisy["input_ids"][row][spoken])
        place_of = {int(p): i for i, p in enumerate(sample.positions) if p >= 0}
        first = int((clean["input_ids"][row] == subwords.image_token_id).nonzero()[0])
        places = spoken.nonzero().flatten().tolist()
        ids = clean["labels"][row][spoken].tolist()
        for count, place in enumerate(places[:-1]):
            # Where the token begins in the answer; a character of several bytes may be cut in the middle.
            start = len(subwords.tokenizer.decode(ids[:count]).removesuffix("\ufffd"))
            nearest = min((p for p in place_of if p >= start), default=None)
            if nearest is not None:
                x, y = sample.centres[place_of[nearest]]
                target = int(clean["guide_targets"][row, place - 1])
                assert target == first + int(y // 16) * 16 + int(x // 16)
            text = subwords.tokenizer.decode([ids[count]])
            seen_long += len(text) > 1 and not text.startswith("<")
    assert seen_long > 10, "there are tokens of several characters"
