"""SAM's preprocessing to the bit, and at native aspect."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor

from samvlm import SamVisionTowerConfig, SamVlmImageProcessor


def picture(width: int, height: int, mode: str = "RGB", seed: int = 0) -> Image.Image:
    channels = {"RGB": 3, "RGBA": 4, "L": 1}[mode]
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return Image.fromarray(noise.squeeze(), mode)


SIZES = [(200, 130), (1500, 400), (333, 1777), (1024, 1024), (7, 3)]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_square_is_sams(size):
    from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

    ours = SamVlmImageProcessor(pad_to_square=True)(picture(*size), return_tensors="pt")
    sams = SamImageProcessorPil()(picture(*size), return_tensors="pt")
    assert ours["pixel_values"].shape == (1, 3, 1024, 1024)
    assert torch.equal(ours["pixel_values"], sams["pixel_values"])
    assert ours["image_sizes"].tolist() == [[1024, 1024]]


@pytest.mark.parametrize(
    ("size", "canvas"),
    [
        ((200, 130), (704, 1024)),
        ((1500, 400), (320, 1024)),
        ((333, 1777), (1024, 192)),
        ((5000, 3), (64, 1024)),
        ((640, 640), (1024, 1024)),
    ],
    ids=str,
)
def test_native_aspect(size, canvas):
    """The canvas in whole steps; what is in it is the top left of SAM's square; the rest is zero."""
    image = picture(*size)
    processor = SamVlmImageProcessor()
    native = processor(image, return_tensors="pt")
    square = processor(image, pad_to_square=True, return_tensors="pt")["pixel_values"]
    assert native["pixel_values"].shape == (1, 3, *canvas)
    assert native["image_sizes"].tolist() == [list(canvas)]
    assert torch.equal(native["pixel_values"], square[:, :, : canvas[0], : canvas[1]])
    assert square[:, :, canvas[0] :].abs().sum() + square[:, :, :, canvas[1] :].abs().sum() == 0
    assert processor.canvas_shape(size[1], size[0]) == canvas


def test_padding_is_after_the_normalisation():
    white = Image.new("RGB", (100, 30), "white")
    pixels = SamVlmImageProcessor(size={"longest_edge": 128})(white, return_tensors="np")["pixel_values"][0]
    expected = (1 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    assert np.allclose(pixels[:, :38], expected[:, None, None], atol=1e-6)
    assert not pixels[:, 38:].any()


def test_batch_of_several_sizes():
    processor = SamVlmImageProcessor(size={"longest_edge": 256})
    images = [picture(200, 60, seed=1), picture(60, 200, seed=2), picture(100, 100, seed=3)]
    batch = processor(images, return_tensors="pt")
    assert batch["pixel_values"].shape == (3, 3, 256, 256)
    assert batch["image_sizes"].tolist() == [[128, 256], [256, 128], [256, 256]]
    for image, pixels, (height, width) in zip(
        images, batch["pixel_values"], batch["image_sizes"].tolist(), strict=True
    ):
        alone = processor(image, return_tensors="pt")["pixel_values"][0]
        assert torch.equal(pixels[:, :height, :width], alone)
        assert pixels[:, height:].abs().sum() + pixels[:, :, width:].abs().sum() == 0


def test_max_upscale():
    processor = SamVlmImageProcessor(max_upscale=1.5)
    assert processor.canvas_shape(90, 300) == (192, 512)  # 135x450
    assert processor(picture(300, 90), return_tensors="pt")["pixel_values"].shape[-2:] == (192, 512)
    assert processor.canvas_shape(3000, 4000) == (768, 1024)  # shrinking has no limit
    whole = processor(picture(300, 90), max_upscale=9.0, return_tensors="pt")["pixel_values"]
    assert whole.shape[-2:] == (320, 1024)


@pytest.mark.parametrize("kind", ["L", "P", "numpy", "numpy chw", "torch"])
def test_kinds_of_images(kind):
    image = picture(60, 40, "L" if kind == "L" else "RGB")
    if kind == "P":
        image = image.quantize(17)
    rgb = image.convert("RGB")
    if kind.startswith("numpy"):
        image = np.array(image).transpose(2, 0, 1) if "chw" in kind else np.array(image)
    elif kind == "torch":
        image = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    processor = SamVlmImageProcessor(size={"longest_edge": 64})
    assert torch.equal(
        processor(image, return_tensors="pt")["pixel_values"],
        processor(rgb, return_tensors="pt")["pixel_values"],
    )


SHADES = np.linspace(0, 255, 64 * 64).reshape(64, 64).round()


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray((SHADES * 257).astype(np.uint16)),
        Image.fromarray((SHADES * 257).astype(np.int32)),
        Image.fromarray((SHADES / 255).astype(np.float32)),
        Image.fromarray(SHADES.astype(np.float32)),
    ],
    ids=["I;16", "I", "F to 1", "F to 255"],
)
def test_deep_grey_keeps_its_shades(image):
    processor = SamVlmImageProcessor(size={"longest_edge": 64})
    eight_bits = processor(Image.fromarray(SHADES.astype(np.uint8)), return_tensors="pt")
    assert torch.equal(processor(image, return_tensors="pt")["pixel_values"], eight_bits["pixel_values"])


