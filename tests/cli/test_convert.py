"""`samvlm convert`: towers of others from the shell, with what was found, and one line for what cannot be read."""

import json
import pickle

import pytest
import torch
from other_layouts import SIDE, write_named
from safetensors.torch import load_file
from sam_reference import relative_error
from transformers import AutoImageProcessor, AutoModel
from transformers_layouts import WRITERS

from samvlm.cli import main
from samvlm.model.sources import COMPRESSOR, find_tower

PIXELS = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(5))


def told(capsys) -> tuple[str, str]:
    said = capsys.readouterr()
    return said.out, said.err


@torch.no_grad()
def test_a_tower_folder(tmp_path, capsys):
    original = write_named("GOT-OCR2", tmp_path)
    assert main(["convert", str(tmp_path), str(tmp_path / "tower")]) == 0
    out, err = told(capsys)
    assert "GOT-OCR2; licence: Apache-2.0" in out and "not read: language model" in out
    assert "a tower with its compressor" in err and err.count("\n") == 1
    tower = AutoModel.from_pretrained(tmp_path / "tower")
    assert relative_error(tower(PIXELS).last_hidden_state, original.map(PIXELS)) < 1e-5
    processor = AutoImageProcessor.from_pretrained(tmp_path / "tower")
    assert processor.keep_aspect is False and processor.resample == 3
    assert {name: tuple(w.shape) for name, w in load_file(tmp_path / "tower" / COMPRESSOR).items()} == {
        "convs.0.weight": (64, 32, 3, 3),
        "convs.1.weight": (128, 64, 3, 3),
    }
    card = (tmp_path / "tower" / "README.md").read_text()
    assert "GOT-OCR2; licence: Apache-2.0" in card and "image-feature-extraction" in card

    # What was written is a source again, whole.
    again = find_tower(tmp_path / "tower")
    assert again.layout.title == "samvlm, tower" and not again.ignored
    assert again.images.items() >= find_tower(tmp_path).images.items()
    assert again.load_compressor().keys() == {"convs.0.weight", "convs.1.weight"}


def test_a_dry_run_writes_nothing(tmp_path, capsys):
    WRITERS["SAM (transformers)"](tmp_path)
    before = sorted(tmp_path.iterdir())
    assert main(["convert", str(tmp_path), "--dry-run"]) == 0
    out, err = told(capsys)
    assert "SAM's prompts and masks" in out and err == ""
    assert main(["convert", str(tmp_path), str(tmp_path / "out"), "--dry-run"]) == 0
    assert sorted(tmp_path.iterdir()) == before


def test_another_dtype(tmp_path):
    write_named("DeepSeek-OCR-2", tmp_path)
    assert main(["convert", str(tmp_path), str(tmp_path / "tower"), "--dtype", "bfloat16"]) == 0
    assert AutoModel.from_pretrained(tmp_path / "tower").dtype == torch.bfloat16
    assert load_file(tmp_path / "tower" / COMPRESSOR)["convs.0.weight"].dtype == torch.bfloat16
    assert (
        json.loads((tmp_path / "tower" / "config.json").read_text())["images"]["placement"] == "center_even"
    )


def test_what_is_there_is_kept_unless_forced(tmp_path, capsys):
    path = str(write_named("SAM", tmp_path).path)
    out = tmp_path / "tower"
    assert main(["convert", path, str(out)]) == 0
    capsys.readouterr()
    assert main(["convert", path, str(out)]) == 2
    assert "exists already" in told(capsys)[1]
    assert main(["convert", path, str(out), "--force", "--preprocessing", "got_ocr2"]) == 0
    assert AutoImageProcessor.from_pretrained(out).keep_aspect is False
    capsys.readouterr()
    assert main(["convert", str(out), str(out), "--force"]) == 2
    assert "name another folder" in told(capsys)[1]


class Code:
    def __reduce__(self):
        return (print, ("code of the checkpoint ran",))


@pytest.fixture
def bad(tmp_path):
    """A folder of what cannot be read."""
    whole = write_named("SAM", tmp_path).path
    state = torch.load(whole)
    data = whole.read_bytes()
    (tmp_path / "half.pth").write_bytes(data[: len(data) // 2])
    (tmp_path / "words.pth").write_text("just some words, and then some more")
    (tmp_path / "code.pth").write_bytes(pickle.dumps({**state, "extra": Code()}))
    torch.save({k: v for k, v in state.items() if "neck.0" not in k}, tmp_path / "missing.pth")
    torch.save({**state, "image_encoder.neck.0.weight": torch.zeros(32, 40, 1, 1)}, tmp_path / "shape.pth")
    torch.save(
        {f"model.layers.{i}.mlp.up_proj.weight": torch.zeros(2) for i in range(3)}, tmp_path / "text.pth"
    )
    (tmp_path / "nothing").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["half.pth", "OUT"], "truncated"),
        (["words.pth", "OUT"], "is a text, no checkpoint"),
        (["code.pth", "OUT"], "not opened for safety: save its state dict alone"),
        (["missing.pth", "OUT"], "lacks"),
        (["shape.pth", "OUT"], "shapes do not fit"),
        (["text.pth", "OUT"], "no SAM checkpoint"),
        (["nothing", "OUT"], "has none of model.safetensors"),
        (["nowhere.pth", "OUT"], "does not exist"),
        (["sam_vit_b_01ec64.pth"], "OUT is missing"),
        (["sam_vit_b_01ec64.pth", "OUT", "--preprocessing", "clip"], "choose one of sam, got_ocr2"),
        (["missing.pth", "--dry-run"], "lacks"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_read_is_one_line(words, message, bad, capsys):
    names = {"OUT": str(bad / "out"), **{path.name: str(path) for path in bad.iterdir()}}
    names["nowhere.pth"] = str(bad / "nowhere.pth")
    assert main(["convert", *(names.get(word, word) for word in words)]) == 2
    out, err = told(capsys)
    assert out == "" and message in err and err.count("\n") == 1 and "ran" not in out
    assert not (bad / "out").exists()


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch, capsys):
    path = str(write_named("SAM", tmp_path).path)

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("samvlm.cli.convert.card_text", full)
    before = sorted(tmp_path.iterdir())
    assert main(["convert", path, str(tmp_path / "tower")]) == 1
    assert "No space left on device; nothing was written" in told(capsys)[1]
    assert sorted(tmp_path.iterdir()) == before
