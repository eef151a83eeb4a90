"""The tower: its size, sizes it refuses, precision, checkpointing, saving."""

import pytest
import torch
from sam_reference import enable_checkpointing, random_tower, relative_error
from transformers import AutoConfig, AutoImageProcessor, AutoModel

import samvlm
from samvlm import SamVisionTower, SamVisionTowerConfig

SMALL = {
    "embed_dim": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "mlp_dim": 48,
    "image_size": 256,
    "output_channels": 24,
    "window_size": 5,
    "global_attn_indexes": [1],
}


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("name", "parameters"), [("b", 89_670_912), ("l", 308_278_272), ("h", 637_026_048)])
def test_parameters_of_sams_sizes(name, parameters):
    with torch.device("meta"):
        tower = SamVisionTower(SamVisionTowerConfig.vit(name))
    assert count(tower) == parameters


def test_default_is_vit_b():
    assert SamVisionTowerConfig().to_dict() == SamVisionTowerConfig.vit("b").to_dict()


@pytest.mark.slow
def test_map_of_a_square_image():
    tower = SamVisionTower(SamVisionTowerConfig()).eval()
    with torch.no_grad():
        features = tower(torch.randn(1, 3, 1024, 1024)).last_hidden_state
    assert features.shape == (1, 256, 64, 64)
    assert features.isfinite().all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"embed_dim": 30, "num_attention_heads": 4}, "embed_dim=30.*num_attention_heads=4"),
        ({"image_size": 1000}, "image_size=1000.*patch_size=16"),
        ({"token_pool_factor": 3}, "token_pool_factor=3"),
        ({"num_hidden_layers": 2, "global_attn_indexes": [1, 2]}, r"\[2\] do not exist"),
    ],
)
def test_config_refuses(settings, message):
    with pytest.raises(ValueError, match=message):
        SamVisionTowerConfig(**settings)


def test_config_refuses_an_unknown_size():
    with pytest.raises(ValueError, match="no ViT 'g'"):
        SamVisionTowerConfig.vit("g")


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 3, 250, 256), "250x256.*multiples of 16"),
        ((1, 3, 512, 64), "512x64.*at most 256"),
        ((1, 1, 64, 64), "1 channels, the tower takes 3"),
    ],
)
def test_sizes_it_cannot_take(shape, message):
    with pytest.raises(ValueError, match=message):
        random_tower(**SMALL)(torch.zeros(shape))


def test_states_on_request():
    tower = random_tower(**SMALL)
    pixels = torch.randn(2, 3, 128, 192)
    output = tower(pixels)
    assert output.hidden_states is None
    states = tower(pixels, output_hidden_states=True).hidden_states
    assert [tuple(state.shape) for state in states] == [(2, 96, 32)] * 4 + [(2, 6, 24)]
    pooled = torch.nn.functional.avg_pool2d(output.last_hidden_state, 4)
    assert torch.equal(states[-1], pooled.flatten(2).transpose(1, 2))
    features, again = tower(pixels, output_hidden_states=[-1], return_dict=False)
    assert torch.equal(features, output.last_hidden_state)
    assert torch.equal(again[-1], states[-1])


def test_only_the_states_asked_for():
    tower = random_tower(**SMALL)
    pixels = torch.randn(2, 3, 64, 64)
    every = tower(pixels, output_hidden_states=True).hidden_states
    for request, present in ((-1, {4}), (0, {0}), ([1, -2], {1, 3}), (False, None)):
        states = tower(pixels, output_hidden_states=request).hidden_states
        if present is None:
            assert states is None
            continue
        assert {i for i, state in enumerate(states) if state is not None} == present
        assert all(torch.equal(states[i], every[i]) for i in present)
    with pytest.raises(ValueError, match=r"hidden_states \[5\] do not exist"):
        tower(pixels, output_hidden_states=[0, 5])


