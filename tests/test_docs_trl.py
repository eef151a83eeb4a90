"""docs/trl.md: TRL's SFTTrainer trains our model and processor as they are, and the page's script shows how."""

import json
import re
import shlex
from pathlib import Path

import pytest
import torch
from documentation import ROOT, blocks, commands, links
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoProcessor

from samvlm.cli import main, read_options
from samvlm.data.synth import sample

trl = pytest.importorskip("trl", reason="TRL is not installed")

PAGE = ROOT / "docs" / "trl.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = blocks(TEXT)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The page's script, run in a folder with six tables: its variables."""
    folder = tmp_path_factory.mktemp("trl")
    lines = []
    for number in range(6):
        table = sample("table", 5, number, size=(192, 64))
        table.image.save(folder / f"{number}.png")
        record = {
            "id": str(number),
            "image": f"{number}.png",
            "task": "table",
            "target": {"otsl": table.answer},
        }
        lines.append(json.dumps(record))
    (folder / "records.jsonl").write_text("\n".join(lines))
    (script,) = [block for block in BLOCKS if block.runs]
    variables = {"__name__": "page"}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("HF_DATASETS_CACHE", str(folder / "cache"))
        exec(compile(script.code, str(PAGE), "exec"), variables)
    return variables, folder


def test_it_learns_and_the_checkpoint_loads(ran):
    variables, folder = ran
    losses = [line["loss"] for line in variables["trainer"].state.log_history if "loss" in line]
    assert len(losses) == 9 and sum(losses[-3:]) < 0.8 * sum(losses[:3])
    loaded, report = AutoModelForImageTextToText.from_pretrained(
        folder / "runs" / "trl", output_loading_info=True
    )
    assert not report["missing_keys"] and not report["unexpected_keys"]
    trained = variables["model"].state_dict()
    assert all(torch.equal(weight, trained[name].cpu()) for name, weight in loaded.state_dict().items())
    before = load_file(variables["start"] / "model.safetensors")
    assert load_file(folder / "runs/trl/model.safetensors").keys() == before.keys()


def test_the_labels_are_exactly_the_answers(ran):
    trainer, processor = ran[0]["trainer"], ran[0]["processor"]
    rows = [trainer.train_dataset[number] for number in range(6)]
    batch = trainer.data_collator(rows)
    for row, labels in zip(rows, batch["labels"], strict=True):
        answer = row["messages"][-1]["content"][0]["text"]
        assert processor.decode(labels[labels != -100]) == answer + "<|im_end|>"


def test_the_page_reads_it(ran, capsys, monkeypatch):
    monkeypatch.chdir(ran[1])
    assert main(["parse", "0.png", "--model", "runs/trl", "--max-new-tokens", "40"]) == 0
    assert capsys.readouterr().out


def test_the_traps_are_as_the_page_tells(ran):
    variables, _ = ran
    data = variables["trainer"].train_dataset
    settings = {"output_dir": "unused", "max_steps": 1, "bf16": False, "assistant_only_loss": True}

    def trainer(model=variables["model"], **more):
        args = trl.SFTConfig(**{**settings, **more})
        return trl.SFTTrainer(
            model=model, args=args, train_dataset=data, processing_class=variables["processor"]
        )

    for packed in ({"packing": True}, {"padding_free": True}):
        with pytest.raises(ValueError, match="vision datasets"):
            trainer(**packed)
    with pytest.raises(AttributeError):
        trainer(model=str(variables["start"]))
    assert trl.SFTConfig(output_dir="unused", bf16=False).max_length == 1024
    rows = [data[0]]
    with pytest.raises(ValueError, match="Mismatch in `image` token count"):
        trainer(max_length=40).data_collator(rows)
    image = int(
        (variables["trainer"].data_collator(rows)["input_ids"] == variables["processor"].image_token_id).sum()
    )
    cut = trainer(max_length=image + 40).data_collator(rows)["labels"][0]
    assert variables["processor"].tokenizer.eos_token_id not in cut, (
        "the answer has no end, and nothing is said"
    )
    whole = trainer(assistant_only_loss=False, max_length=None).data_collator(rows)["labels"][0]
    assert int((whole == variables["processor"].image_token_id).sum()) == image, "placeholders are learnt"


def test_its_adapters_load_and_merge(ran, tmp_path):
    from peft import LoraConfig

    variables, _ = ran
    lora = next(block.code for block in BLOCKS if "LoraConfig(" in block.code and not block.runs)
    names: dict = {"LoraConfig": LoraConfig}
    exec(lora.rsplit("trainer =", 1)[0], names)
    args = trl.SFTConfig(
        output_dir=str(tmp_path / "lora"), assistant_only_loss=True, max_length=None, max_steps=2, learning_rate=1e-2,
        per_device_train_batch_size=1, bf16=False, save_strategy="no",
    )  # fmt: skip
    model = AutoModelForImageTextToText.from_pretrained(variables["start"], dtype="float32")
    trainer = trl.SFTTrainer(
        model=model, args=args, train_dataset=variables["trainer"].train_dataset,
        processing_class=variables["processor"], peft_config=names["lora"],
    )  # fmt: skip
    trainer.train()
    trainer.save_model()
    assert main(["merge", str(tmp_path / "lora"), "-o", str(tmp_path / "merged")]) == 0
    inputs = {"input_ids": torch.arange(3, 60)[None]}
    with torch.no_grad():
        adapter, merged = (
            AutoModelForImageTextToText.from_pretrained(tmp_path / name, dtype="float32")
            .eval()(**inputs)
            .logits
            for name in ("lora", "merged")
        )
    assert (adapter - merged).abs().max() <= 1e-5 * adapter.abs().max()
    AutoProcessor.from_pretrained(tmp_path / "merged")
    assert "not known here" in (tmp_path / "merged" / "README.md").read_text(), "TRL's card is an empty form"


@pytest.mark.parametrize(
    "command", [c for b in BLOCKS if b.language == "bash" for c in commands(b) if c.startswith("samvlm ")]
)
def test_commands_are_valid(command):
    assert read_options(shlex.split(command, comments=True)[1:])


@pytest.mark.parametrize("target", links(TEXT))
def test_links_lead_somewhere(target):
    assert re.match(r"[a-z]+://", target) or (Path(PAGE).parent / target).exists()
