"""Weight files are read lazily: nothing but names, shapes and the tensors that were asked for."""

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from samvlm.model.checkpoint_files import open_checkpoint

TENSORS = {"a.weight": torch.arange(6.0).view(2, 3), "b": torch.ones(3, dtype=torch.bfloat16)}


def shards(folder, places, tensors=TENSORS):
    for file in set(places.values()):
        save_file({name: tensors[name] for name, place in places.items() if place == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))


@pytest.mark.parametrize(
    "kind", ["x.pth", "x.bin", "x.safetensors", "legacy.pt", "wrapped.pth", "folder", "other"]
)
def test_names_shapes_and_numbers(kind, tmp_path):
    path = tmp_path / kind
    if kind.endswith("safetensors"):
        save_file(TENSORS, path)
    elif kind == "folder":
        path.mkdir()
        shards(path, {"a.weight": "model-1.safetensors", "b": "model-2.safetensors"})
    elif kind == "other":
        path.mkdir()
        torch.save(TENSORS, path / "checkpoint-9.pth")
    else:
        content = {"model": {"state_dict": TENSORS}, "epoch": 3} if kind == "wrapped.pth" else TENSORS
        torch.save(content, path, _use_new_zipfile_serialization=kind != "legacy.pt")
    checkpoint = open_checkpoint(path)
    assert sorted(checkpoint.names) == sorted(TENSORS)
    for name, tensor in TENSORS.items():
        assert checkpoint.shape(name) == tuple(tensor.shape) and checkpoint.dtype(name) == tensor.dtype
        assert torch.equal(checkpoint.read(name), tensor)


def test_only_the_shards_that_are_asked_for(tmp_path):
    """The others need not even be there: a tower comes with a gigabyte of text model."""
    shards(tmp_path, {"a.weight": "model-1.safetensors", "b": "model-2.safetensors"})
    (tmp_path / "model-2.safetensors").unlink()
    checkpoint = open_checkpoint(tmp_path)
    assert torch.equal(checkpoint.read("a.weight"), TENSORS["a.weight"])
    with pytest.raises(ValueError, match=r"names model-2.safetensors, which is not there"):
        checkpoint.read("b")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_large_file_costs_what_is_read_of_it(suffix, tmp_path):
    """100 MB beside 4 bytes, by the operating system's count of this process's memory."""
    path = tmp_path / f"large{suffix}"
    tensors = {"small": torch.ones(1), **{f"large.{i}": torch.zeros(6_250_000) for i in range(4)}}
    torch.save(tensors, path) if suffix == ".pth" else save_file(tensors, path)
    del tensors
    before = private_bytes()
    checkpoint = open_checkpoint(path)
    assert checkpoint.shape("large.1") == (6_250_000,) and checkpoint.read("small") == 1
    assert private_bytes() - before < 20e6


def private_bytes() -> int:
    """Memory that is this process's own, which pages of a mapped file are not."""
    try:
        with open("/proc/self/smaps_rollup") as rollup:
            lines = dict(line.split(":", 1) for line in rollup if ":" in line)
    except OSError:
        pytest.skip("only Linux counts it")
    return sum(int(lines[key].split()[0]) for key in ("Private_Dirty", "Private_Clean")) * 1024


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_what_was_read_outlives_the_file(suffix, tmp_path):
    path = tmp_path / f"x{suffix}"
    torch.save(TENSORS, path) if suffix == ".pth" else save_file(TENSORS, path)
    tensor = open_checkpoint(path).read("a.weight")
    with open(path, "r+b") as stream:
        stream.write(os.urandom(path.stat().st_size))
    assert torch.equal(tensor, TENSORS["a.weight"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / "model.safetensors.index.json").write_text("{"), "is no JSON file"),
        (lambda f: (f / "model.safetensors.index.json").write_text("[]"), "should hold a JSON object"),
        (lambda f: (f / "model.safetensors.index.json").write_text("{}"), "has no weight_map"),
        (
            lambda f: (f / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../x.pth"}}'),
            "no file of the folder",
        ),
        (
            lambda f: (f / "model.safetensors.index.json").write_text(
                '{"weight_map": {"c": "model-1.safetensors"}}'
            ),
            "model-1.safetensors lacks c",
        ),
        (lambda f: (f / "config.json").write_text("no"), "config.json is no JSON file"),
    ],
)
def test_damaged_folders(change, message, tmp_path):
    shards(tmp_path, {"a.weight": "model-1.safetensors"})
    change(tmp_path)
    with pytest.raises(ValueError, match=message):
        checkpoint = open_checkpoint(tmp_path)
        for name in checkpoint.names:
            checkpoint.shape(name)


HUB = """
from samvlm.model.checkpoint_files import open_checkpoint
checkpoint = open_checkpoint("someone/something")
print(sorted(checkpoint.names), checkpoint.config, checkpoint.read("b").tolist(), checkpoint.find("tokenizer.json"))
checkpoint.read("a.weight")
"""


@pytest.mark.slow
def test_of_a_hub_repository_only_the_shards_that_are_needed(tmp_path):
    """Here those that the cache of this machine holds: the first was never fetched."""
    revision = "0" * 40
    repository = tmp_path / "models--someone--something"
    snapshot = repository / "snapshots" / revision
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(revision)
    shards(snapshot, {"a.weight": "model-1.safetensors", "b": "model-2.safetensors"})
    (snapshot / "model-1.safetensors").unlink()
    (snapshot / "config.json").write_text('{"model_type": "x"}')
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    run = subprocess.run(
        [sys.executable, "-c", HUB], env=environment, capture_output=True, text=True, timeout=600
    )
    assert run.stdout == "['a.weight', 'b'] {'model_type': 'x'} [1.0, 1.0, 1.0] None\n"
    assert "names model-1.safetensors, which is not there" in run.stderr


def test_which_of_several(tmp_path):
    for name in ("one.pth", "two.pth"):
        torch.save(TENSORS, tmp_path / name)
    with pytest.raises(ValueError, match="but 2 weight files: name the one that you mean"):
        open_checkpoint(tmp_path)