def test_transparent_is_white():
    clear = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    processor = SamVlmImageProcessor(size={"longest_edge": 64}, do_normalize=False)
    assert processor(clear, return_tensors="pt")["pixel_values"].min() == 1


def test_upright_as_the_camera_says():
    upright = picture(60, 40)
    turned = upright.transpose(Image.Transpose.ROTATE_90)
    turned.getexif()[0x0112] = 6  # "turn by 270 degrees to see it upright"
    processor = SamVlmImageProcessor(size={"longest_edge": 64})
    assert torch.equal(
        processor(turned, return_tensors="pt")["pixel_values"],
        processor(upright, return_tensors="pt")["pixel_values"],
    )


def test_settings_of_one_call():
    processor = SamVlmImageProcessor()
    pixels = processor(
        picture(90, 30), size={"longest_edge": 96}, canvas_step=16, do_normalize=False, return_tensors="pt"
    )["pixel_values"]
    assert pixels.shape == (1, 3, 32, 96)
    assert pixels.min() >= 0 and pixels.max() <= 1
    assert processor.canvas_shape(30, 90, size={"longest_edge": 96}, canvas_step=16) == (32, 96)


def test_save_and_load(tmp_path):
    settings = {"size": {"longest_edge": 512}, "canvas_step": 32, "max_upscale": 2.0, "pad_to_square": True}
    processor = SamVlmImageProcessor(**settings, image_mean=[0.5, 0.5, 0.5])
    processor.save_pretrained(tmp_path)
    again = AutoImageProcessor.from_pretrained(tmp_path)
    assert type(again) is SamVlmImageProcessor
    assert again.to_dict() == processor.to_dict()
    image = picture(100, 40)
    assert torch.equal(
        again(image, return_tensors="pt")["pixel_values"],
        processor(image, return_tensors="pt")["pixel_values"],
    )


@pytest.mark.parametrize(
    ("tower", "factor", "step"),
    [({}, 4, 64), ({}, 1, 64), ({}, 2, 64), ({"patch_size": 8}, 4, 64), ({"image_size": 80}, 1, 16)],
    ids=str,
)
def test_for_a_tower(tower, factor, step):
    config = SamVisionTowerConfig(**tower)
    processor = SamVlmImageProcessor.for_tower(config, factor)
    assert processor.size.longest_edge == config.image_size
    assert processor.canvas_step == step
    assert SamVlmImageProcessor.for_tower(config, factor, max_upscale=1.0).max_upscale == 1.0


def test_steps_that_do_not_fit():
    with pytest.raises(ValueError, match="longest_edge=1000 must be a multiple of canvas_step=64"):
        SamVlmImageProcessor(size={"longest_edge": 1000})


def test_no_images():
    with pytest.raises(ValueError, match=r"[Nn]o images|at least one|Invalid"):
        SamVlmImageProcessor()([], return_tensors="pt")


def test_too_large_for_the_square():
    with pytest.raises(ValueError, match="90x64 pixels does not fit the square"):
        SamVlmImageProcessor(size={"longest_edge": 64}, pad_to_square=True, do_resize=False)(picture(64, 90))
