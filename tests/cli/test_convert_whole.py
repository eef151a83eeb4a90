"""samvlm convert of whole models: what it writes, says and refuses; the commands of docs/got_ocr2.md."""

import io
import json
import re
import shlex
import shutil
import sys

import pytest
import torch
from documentation import ROOT, blocks, commands, links
from documents import drawing, encode
from got_models import save_got, save_original, tiny_got
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForImageTextToText, GotOcr2ForConditionalGeneration

from samvlm import SamVisionTower, SamVlmForConditionalGeneration
from samvlm.cli import main, read_options

PAGE = ROOT / "docs" / "got_ocr2.md"
TEXT = PAGE.read_text(encoding="utf-8")
COMMANDS = [c for block in blocks(TEXT) if block.language == "bash" for c in commands(block)]


@pytest.fixture(scope="module")
def got(tmp_path_factory):
    model = tiny_got()
    model.generation_config.max_new_tokens = 8
    return save_got(model, tmp_path_factory.mktemp("hub") / "GOT-OCR-2.0-hf")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "page.png").write_bytes(encode(drawing(), "PNG"))
    return tmp_path


def test_the_commands_of_the_page(got, here, capsys, monkeypatch):
    """All but the training ones, on a tiny checkpoint under the published names."""
    shutil.copytree(got, here / "stepfun-ai" / "GOT-OCR-2.0-hf")
    save_original(tiny_got(), here / "stepfun-ai" / "GOT-OCR2_0")
    monkeypatch.setattr(sys, "stdin", io.StringIO("OCR with format:\n"))
    for command in COMMANDS:
        words = shlex.split(command, comments=True)[1:]
        if words[0] == "train" or "runs/" in command:
            assert read_options(words)
            continue
        if (here / words[2]).exists() and words[0] == "convert":
            words.append("--force")
        assert main(words) == 0, command
    said = capsys.readouterr()
    assert "a whole GOT-OCR2, transformers' layout; licence: Apache-2.0" in said.out
    assert "a whole GOT-OCR2, the authors' layout" in said.out
    assert "got: a whole model, with tokens for tables" in said.err
    given, back = (load_file(folder / "model.safetensors") for folder in (got, here / "back"))
    assert given.keys() == back.keys() and all(torch.equal(back[name], given[name]) for name in given)
    assert GotOcr2ForConditionalGeneration.from_pretrained(here / "back").config.image_token_id
    assert isinstance(
        AutoModelForImageTextToText.from_pretrained(here / "got-original"), SamVlmForConditionalGeneration
    )
    card = (here / "got" / "README.md").read_text()
    assert "GOT-OCR-2.0-hf" in card and "The tokens of OTSL were added" in card


@pytest.mark.parametrize("target", links(TEXT))
def test_links_lead_somewhere(target):
    assert target.startswith("https://") or (PAGE.parent / target).exists()


def test_dtype_and_dry_run(got, here, capsys):
    assert main(["convert", str(got), "--dry-run"]) == 0
    assert "language model: qwen2, 2 layers" in capsys.readouterr().out
    assert not list(here.glob("*/"))
    assert main(["convert", str(got), "half", "--dtype", "bfloat16"]) == 0
    assert {tensor.dtype for tensor in load_file("half/model.safetensors").values()} == {torch.bfloat16}


def test_the_tower_alone(got, here):
    assert main(["convert", str(got), "tower", "--tower-only"]) == 0
    assert isinstance(AutoModel.from_pretrained(here / "tower"), SamVisionTower)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["GOT", "page.png", "--to", "got_ocr2"], "--to takes whole models of samvlm"),
        (["TINY", "out", "--to", "got_ocr2"], "GOT-OCR2 cannot hold connector_compressor='avg_pool'"),
        (["TINY", "out", "--to", "got_ocr2", "--table-tokens"], "--to takes neither"),
        (["GOT", "out", "--tower-only", "--table-tokens"], "--table-tokens"),
        (["GOT"], "OUT is missing"),
        (["GOT", "full"], "full: exists already"),
        (["broken", "out"], "the tokenizer lacks|neither tokenizer.json nor"),
    ],
)
def test_refusals(words, message, got, here, tiny_checkpoint, capsys):
    """One line, nothing written."""
    (here / "full").mkdir()
    shutil.copytree(got, here / "broken")
    (here / "broken" / "tokenizer.json").unlink()
    words = [{"GOT": str(got), "TINY": str(tiny_checkpoint)}.get(word, word) for word in words]
    assert main(["convert", *words]) == 2
    said = capsys.readouterr().err
    assert re.search(message, said) and said.count("\n") == 1
    assert not (here / "out").exists() and not list((here / "full").iterdir())


def test_settings_of_the_processor_are_told(got, here):
    """The folder's image settings are those of the source."""
    assert main(["convert", str(got), "out"]) == 0
    settings = json.loads((here / "out" / "processor_config.json").read_text())["image_processor"]
    assert settings["keep_aspect"] is False and settings["resample"] == 3
    assert settings["image_mean"] == [0.48145466, 0.4578275, 0.40821073]
