"""Images as the towers of others were trained on them: to the bit what transformers' processors and Pillow make."""

import json

import numpy as np
import pytest
import torch
import transformers
from other_layouts import SIDE, write_named
from packaging.version import Version
from PIL import Image, ImageOps
from sam_reference import relative_error
from transformers import AutoImageProcessor
from transformers_layouts import WRITERS

from samvlm import SamVisionTower, SamVisionTowerConfig, SamVlmImageProcessor
from samvlm.model.source_layouts import LAYOUTS, PREPROCESSING
from samvlm.model.sources import find_tower

SIZES = [(200, 130), (500, 400), (333, 777), (256, 256), (601, 7), (131, 256), (300, 259), (2048, 1537)]


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def processor(name: str, side: int = SIDE) -> SamVlmImageProcessor:
    """Ours, for a tower with the preprocessing of a source."""
    images = {k: list(v) if isinstance(v, tuple) else v for k, v in PREPROCESSING[name].items()}
    return SamVlmImageProcessor.for_tower(SamVisionTowerConfig(image_size=side, images=images))


def theirs(name: str, **settings):
    """A processor of transformers that works without torchvision."""
    cls = getattr(transformers, f"{name}ImageProcessorPil", None)
    if name == "DeepseekVLHybrid" and Version(transformers.__version__) < Version("5.23"):
        pytest.skip(f"compared with transformers 5.23: {transformers.__version__} fills up with other values")
    if cls is None:
        pytest.skip(f"transformers {transformers.__version__} has no {name}ImageProcessorPil")
    return cls(**settings)


SQUARE = {"height": SIDE, "width": SIDE}
PEERS = {
    "sam": lambda: theirs("Sam", size={"longest_edge": SIDE}, pad_size=SQUARE),
    "got_ocr2": lambda: theirs("GotOcr2", size=SQUARE),
    "deepseek_ocr_transformers": lambda: theirs("DeepseekOcr2", size=SQUARE),
    "deepseek_vl": lambda: theirs("DeepseekVLHybrid", high_res_size=SQUARE),
}


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", PEERS)
def test_pixels_of_transformers_processors(name, size):
    if name == "deepseek_vl" and size == (601, 7):
        pytest.skip("it makes no side shorter than 14 pixels")
    image = picture(*size)
    expected = PEERS[name]()(image, return_tensors="pt")
    key = "high_res_pixel_values" if name == "deepseek_vl" else "pixel_values"
    found = processor(name)(image, return_tensors="pt")
    assert torch.equal(found["pixel_values"], expected[key])
    assert found["image_sizes"].tolist() == [[SIDE, SIDE]]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_pixels_of_pillows_pad(size):
    """DeepSeek-OCR's own code: ImageOps.pad on grey, then mean and std 0.5 (process/image_process.py)."""
    image = picture(*size)
    padded = ImageOps.pad(image, (SIDE, SIDE), color=(127, 127, 127))
    expected = (np.asarray(padded, dtype=np.float32).transpose(2, 0, 1) / 255 - 0.5) / 0.5
    found = processor("deepseek_ocr")(image, return_tensors="np")["pixel_values"][0]
    assert np.allclose(found, expected, atol=1e-6)


def test_the_middle_is_rounded_in_two_ways():
    """3 free rows: transformers puts 1 above, Pillow 2."""
    white = Image.new("RGB", (SIDE, SIDE - 3), "white")
    for name, above in (("deepseek_ocr_transformers", 1), ("deepseek_ocr", 2)):
        rows = processor(name)(white, return_tensors="np")["pixel_values"][0, 0, :, 0]
        assert (rows[:above] < 0.5).all() and rows[above] == 1, name


