"""scripts/assemble.py and scripts/export.py as a user runs them."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from sam_reference import hf_twin, random_tower
from tiny import TINY_TOWER
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModel,
    AutoModelForImageTextToText,
    AutoProcessor,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

ROOT = Path(__file__).parents[2]


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


assemble, export = script("assemble"), script("export")


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> Path:
    """A folder with a SAM and a tiny Qwen2 with a byte-pair tokenizer."""
    folder = tmp_path_factory.mktemp("sources")
    hf_twin(random_tower(**TINY_TOWER), "eager").save_pretrained(folder / "sam")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=280,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|endoftext|>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(["the total of the table"], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>")
    fast.save_pretrained(folder / "lm")
    config = Qwen2Config(
        vocab_size=512,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        tie_word_embeddings=True,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder / "lm")
    return folder


def parts(sources: Path, output: Path, *more: str) -> list[str]:
    return ["--tower", f"{sources}/sam", "--language-model", f"{sources}/lm", "--output", str(output), *more]


def test_assemble_and_export(sources, tmp_path, capsys):
    settings = [
        "--compressor",
        "conv",
        "--factor",
        "2",
        "--depth",
        "1",
        "--dtype",
        "bfloat16",
        "--longest-edge",
        "128",
    ]
    assert assemble.main(parts(sources, tmp_path / "vlm", *settings)) == 0
    assert "SamVisionTower" in capsys.readouterr().out
    model = AutoModelForImageTextToText.from_pretrained(tmp_path / "vlm")
    processor = AutoProcessor.from_pretrained(tmp_path / "vlm")
    assert (model.config.connector_compressor, model.config.connector_factor) == ("conv", 2)
    assert model.dtype == torch.bfloat16
    assert model.config.text_config.vocab_size == 512
    assert processor.image_processor.size.longest_edge == 128
    assert processor.pool_factor == 2

    assert export.main([str(tmp_path / "vlm"), str(tmp_path / "exported")]) == 0
    assert (tmp_path / "exported" / "modeling_samvlm.py").exists()
    model.model.vision_tower.save_pretrained(tmp_path / "tower")
    assert export.main([str(tmp_path / "tower"), str(tmp_path / "exported tower")]) == 0
    assert not (tmp_path / "exported tower" / "modeling_samvlm.py").exists()
    assert type(AutoModel.from_pretrained(tmp_path / "exported tower")).__name__ == "SamVisionTower"


def test_as_a_command(sources, tmp_path):
    command = [sys.executable, str(ROOT / "scripts" / "assemble.py")]
    run = subprocess.run(
        [*command, *parts(sources, tmp_path / "vlm")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "vlm" / "chat_template.jinja").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--tower": "nowhere.pth"}, "nowhere.pth does not exist"),
        ({"--language-model": "./nowhere"}, "nowhere"),
        ({"--longest-edge": "100"}, "longest_edge=100 must be a multiple"),
        ({"--depth": "0"}, "connector_depth=0"),
    ],
    ids=str,
)
def test_one_line_on_what_is_wrong(change, message, sources, tmp_path, capsys):
    arguments = parts(sources, tmp_path / "vlm")
    for key, value in change.items():
        if key in arguments:
            arguments[arguments.index(key) + 1] = value
        else:
            arguments += [key, value]
    assert assemble.main(arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("assemble: ")
    assert message in error
    assert not (tmp_path / "vlm").exists()


def test_nothing_is_overwritten(sources, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    assert assemble.main(parts(sources, tmp_path)) == 2
    assert "is not empty" in capsys.readouterr().err
    assert export.main([str(sources / "sam"), str(tmp_path)]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_export_of_others(sources, tmp_path, capsys):
    assert export.main([str(sources / "lm"), str(tmp_path / "new")]) == 2
    assert "is a 'qwen2': only samvlm's own" in capsys.readouterr().err
