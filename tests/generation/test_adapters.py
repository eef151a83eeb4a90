"""A LoRA adapter's folder is a model like any other: what training saves, the parser reads."""

import importlib.util
import json

import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText

from samvlm.adapters import base_of
from samvlm.generation import DocumentParser
from samvlm.generation.parser import SHIPPED
from training.recipe import StageRecipe
from training.stages import set_trainable


@pytest.fixture(params=[{}, {"use_dora": True, "tower": True, "new_tokens": True}], ids=["LoRA", "DoRA"])
def adapter(tiny_checkpoint, tmp_path, request):
    """A folder as the stage `instruct` with LoRA saves it, the adapters turned away from zero."""
    model = AutoModelForImageTextToText.from_pretrained(tiny_checkpoint)
    lora = {"r": 4, "lora_alpha": 64, **request.param}
    model = set_trainable(model, StageRecipe(name="instruct", lora=lora), [5, 6, 7])
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
            elif "magnitude" in name or "trainable_tokens" in name:
                parameter *= 1.5
    model.save_pretrained(tmp_path / "adapter")
    DocumentParser.from_pretrained(tiny_checkpoint, device="cpu").processor.save_pretrained(
        tmp_path / "adapter"
    )
    return tmp_path / "adapter", model.merge_and_unload()


def test_the_parser_loads_an_adapter(adapter, tiny_checkpoint):
    folder, merged = adapter
    image = Image.radial_gradient("L").resize((128, 64))
    base = DocumentParser.from_pretrained(tiny_checkpoint, device="cpu")
    expected = DocumentParser(merged, base.processor)(image, max_new_tokens=12).text
    assert DocumentParser.from_pretrained(folder, device="cpu")(image, max_new_tokens=12).text == expected
    assert base(image, max_new_tokens=12).text != expected


def test_an_adapter_of_another_trainer_has_the_processor_of_its_base(adapter):
    folder, _ = adapter
    for file in folder.iterdir():
        if not file.name.startswith("adapter_"):
            file.unlink()
    assert DocumentParser.from_pretrained(folder, device="cpu").processor.tokenizer is not None


def test_without_peft_the_remedy_is_told(adapter, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "peft" else find(name))
    with pytest.raises(ValueError, match=r"adapters need peft, .*: pip install peft"):
        DocumentParser.from_pretrained(adapter[0], device="cpu")


def test_an_adapter_without_its_base_says_so(adapter):
    folder, _ = adapter
    config = folder / "adapter_config.json"
    config.write_text(config.read_text().replace("tiny_checkpoint", "gone"))
    with pytest.raises(ValueError, match="gone") as caught:
        DocumentParser.from_pretrained(folder, device="cpu")
    assert "samvlm merge" in str(caught.value) and "--base" in str(caught.value)


def test_an_adapter_of_the_model_that_ships_finds_it_wherever_it_is_installed(adapter):
    folder, _ = adapter
    settings = json.loads((folder / "adapter_config.json").read_text())
    settings["base_model_name_or_path"] = "/elsewhere/site-packages/samvlm/assets/samvlm-tiny"
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    assert base_of(folder) == str(SHIPPED)


def test_an_adapter_has_the_dtype_that_is_asked_for(adapter):
    folder, _ = adapter
    model = DocumentParser.from_pretrained(folder, device="cpu", dtype="bfloat16").model
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
