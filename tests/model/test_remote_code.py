"""Exported folders load in a process that cannot import samvlm."""

import json
import os
import subprocess
import sys

import pytest
import torch
from PIL import Image
from sam_reference import random_tower
from tiny import TINY_TOWER
from transformers import AutoModelForImageTextToText, AutoProcessor

from samvlm.model.export import export_remote_code

HIDE = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "samvlm":
            raise ModuleNotFoundError("samvlm is not installed here")

sys.meta_path.insert(0, Hidden())
try:
    import samvlm
    sys.exit("samvlm can be imported: the test proves nothing")
except ModuleNotFoundError:
    pass
import torch
from PIL import Image
from transformers import (
    AutoConfig, AutoImageProcessor, AutoModel, AutoModelForImageTextToText, AutoModelForMultimodalLM, AutoProcessor,
    pipeline,
)
folder, other = sys.argv[1:]
code = {"trust_remote_code": True}
"""
VLM = """
model = AutoModelForImageTextToText.from_pretrained(folder, **code)
processor = AutoProcessor.from_pretrained(folder, **code)
print(type(model).__name__, type(processor).__name__)
image = Image.radial_gradient("L").resize((200, 90))
messages = [{"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": "Read."}]}]
settings = {"add_generation_prompt": True, "tokenize": True, "return_dict": True, "return_tensors": "pt"}
inputs = processor.apply_chat_template(messages, **settings)
print(model.generate(**inputs, max_new_tokens=6, do_sample=False)[0, -6:].tolist())
model.save_pretrained(other)
processor.save_pretrained(other)
assert "samvlm" not in sys.modules
"""
OTHERS = """
print(type(AutoModel.from_pretrained(folder, **code)).__name__)
print(type(AutoConfig.from_pretrained(folder, **code)).__name__)
print(type(AutoModelForMultimodalLM.from_pretrained(folder, **code)).__name__)
print(type(AutoImageProcessor.from_pretrained(folder, **code)).__name__)
pipe = pipeline("image-text-to-text", model=folder, **code)
image = Image.radial_gradient("L").resize((200, 90))
messages = [{"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": "Read."}]}]
print(len(pipe(text=messages, max_new_tokens=3)))
"""
TOWER = """
tower = AutoModel.from_pretrained(folder, **code)
processor = AutoImageProcessor.from_pretrained(folder, **code)
pixels = processor(Image.radial_gradient("L").resize((200, 90)), return_tensors="pt")["pixel_values"]
with torch.no_grad():
    torch.save(tower(pixels).last_hidden_state, other)
print(type(tower).__name__, type(processor).__name__)
"""


def run(program: str, folder, other, cache) -> str:
    environment = {**os.environ, "HF_MODULES_CACHE": str(cache), "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", HIDE + program, str(folder), str(other)],
        cwd=cache,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_whole_model(tiny_checkpoint, tmp_path):
    model = AutoModelForImageTextToText.from_pretrained(tiny_checkpoint)
    processor = AutoProcessor.from_pretrained(tiny_checkpoint)
    export_remote_code(model, processor, tmp_path / "exported")
    (tmp_path / "cache").mkdir()
    output = run(VLM, tmp_path / "exported", tmp_path / "again", tmp_path / "cache").splitlines()
    output = output[:2]  # where deepspeed is installed, saving makes it print a line of its own
    image = Image.radial_gradient("L").resize((200, 90))
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": "Read."}]}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    tokens = model.generate(**inputs, max_new_tokens=6, do_sample=False)[0, -6:].tolist()
    assert output == ["SamVlmForConditionalGeneration SamVlmProcessor", str(tokens)]
    # What was saved there carries the code on.
    others = run(OTHERS, tmp_path / "again", "", tmp_path / "cache").splitlines()
    assert others == [
        "SamVlmModel",
        "SamVlmConfig",
        "SamVlmForConditionalGeneration",
        "SamVlmImageProcessor",
        "1",
    ]


def test_the_tower_alone(tmp_path):
    tower = random_tower(**TINY_TOWER)
    export_remote_code(tower, None, tmp_path / "exported")
    (tmp_path / "cache").mkdir()
    assert run(TOWER, tmp_path / "exported", tmp_path / "map.pt", tmp_path / "cache") == (
        "SamVisionTower SamVlmImageProcessor\n"
    )
    from samvlm import SamVlmImageProcessor

    image = Image.radial_gradient("L").resize((200, 90))
    pixels = SamVlmImageProcessor.for_tower(tower.config)(image, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        found = torch.load(tmp_path / "map.pt")  # without the compiled kernel, which stays behind
        assert torch.allclose(tower(pixels).last_hidden_state, found, rtol=1e-4, atol=1e-5)


def test_the_exported_folder_is_an_ordinary_one_too(tiny_checkpoint, tmp_path):
    """Where samvlm is installed its own classes are taken, and code is not asked for."""
    model = AutoModelForImageTextToText.from_pretrained(tiny_checkpoint)
    files = export_remote_code(model, AutoProcessor.from_pretrained(tiny_checkpoint), tmp_path)
    assert {"modeling_samvlm.py", "attention.py", "sources.py", "text_scale.py"} <= {
        file.name for file in files
    }
    assert {file.name for file in files}.isdisjoint({"assembly.py", "export.py", "characters.py"})
    assert (
        json.loads((tmp_path / "config.json").read_text())["auto_map"]["AutoModel"]
        == "modeling_samvlm.SamVlmModel"
    )
    assert type(AutoModelForImageTextToText.from_pretrained(tmp_path)) is type(model)
    assert type(AutoProcessor.from_pretrained(tmp_path)).__module__ == "samvlm.model.processing_samvlm"


def test_only_our_classes(tiny_checkpoint, tmp_path):
    with pytest.raises(ValueError, match="Linear cannot be exported"):
        export_remote_code(torch.nn.Linear(1, 1), None, tmp_path)