def test_vary_is_square_with_imagenets_colours():
    found = processor("vary")(Image.new("RGB", (80, 20), "black"), return_tensors="np")["pixel_values"]
    assert found.shape == (1, 3, SIDE, SIDE)
    assert np.allclose(found[0, :, 0, 0], -np.array([0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225], atol=1e-6)


@pytest.mark.parametrize(
    "title", ["GOT-OCR2 (transformers)", "SAM (transformers)", "DeepSeek-VL (transformers)"]
)
@torch.no_grad()
def test_from_the_image_to_the_features(title, tmp_path):
    """A folder written from the source: its processor and tower together give what the source's two give."""
    original = WRITERS[title](tmp_path / "source")
    SamVisionTower.from_source(tmp_path / "source").save_pretrained(tmp_path / "tower")
    image = picture(300, 190)
    name = next(layout.preprocessing for layout in LAYOUTS if layout.title == title)
    expected = PEERS[name]()(image, return_tensors="pt")
    expected = expected.get("high_res_pixel_values", expected["pixel_values"])
    pixels = AutoImageProcessor.from_pretrained(tmp_path / "tower")(image, return_tensors="pt")[
        "pixel_values"
    ]
    assert torch.equal(pixels, expected)
    tower = SamVisionTower.from_pretrained(tmp_path / "tower")
    assert relative_error(tower(pixels).last_hidden_state, original.map(expected)) < 1e-5


@torch.no_grad()
def test_from_the_image_to_the_tokens_of_deepseek_ocr2(tmp_path):
    original = WRITERS["DeepSeek-OCR-2"](tmp_path / "source", save_original_format=False)
    source = find_tower(tmp_path / "source")
    tower = source.load(SamVisionTower)
    image = picture(300, 259)
    expected = PEERS["deepseek_ocr_transformers"]()(image, return_tensors="pt")["pixel_values"]
    pixels = SamVlmImageProcessor.for_tower(tower.config)(image, return_tensors="pt")["pixel_values"]
    tokens = tower(pixels).last_hidden_state
    for weight in source.load_compressor().values():
        tokens = torch.nn.functional.conv2d(tokens, weight, stride=2, padding=1)
    assert relative_error(tokens, original.tokens(expected)) < 1e-5


def test_a_name_chooses_another_preprocessing(tmp_path):
    path = write_named("an encoder of Vary's kind", tmp_path).path
    assert find_tower(path).images["image_mean"][0] == pytest.approx(0.4815, abs=1e-4)
    tower = SamVisionTower.from_source(path, preprocessing="deepseek_ocr")
    assert tower.config.images["background"] == [127, 127, 127]
    assert list(SamVlmImageProcessor.for_tower(tower.config).image_std) == [0.5, 0.5, 0.5]
    with pytest.raises(ValueError, match=r"preprocessing 'clip': choose one of sam, got_ocr2"):
        SamVisionTower.from_source(path, preprocessing="clip")


def test_a_folders_own_colours_win(tmp_path):
    WRITERS["SAM (transformers)"](tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": [0, 0, 0], "image_std": [1, 1, 1]})
    )
    images = find_tower(tmp_path).images
    assert images["image_mean"] == [0, 0, 0] and images["pad_to_square"]
    assert find_tower(tmp_path, "sam").images["image_mean"][0] == 0.485


@pytest.mark.parametrize(
    ("mean", "std", "found"),
    [
        ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375], [0.485, 0.456, 0.406]),  # Meta's own
        ([127.5, 127.5, 127.5], [255.0, 255.0, 255.0], [0.5, 0.5, 0.5]),
        ([0.5, float("nan"), 0.5], [1.0, 1.0, 1.0], [0.485, 0.456, 0.406]),  # no colours at all
        ([0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.485, 0.456, 0.406]),
    ],
)
def test_colours_that_stand_among_the_weights(mean, std, found, tmp_path):
    path = write_named("SAM", tmp_path).path
    state = torch.load(path)
    state |= {"pixel_mean": torch.tensor(mean).view(3, 1, 1), "pixel_std": torch.tensor(std).view(3, 1, 1)}
    torch.save(state, path)
    assert find_tower(path).images["image_mean"] == found
    assert find_tower(path, "vary").images["image_mean"] == [0.485, 0.456, 0.406]


def test_a_batch_of_centred_images():
    """Each in the middle of its own canvas, whatever its company."""
    ours = processor("deepseek_ocr")
    images = [picture(100, 60, 1), picture(30, 200, 2)]
    batch = ours(images, pad_to_square=False, canvas_step=64, return_tensors="pt")
    assert batch["image_sizes"].tolist() == [[192, 256], [256, 64]]
    for image, pixels, (height, width) in zip(
        images, batch["pixel_values"], batch["image_sizes"].tolist(), strict=True
    ):
        alone = ours(image, pad_to_square=False, canvas_step=64, return_tensors="pt")["pixel_values"][0]
        assert torch.equal(pixels[:, :height, :width], alone)


def test_canvases_are_known_beforehand():
    for name in PREPROCESSING:
        ours = processor(name)
        for width, height in SIZES:
            assert ours.canvas_shape(height, width) == (SIDE, SIDE)
    free = processor("got_ocr2")
    assert free.canvas_shape(60, 100, keep_aspect=True) == (192, 256)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"keep_aspect": False, "max_upscale": 2.0}, "keep_aspect=False makes every image the square"),
        ({"keep_aspect": False, "text_height": 12.0}, "leave out max_upscale=None and text_height=12"),
        ({"placement": "middle"}, "placement='middle': choose one of top_left, center"),
        ({"background": [0, 0, 300]}, "from 0 to 255"),
    ],
)
def test_settings_that_contradict(settings, message):
    with pytest.raises(ValueError, match=message):
        SamVlmImageProcessor(**settings)