def test_images_of_several_sizes():
    """Each as if alone, whatever fills the canvas around it."""
    tower = random_tower(**SMALL)
    sizes = torch.tensor([[64, 128], [128, 64], [64, 128]])
    canvas = torch.randn(3, 3, 128, 128)
    with torch.no_grad():
        output = tower(canvas, image_sizes=sizes)
        alone = [
            tower(canvas[i : i + 1, :, :h, :w], output_hidden_states=-1).hidden_states[-1]
            for i, (h, w) in enumerate(sizes.tolist())
        ]
    assert output.last_hidden_state is None
    assert relative_error(output.hidden_states[-1], torch.cat(alone, dim=1)) < 1e-6
    with pytest.raises(ValueError, match=r"3 images, but 2 image_sizes"):
        tower(canvas, image_sizes=sizes[:2])


def test_pixel_unshuffle_tokens():
    tower = random_tower(**SMALL, token_pool="pixel_unshuffle", token_pool_factor=2)
    assert tower.config.hidden_size == 4 * 24
    assert tower(torch.zeros(1, 3, 64, 96), output_hidden_states=True).hidden_states[-1].shape == (1, 6, 96)


def test_each_image_of_a_batch_for_itself():
    tower = random_tower(**SMALL)
    pixels = torch.randn(3, 3, 112, 80)
    with torch.no_grad():
        together = tower(pixels).last_hidden_state
        alone = torch.cat([tower(image[None]).last_hidden_state for image in pixels])
    assert relative_error(together, alone) < 1e-6


@pytest.mark.parametrize("path", ["plain", "bias", "chunked", "folded"])
def test_paths_agree_in_the_tower(path):
    """Windows with padding on both sides, and one global block."""
    tower = random_tower(**SMALL)
    tower.config.attention_path = "plain"
    pixels = torch.randn(1, 3, 176, 48)
    with torch.no_grad():
        plain = tower(pixels).last_hidden_state
        tower.config.attention_path = path
        assert relative_error(tower(pixels).last_hidden_state, plain) < 2e-6


def test_eager_is_the_plain_path(monkeypatch):
    from samvlm.model import attention

    tower = random_tower(**SMALL)
    tower.set_attn_implementation("eager")
    monkeypatch.setitem(attention.PATHS, "plain", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        tower(torch.zeros(1, 3, 64, 64))


def test_attention_for_the_language_model_is_not_the_towers():
    config = SamVisionTowerConfig(**SMALL)
    for name, expected in (("flash_attention_2", "sdpa"), ("flex_attention", "sdpa"), ("eager", "eager")):
        config._attn_implementation = name
        assert SamVisionTower(config).config._attn_implementation == expected
    config._attn_implementation = "flash"
    with pytest.raises(ValueError, match="flash"):
        SamVisionTower(config)


def test_gradient_checkpointing_changes_nothing():
    def gradients(checkpointing: bool):
        tower = random_tower(**SMALL).train()
        if checkpointing:
            enable_checkpointing(tower)
            assert all(layer.gradient_checkpointing for layer in tower.layers)
        pixels = torch.randn(2, 3, 80, 112, generator=torch.Generator().manual_seed(3))
        tower(pixels).last_hidden_state.square().mean().backward()
        return {name: parameter.grad for name, parameter in tower.named_parameters()}

    plain, checkpointed = gradients(False), gradients(True)
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in plain.values())
    for name, gradient in plain.items():
        assert relative_error(checkpointed[name], gradient) < 1e-6, name


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_frozen_tower_builds_no_graph(checkpointing):
    tower = random_tower(**SMALL).train().requires_grad_(False)
    if checkpointing:
        enable_checkpointing(tower)
        tower.enable_input_require_grads()
    output = tower(torch.zeros(1, 3, 64, 64), output_hidden_states=True)
    for tensor in (output.last_hidden_state, output.hidden_states[-1]):
        assert tensor.grad_fn is None
        assert not tensor.requires_grad
    tower.layers[0].mlp.lin1.bias.requires_grad_(True)  # the least that can train wants its graph
    tower(torch.zeros(1, 3, 64, 64)).last_hidden_state.square().sum().backward()
    assert tower.layers[0].mlp.lin1.bias.grad.abs().sum() > 0


