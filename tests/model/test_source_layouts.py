"""Towers and compressors out of the checkpoints of others: recognised, and the same numbers as their own code."""

import json

import pytest
import torch
from other_layouts import NAMED, SIDE, SMALL, Encoder, Original, save, write_named
from safetensors.torch import save_file
from sam_reference import randomise, relative_error
from transformers import SamConfig, SamVisionConfig, SamVisionModel
from transformers_layouts import WRITERS

from samvlm import SamVisionTower
from samvlm.model.connector import ConvCompressor
from samvlm.model.sam_names import to_hf, to_meta
from samvlm.model.sources import find_tower

PIXELS = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(5))


@torch.no_grad()
def check(original: Original, **settings) -> list[str]:
    """Tower and compressor give the numbers of the source's own code; returns the report."""
    source = find_tower(original.path, **settings)
    tower = source.load(SamVisionTower)
    for key, value in SMALL.items():
        assert getattr(tower.config, key) == value, key
    found = tower(PIXELS).last_hidden_state
    if original.map is not None:
        assert relative_error(found, original.map(PIXELS)) < 1e-5
    convs = source.load_compressor()
    assert bool(convs) == (original.tokens is not None)
    if convs:
        compressor = ConvCompressor(SMALL["output_channels"], 2 ** len(convs))
        compressor.load_state_dict(convs)
        assert relative_error(compressor(found), original.tokens(PIXELS)) < 1e-5
    used = {*source.names.values(), *source.convs}
    assert used | source.ignored.keys() == set(source.checkpoint.names) and not used & source.ignored.keys()
    return source.report()


@pytest.mark.parametrize("title", NAMED)
def test_as_their_authors_name_it(title, tmp_path):
    report = check(write_named(title, tmp_path))
    assert f": {title}" in report[0]
    if title != "an encoder of Vary's kind":
        assert "not read: " in "\n".join(report)
    assert not any("not the image encoder" in line for line in report)


@pytest.mark.parametrize("shards", ["one file", "shards"])
@pytest.mark.parametrize("title", WRITERS)
def test_as_transformers_saves_it(title, shards, tmp_path):
    size = "60KB" if shards == "shards" else "1GB"
    report = check(WRITERS[title](tmp_path, max_shard_size=size))
    assert (tmp_path / "model.safetensors.index.json").exists() == (shards == "shards")
    assert f": {title};" in report[0]
    assert not any("not the image encoder" in line for line in report)


@pytest.mark.parametrize(
    "title", ["GOT-OCR2 (transformers)", "DeepSeek-OCR-2", "DeepSeek-OCR or Unlimited-OCR"]
)
def test_in_the_names_of_transformers_own_modules(title, tmp_path):
    """The newer names of GOT-OCR2, and those of the modules of the DeepSeek-OCR family."""
    report = check(WRITERS[title](tmp_path, save_original_format=False))
    assert "(transformers);" in report[0] and title.split("-")[0] in report[0]


@pytest.mark.parametrize("wrap", ["module.", "model.model.", "_orig_mod.module."])
def test_prefixes_of_training_frameworks(wrap, tmp_path):
    original = write_named("GOT-OCR2", tmp_path)
    source = find_tower(tmp_path)
    tensors = {wrap + name: source.checkpoint.read(name) for name in source.checkpoint.names}
    torch.save({"model": tensors, "epoch": 3, "optimizer": {"state": {}}}, tmp_path / "tuned.pth")
    report = check(Original(tmp_path / "tuned.pth", original.map, original.tokens))
    assert "GOT-OCR2" in report[0] and f"{wrap}model.vision_tower_high." in report[1]


