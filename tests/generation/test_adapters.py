"""A LoRA adapter's folder is a model like any other: what training saves, the parser reads."""

import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText

from samvlm.generation import DocumentParser
from training.recipe import StageRecipe
from training.stages import set_trainable


@pytest.fixture
def adapter(tiny_checkpoint, tmp_path):
    """A folder as the stage `instruct` with LoRA saves it, the adapters turned away from zero."""
    model = AutoModelForImageTextToText.from_pretrained(tiny_checkpoint)
    model = set_trainable(model, StageRecipe(name="instruct", lora={"r": 4, "lora_alpha": 64}))
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
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


def test_an_adapter_without_its_base_says_so(adapter):
    folder, _ = adapter
    config = folder / "adapter_config.json"
    config.write_text(config.read_text().replace("tiny_checkpoint", "gone"))
    with pytest.raises(ValueError, match="gone"):
        DocumentParser.from_pretrained(folder, device="cpu")