def test_gradient_of_the_pixels_through_a_frozen_tower():
    tower = random_tower(**SMALL).requires_grad_(False)
    pixels = torch.randn(1, 3, 64, 64, requires_grad=True)
    tower(pixels).last_hidden_state.square().sum().backward()
    assert pixels.grad.abs().sum() > 0


@pytest.mark.parametrize("size", [(112, 80), (256, 256)], ids=str)
def test_bfloat16(size, monkeypatch):
    from samvlm.model import attention

    tower = random_tower(**SMALL)
    pixels = torch.randn(1, 3, *size)
    monkeypatch.setattr(attention, "SMALL_GRID", 200)  # so that the larger grid takes the chunked path
    with torch.no_grad():
        exact = tower(pixels).last_hidden_state
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = tower(pixels).last_hidden_state
        rounded = tower.bfloat16()(pixels).last_hidden_state
    assert rounded.dtype == torch.bfloat16
    assert relative_error(mixed.float(), exact) < 5e-2
    assert relative_error(rounded.float(), exact) < 5e-2


def test_the_neck_trains_in_bfloat16_as_the_convolution_does():
    neck = random_tower(**SMALL).neck.bfloat16()
    features = torch.randn(2, 24, 5, 7).bfloat16()
    product = neck.smooth(features)
    with torch.no_grad():
        assert relative_error(product.float(), neck.conv2(features).float()) < 1e-2
    product.float().square().sum().backward()
    gradient = neck.conv2.weight.grad.float()
    neck.float().zero_grad()
    neck.conv2(features.float()).square().sum().backward()
    assert relative_error(gradient, neck.conv2.weight.grad) < 1e-2


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize("train", [False, True])
def test_compile(train, monkeypatch):
    """Traced whole, forward and backward."""
    from samvlm.model import attention

    monkeypatch.setattr(attention, "SMALL_GRID", 30)  # both kinds of path
    tower = random_tower(**SMALL | {"num_hidden_layers": 2}).train(train)
    compiled = torch.compile(tower, backend="aot_eager", fullgraph=True)
    pixels = torch.randn(1, 3, 112, 80)
    with torch.set_grad_enabled(train):
        expected, found = tower(pixels).last_hidden_state, compiled(pixels).last_hidden_state
    assert relative_error(found, expected) < 1e-5
    if train:
        found.square().mean().backward()
        assert all(parameter.grad is not None for parameter in tower.parameters())


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_compiler")
def test_the_compiler_itself():
    tower = random_tower(**SMALL | {"num_hidden_layers": 1, "global_attn_indexes": []})
    pixels = torch.randn(1, 3, 112, 80)
    with torch.no_grad():
        expected, found = tower(pixels).last_hidden_state, torch.compile(tower)(pixels).last_hidden_state
    assert relative_error(found, expected) < 1e-5


def test_a_new_tower_is_ready_to_learn():
    tower = SamVisionTower(SamVisionTowerConfig(**SMALL))
    assert tower.layers[0].attn.qkv.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert tower.layers[0].attn.rel_pos_h.abs().sum() == 0
    assert tower.layers[0].layer_norm1.weight.eq(1).all()
    positions = tower.pos_embed[0].flatten(0, 1)  # no two places alike
    assert torch.cdist(positions, positions).fill_diagonal_(1).min() > 0.01


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_save_and_auto_model(dtype, tmp_path):
    tower = random_tower(**SMALL).to(dtype)
    tower.save_pretrained(tmp_path)
    assert AutoConfig.from_pretrained(tmp_path).embed_dim == 32
    again = AutoModel.from_pretrained(tmp_path)
    assert type(again) is samvlm.SamVisionTower
    assert again.state_dict().keys() == tower.state_dict().keys()
    for name, tensor in tower.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    assert again.dtype == dtype


def test_the_folder_knows_its_images(tmp_path):
    random_tower(**SMALL).save_pretrained(tmp_path)
    processor = AutoImageProcessor.from_pretrained(tmp_path)
    assert type(processor) is samvlm.SamVlmImageProcessor
    assert processor.size.longest_edge == 256
    assert processor.canvas_step == 64