def test_settings_that_transformers_saves_in_part(tmp_path):
    """It writes only what differs from the defaults of the class."""
    vision = {
        "hidden_size": 24,
        "num_attention_heads": 2,
        "mlp_dim": 32,
        "image_size": 64,
        "output_channels": 16,
    }
    config = SamVisionConfig(**vision, layer_norm_eps=1e-2, hidden_act="gelu_new")
    config.num_pos_feats = 8
    model = randomise(SamVisionModel(config)).eval()
    model.save_pretrained(tmp_path / "alone")
    whole = SamConfig(vision_config=config, prompt_encoder_config={"hidden_size": 16}, mask_decoder_config={})
    for name, settings in (("alone", None), ("whole", whole.to_diff_dict())):
        if settings:
            (tmp_path / name).mkdir()
            save_file(model.state_dict(), tmp_path / name / "model.safetensors", metadata={"format": "pt"})
            settings["vision_config"].pop("global_attn_indexes", None)
            (tmp_path / name / "config.json").write_text(json.dumps(settings))
        tower = SamVisionTower.from_source(tmp_path / name)
        assert (tower.config.layer_norm_eps, tower.config.hidden_act) == (1e-2, "gelu_new")
        pixels = PIXELS[..., :64, :64]
        with torch.no_grad():
            expected = model(pixels).last_hidden_state
            assert relative_error(tower(pixels).last_hidden_state, expected) < 1e-5


def test_a_compressor_of_another_width(tmp_path):
    """As that of DeepSeek-OCR-2: 256, 512, then 896 channels. The tower is read all the same."""
    write_named("DeepSeek-OCR-2", tmp_path, last=112)
    source = find_tower(tmp_path)
    assert [tuple(w.shape[:2]) for w in source.load_compressor().values()] == [(64, 32), (112, 64)]
    assert "32 -> 64 -> 112 channels" in "\n".join(source.report())


def test_half_a_compressor_is_none(tmp_path):
    encoder = Encoder()
    del encoder.net_3
    save({"model.vision_tower_high": encoder}, tmp_path / "model.safetensors")
    source = find_tower(tmp_path)
    assert source.load_compressor() == {} and "model.vision_tower_high.net_2.weight" in source.ignored


def test_convolutions_that_do_not_fit(tmp_path):
    encoder = Encoder()
    encoder.net_3 = torch.nn.Conv2d(5, 8, 3, bias=False)
    save({"model.vision_tower_high": encoder}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"net_2.weight, .*net_3.weight.*fit on one another"):
        find_tower(tmp_path)


def test_convolutions_that_are_broken(tmp_path):
    encoder = Encoder()
    encoder.net_3.weight.data[0] = float("nan")
    save({"model.vision_tower_high": encoder}, tmp_path / "model.safetensors")
    source = find_tower(tmp_path)
    source.load(SamVisionTower)
    with pytest.raises(ValueError, match=r"not finite .*convs\.1\.weight"):
        source.load_compressor()


def test_adapters_in_the_encoder_are_no_small_matter(tmp_path):
    """What would run within the encoder must not be left out silently."""
    extra = {"image_encoder": Encoder(nets=False), "image_encoder.prompt_generator.weight": torch.randn(4, 4)}
    with pytest.raises(ValueError, match=r"SAM's has not: prompt_generator\.weight"):
        find_tower(save(extra, tmp_path / "sam_adapter.pth"))


def test_the_report_is_complete(tmp_path):
    write_named("Vary-toy", tmp_path)
    told = "\n".join(find_tower(tmp_path).report())
    for words in (
        "research only",
        "tower: a ViT of 3 blocks, 48 wide, 51 tensors, 109,920 parameters",
        "float32, under 'model.vision_tower_high.'",
        "compressor: 2 convolutions, 32 -> 64 -> 128 channels",
        "not read: language model",
        "not read: projector (1 x mm_projector, 1 x mm_projector_vary)",
        "not read: a second vision encoder (3 x vision_tower)",
        "images: resized to 256x256 whatever their aspect (bicubic); mean 0.481, 0.458, 0.408",
    ):
        assert words in told, told


def test_names_there_and_back():
    ours = find_names()
    assert {to_hf(to_meta(name)) for name in ours} == ours and {to_hf(name) for name in ours} == ours
    meta = set(Encoder(nets=False).state_dict())
    assert {to_meta(name) for name in ours} == meta and {to_meta(name) for name in meta} == meta


def find_names() -> set[str]:
    from sam_reference import random_tower

    return set(random_tower(**SMALL).state_dict())
