"""Towers from SAM's own weights: Meta's files, Hugging Face folders, and files that are not what they should be."""

import json
import logging
import pickle

import pytest
import torch
from safetensors.torch import save_file
from sam_reference import meta_twin, random_tower, randomise, relative_error
from torch import nn
from transformers import AutoModel, SamConfig, SamModel, SamVisionModel

from samvlm import SamVisionTower

SMALL = {
    "embed_dim": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "mlp_dim": 64,
    "image_size": 256,
    "output_channels": 32,
    "window_size": 5,
    "global_attn_indexes": [0, 2],
}
PIXELS = torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(5))


def features(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        output = model(PIXELS)
    return output if torch.is_tensor(output) else output.last_hidden_state


def metas_state(meta_encoder) -> dict[str, torch.Tensor]:
    """What Meta's files hold: the encoder, and what we have no use for."""
    sam = nn.Module()
    sam.image_encoder = meta_twin(meta_encoder, random_tower(**SMALL))
    sam.prompt_encoder = nn.ModuleDict({"point_embeddings": nn.Embedding(4, 32)})
    sam.mask_decoder = nn.ModuleDict({"iou_token": nn.Embedding(1, 32)})
    sam.register_buffer("pixel_mean", torch.tensor([123.675, 116.28, 103.53]).view(-1, 1, 1))
    return sam.state_dict()


@pytest.fixture(scope="module")
def state(meta_encoder):
    return metas_state(meta_encoder)


@pytest.fixture(scope="module")
def meta_features(meta_encoder):
    return features(meta_twin(meta_encoder, random_tower(**SMALL)))


@pytest.fixture(scope="module")
def hf_sam():
    vision = {
        "hidden_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 3,
        "mlp_dim": 64,
        "image_size": 256,
        "output_channels": 32,
        "window_size": 5,
        "global_attn_indexes": [0, 2],
        "layer_norm_eps": 1e-5,
        "hidden_act": "gelu_new",
    }
    decoder = {"hidden_size": 32, "mlp_dim": 16, "num_attention_heads": 2, "iou_head_hidden_dim": 16}
    prompts = {"hidden_size": 32, "image_size": 256, "image_embedding_size": 16, "mask_input_channels": 4}
    config = SamConfig(vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=decoder)
    return randomise(SamModel(config)).eval()


@pytest.mark.parametrize("prefix", ["image_encoder.", "", "module.sam.image_encoder."])
def test_metas_file(prefix, state, meta_features, tmp_path, caplog):
    file = tmp_path / "sam_vit_b_01ec64.pth"
    if prefix:
        inner = "image_encoder."
        torch.save({k.replace(inner, prefix) if inner in k else k: v for k, v in state.items()}, file)
    else:
        torch.save({k.removeprefix("image_encoder."): v for k, v in state.items()}, file)
    with caplog.at_level(logging.INFO, logger="samvlm"):
        tower = SamVisionTower.from_sam(file, token_pool="pixel_unshuffle")
    assert relative_error(features(tower), meta_features) < 1e-5
    for key, value in SMALL.items():
        assert getattr(tower.config, key) == value, key
    assert tower.config.token_pool == "pixel_unshuffle"
    assert all(parameter.requires_grad for parameter in tower.parameters())
    for left_out in ("prompt_encoder", "mask_decoder", "pixel_mean"):
        assert left_out in caplog.text


@pytest.mark.parametrize("wrapper", ["model", "state_dict"])
def test_as_training_frameworks_wrap_it(wrapper, state, meta_features, tmp_path):
    torch.save({wrapper: state, "epoch": 3}, tmp_path / "checkpoint.pth")
    assert (
        relative_error(features(SamVisionTower.from_sam(tmp_path / "checkpoint.pth")), meta_features) < 1e-5
    )


def test_precision_of_the_file_stays(state, tmp_path):
    save_file({k: v.to(torch.bfloat16) for k, v in state.items()}, tmp_path / "sam.safetensors")
    tower = SamVisionTower.from_sam(tmp_path / "sam.safetensors")
    assert {parameter.dtype for parameter in tower.parameters()} == {torch.bfloat16}
    tower.save_pretrained(tmp_path / "tower")
    assert AutoModel.from_pretrained(tmp_path / "tower").dtype == torch.bfloat16


@pytest.mark.parametrize("shards", ["one file", "several"])
@pytest.mark.parametrize("kind", ["SamModel", "SamVisionModel"])
def test_hugging_face_folder(kind, shards, hf_sam, tmp_path):
    model = hf_sam
    if kind == "SamVisionModel":
        model = SamVisionModel(hf_sam.config.vision_config)
        model.vision_encoder.load_state_dict(hf_sam.vision_encoder.state_dict())
    model.save_pretrained(tmp_path, max_shard_size="1GB" if shards == "one file" else "60KB")
    assert (tmp_path / "model.safetensors.index.json").exists() == (shards == "several")
    tower = SamVisionTower.from_sam(str(tmp_path))
    with torch.no_grad():
        expected = hf_sam.get_image_embeddings(PIXELS)
    assert relative_error(features(tower), expected) < 1e-5
    assert tower.config.layer_norm_eps == 1e-5


def test_what_was_read_is_saved_in_the_towers_own_names(state, meta_features, tmp_path):
    torch.save(state, tmp_path / "sam.pth")
    SamVisionTower.from_sam(tmp_path / "sam.pth").save_pretrained(tmp_path / "tower")
    assert relative_error(features(AutoModel.from_pretrained(tmp_path / "tower")), meta_features) < 1e-5


@pytest.mark.parametrize("name", ["b", "l", "h"])
def test_metas_sizes_are_recognised(name):
    from samvlm import SamVisionTowerConfig
    from samvlm.model.source_sizes import read_sizes

    config = SamVisionTowerConfig.vit(name)
    with torch.device("meta"):
        shapes = {k: tuple(v.shape) for k, v in SamVisionTower(config).state_dict().items()}
    sizes = read_sizes(shapes, {}, "")
    assert SamVisionTowerConfig(**sizes).to_dict() == config.to_dict()


# What is wrong


def without(state, *names):
    return {k: v for k, v in state.items() if k not in names}


def with_nan(state):
    broken = state["image_encoder.neck.0.weight"].clone()
    broken[3] = float("nan")
    return {**state, "image_encoder.neck.0.weight": broken}


BLOCK = "image_encoder.blocks.1."
WRONG = {
    "missing": (
        lambda s: without(s, BLOCK + "mlp.lin2.bias", "image_encoder.neck.3.bias"),
        r"lacks layers\.1\.mlp\.lin2\.bias, neck\.layer_norm2\.bias",
    ),
    "missing table": (lambda s: without(s, BLOCK + "attn.rel_pos_h"), r"lacks .*layers\.1\.attn\.rel_pos_h"),
    "no positions": (lambda s: without(s, "image_encoder.pos_embed"), "lacks .*pos_embed"),
    "unknown": (
        lambda s: {**s, BLOCK + "adapter.weight": torch.zeros(3)},
        r"SAM's has not: layers\.1\.adapter\.weight",
    ),
    "shape": (
        lambda s: {**s, BLOCK + "mlp.lin1.weight": torch.zeros(64, 40)},
        r"layers\.1\.mlp\.lin1\.weight \(64, 40\), expected \(64, 48\)",
    ),
    "flat": (lambda s: {**s, "image_encoder.pos_embed": torch.zeros(5)}, "not of SAM's shapes"),
    "two windows": (
        lambda s: {
            **s,
            BLOCK + "attn.rel_pos_h": torch.zeros(7, 16),
            "image_encoder.blocks.0.attn.rel_pos_h": torch.zeros(9, 16),
        },
        r"\[7, 9\] rows",
    ),
    "not finite": (with_nan, r"not finite .*neck\.conv1\.weight"),
    "integers": (
        lambda s: {**s, "image_encoder.neck.0.weight": s["image_encoder.neck.0.weight"].to(torch.int8)},
        r"quantised or integer.*neck\.conv1",
    ),
    "another model": (
        lambda s: {"bert.embeddings.weight": torch.zeros(2)},
        r"no SAM checkpoint.*has none.*bert",
    ),
    "two encoders": (
        lambda s: {**s, **{k.replace("image_encoder", "teacher"): v for k, v in s.items()}},
        r"has 2 of them \(image_encoder\., teacher\.\)",
    ),
    "heads": (
        lambda s: {k: torch.zeros(len(v), 13) if "rel_pos" in k else v for k, v in s.items()},
        r"not of SAM's shapes \(heads of 13 in 48\)",
    ),
    "a sparse tensor": (
        lambda s: {**s, "image_encoder.neck.0.weight": s["image_encoder.neck.0.weight"].to_sparse()},
        r"quantised or integer.*neck\.conv1",
    ),
    "a tensor without numbers": (
        lambda s: {**s, "image_encoder.neck.0.weight": s["image_encoder.neck.0.weight"].to("meta")},
        r"quantised or integer.*neck\.conv1",
    ),
    "no tensors": (lambda s: {"epoch": 3}, "holds no tensors"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_content(case, state, tmp_path):
    change, message = WRONG[case]
    torch.save(change(state), tmp_path / "sam.pth")
    with pytest.raises(ValueError, match=message) as caught:
        SamVisionTower.from_sam(tmp_path / "sam.pth")
    assert "sam.pth" in str(caught.value)


class Code:
    def __reduce__(self):
        return (print, ("code of the checkpoint ran",))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
        (b"\n<!DOCTYPE html><html>Not Found</html>", "web page"),
        (
            b"just some words, and then some more",
            "not a plain file of tensors|no safetensors file|no checkpoint",
        ),
    ],
    ids=["empty", "lfs", "html", "text"],
)
def test_not_weights_at_all(content, message, suffix, tmp_path):
    file = tmp_path / f"sam{suffix}"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        SamVisionTower.from_sam(file)


@pytest.mark.parametrize("part", [0.9, 0.5, 0.01])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors", "legacy.pth"])
def test_truncated(suffix, part, state, tmp_path):
    file = tmp_path / f"sam{suffix}"
    if suffix == ".safetensors":
        save_file(state, file)
    else:
        torch.save(state, file, _use_new_zipfile_serialization=suffix == ".pth")
    whole = file.read_bytes()
    file.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(ValueError, match=r"truncated|not a plain file"):
        SamVisionTower.from_sam(file)


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_code_in_a_file_does_not_run(writer, state, tmp_path, capsys):
    file = tmp_path / "sam.pth"
    content = {**state, "extra": Code()}
    if writer == "torch":
        torch.save(content, file)
    else:
        file.write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match="not opened for safety"):
        SamVisionTower.from_sam(file)
    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "path", ["nowhere/sam_vit_b.pth", "./nowhere", "nobody-at-all/nowhere", "no where", "no/such/nowhere", ""]
)
def test_no_such_place(path):
    with pytest.raises(ValueError, match=r"no ?where.*(does not exist|neither a file)|path is empty"):
        SamVisionTower.from_sam(path)


def test_folder_without_weights(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"has none of model.safetensors"):
        SamVisionTower.from_sam(str(tmp_path))


def test_folder_without_a_shard(hf_sam, tmp_path):
    hf_sam.save_pretrained(tmp_path, max_shard_size="60KB")
    lost = sorted(tmp_path.glob("model-*.safetensors"))[1]
    lost.unlink()
    with pytest.raises(ValueError, match=f"names {lost.name}, which is not there"):
        SamVisionTower.from_sam(str(tmp_path))


def test_config_and_weights_disagree(hf_sam, tmp_path):
    hf_sam.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["vision_config"]["global_attn_indexes"] = [1]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"says global_attn_indexes=\[1\], the weights say \[0, 2\]"):
        SamVisionTower.from_sam(str(tmp_path))


def test_settings_that_the_weights_decide(state, tmp_path):
    torch.save(state, tmp_path / "sam.pth")
    with pytest.raises(ValueError, match="decides embed_dim, window_size"):
        SamVisionTower.from_sam(tmp_path / "sam.pth", window_size=14, embed_dim=768)
