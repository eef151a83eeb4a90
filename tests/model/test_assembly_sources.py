"""A first checkpoint from a tower of others: its convolutions start the compressor, its images are made as it knows them."""

import logging

import pytest
import torch
from other_layouts import CHANNELS, Encoder, save, write_named
from transformers import AutoModelForImageTextToText

from samvlm import SamVisionTower
from samvlm.cli import main
from samvlm.model.assembly import assemble

REST = {
    "language_model": {
        "model_type": "llama",
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
    },
    "characters": "abc",
}
CONV = {"compressor": "conv", "depth": 1}


@pytest.fixture(scope="module")
def got(tmp_path_factory):
    folder = tmp_path_factory.mktemp("got")
    return str(folder), write_named("GOT-OCR2", folder)


@torch.no_grad()
def test_tower_and_compressor_start_from_the_source(got, tmp_path, caplog):
    """The same from the checkpoint, and from the folder that `samvlm convert` makes of it."""
    folder, original = got
    assert main(["convert", folder, str(tmp_path / "tower")]) == 0
    pixels = torch.randn(1, 3, 256, 256)
    for source in (folder, str(tmp_path / "tower")):
        with caplog.at_level(logging.INFO, logger="samvlm.model.assembly"):
            model, _ = assemble(source, connector=CONV, **REST)
        assert "convs.1.weight starts from the tower's source, (128, 64, 3, 3)" in caplog.text
        found = model.model.vision_tower(pixels).last_hidden_state
        tokens = model.model.multi_modal_projector.compressor(found)
        assert torch.allclose(tokens, original.tokens(pixels), rtol=1e-3, atol=1e-4)
        caplog.clear()
    model.save_pretrained(tmp_path / "vlm")
    again, _ = assemble(str(tmp_path / "vlm"), connector=CONV, **REST)
    for name, weight in model.model.multi_modal_projector.compressor.named_parameters():
        assert torch.equal(again.model.multi_modal_projector.compressor.get_parameter(name), weight)


@torch.no_grad()
def test_a_compressor_of_other_widths(tmp_path):
    """That of DeepSeek-OCR-2: 256 -> 512 -> 896 channels, an eighth of it here."""
    original = write_named("DeepSeek-OCR-2", tmp_path, last=112)
    model, _ = assemble(str(tmp_path), connector=CONV, **REST)
    pixels = torch.randn(1, 3, 256, 256)
    tokens = model.model.multi_modal_projector.compressor(model.model.vision_tower(pixels).last_hidden_state)
    assert tokens.shape == (1, 112, 4, 4)
    assert torch.allclose(tokens, original.tokens(pixels), rtol=1e-3, atol=1e-4)
    model.save_pretrained(tmp_path / "vlm")
    again = AutoModelForImageTextToText.from_pretrained(tmp_path / "vlm")
    assert again.config.connector_conv_widths == [64, 112]
    doubled = {**CONV, "conv_widths": [64, 128]}
    with_new = assemble(str(tmp_path), connector=doubled, **REST)[0].model.multi_modal_projector.compressor
    assert with_new.convs[1].weight.shape == (128, 64, 3, 3)


def test_one_convolution_of_two(tmp_path, caplog):
    encoder = Encoder(last=4 * CHANNELS)
    save({"model.vision_tower_high": encoder}, tmp_path / "model.safetensors")
    with caplog.at_level(logging.INFO, logger="samvlm.model.assembly"):
        model, _ = assemble(str(tmp_path), connector={**CONV, "factor": 2}, **REST)
    assert torch.equal(model.model.multi_modal_projector.compressor.convs[0].weight, encoder.net_2.weight)
    assert "convs.0.weight starts" in caplog.text


def test_another_compressor_is_told_of_the_source(got, caplog):
    with caplog.at_level(logging.INFO, logger="samvlm.model.assembly"):
        assemble(got[0], **REST)
    assert 'compressor "conv" would start from them' in caplog.text


def test_images_are_made_as_the_source_knows_them(got, tmp_path):
    _, processor = assemble(got[0], **REST)
    images = processor.image_processor
    assert images.keep_aspect is False and images.resample == 3
    assert images.canvas_shape(60, 100) == (256, 256)
    own_aspect = assemble(got[0], image={"keep_aspect": True}, **REST)[1].image_processor
    assert own_aspect.canvas_shape(60, 100) == (192, 256) and own_aspect.image_mean == images.image_mean


def test_images_of_sams_towers_keep_their_aspect(tmp_path):
    path = str(write_named("SAM", tmp_path).path)
    assert assemble(path, **REST)[1].image_processor.canvas_shape(60, 100) == (192, 256)
    squares = assemble(path, image={"pad_to_square": True}, **REST)[1].image_processor
    assert squares.canvas_shape(60, 100) == (256, 256)
    SamVisionTower.from_source(path).save_pretrained(tmp_path / "tower")
    assert assemble(str(tmp_path / "tower"), **REST)[1].image_processor.pad_to_square is False
