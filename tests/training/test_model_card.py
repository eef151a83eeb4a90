"""The model card of a run says what the run knows: data, parts, steps, figures, scores; and no more."""

import dataclasses
import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from PIL import Image
from short_runs import STRIPS, at_micro_batch, log_of, write_recipe

from samvlm.cards import UNWRITTEN, read_card
from samvlm.cli import main as samvlm
from training.model_card import about_source, counted
from training.recipe import load_recipe
from training.train import main

LICENCES = ["CC-BY-4.0"] * 3 + ["CDLA-Permissive-1.0", None]


@pytest.fixture
def records(tmp_path) -> Path:
    """Five records of two licences and one without, one of them with a broken image."""
    lines = []
    for number, licence in enumerate(LICENCES):
        Image.new("RGB", (128, 64), "white").save(tmp_path / f"{number}.png")
        record = {"id": str(number), "image": f"{number}.png", "task": "text", "target": {"text": "a"}}
        lines.append(json.dumps({**record, "source": "pubtabnet", "licence": licence}))
    (tmp_path / "1.png").write_bytes(b"no image")
    (tmp_path / "records.jsonl").write_text("\n".join(lines))
    return tmp_path / "records.jsonl"


def cell(body: str, name: str) -> str:
    """The value of a row of two columns."""
    (value,) = re.findall(rf"^\| `?{re.escape(name)}`? \| (.*) \|$", body, re.M)
    return value


def test_a_card_of_adapters(records, tmp_path, reader_folder, capsys):
    sources = [STRIPS, {"records": str(records), "weight": 3}]
    stage, data = {"lora": {"r": 2}}, {"sources": sources, "max_refused": 1.0}
    recipe = write_recipe(tmp_path, reader_folder, stage=stage, data=data)
    assert main([str(recipe)]) == 0
    folder = tmp_path / "out" / "1-instruct"
    front, body = read_card(folder)
    assert front == {
        "library_name": "transformers",
        "pipeline_tag": "image-text-to-text",
        "base_model": Path(reader_folder).name,
        "base_model_relation": "adapter",
        "datasets": ["pubtabnet"],
        "tags": ["samvlm", "document-understanding", "lora"],
    }
    assert "drawn: `strip` | 25% | without end" in body
    assert "| `records.jsonl` | 75% | 5 | pubtabnet (5) |" in body
    assert "CC-BY-4.0 (3), CDLA-Permissive-1.0 (1), not stated (1)" in body
    assert re.search(r"Samples seen: \d+", body) and "could not be used" in body
    adapters = json.loads((folder / "adapter_config.json").read_text())
    assert adapters["r"] == 2 and re.search(r"\| `language_model` \| [\d,]+ \| [\d,]+ \|", body)
    assert re.search(r"\| `vision_tower` \| 0 \| [\d,]+ \|", body)
    assert cell(body, "optimizer steps") == "4 of 4" and cell(body, "seeds") == "data 1, training 0"
    assert float(cell(body, "loss")) == pytest.approx(log_of(folder)[-1]["loss"], rel=1e-3)
    assert "Not scored" in body and "pip install peft" in body
    written = yaml.safe_load(re.search(r"```yaml\n(.*?)```", body, re.S)[1])
    assert written == json.loads(json.dumps(_plain(load_recipe(recipe)[0])))
    assert UNWRITTEN not in body and str(tmp_path) not in body.split("## Recipe")[0], (
        "no paths of this machine"
    )
    assert "README.md" in json.loads((folder / "manifest.json").read_text())["files"]

    assert samvlm(["merge", str(folder), "-o", str(tmp_path / "merged")]) == 0
    merged, text = read_card(tmp_path / "merged")
    assert merged["base_model_relation"] == "finetune" and "lora" not in merged["tags"]
    assert merged["datasets"] == ["pubtabnet"] and "pip install peft" not in text
    assert text.index("was merged into its base model") < text.index("Adapters for a document model")
    data = re.compile(r"## Data.*?## Load it", re.S)
    assert data.search(text)[0] == data.search(body)[0]


def _plain(recipe) -> dict:
    return dataclasses.asdict(recipe)


def test_a_resumed_run_has_the_card_of_the_unbroken_one(six_steps, unbroken, tmp_path, monkeypatch):
    def fail():
        raise RuntimeError("cut off")

    with monkeypatch.context() as patch:
        at_micro_batch(8, fail, patch)
        with pytest.raises(RuntimeError, match="cut off"):
            main([six_steps])
    assert main([six_steps, "--resume", "auto"]) == 0
    cards = [read_card(folder)[1] for folder in (unbroken, tmp_path / "out" / "1-instruct")]
    seen = [re.search(r"Samples seen: ([\d,]+)", card)[1] for card in cards]
    assert seen[0] == seen[1] != "0"
    tables = [re.search(r"## Losses\n(.*?)\n##", card, re.S)[1] for card in cards]
    assert tables[0] == tables[1]


def test_the_card_has_the_scores_of_the_step_that_is_the_result(tmp_path, reader_folder):
    scoring = {
        "data": "synth:2",
        "options": {"size": [64, 64]},
        "every": 2,
        "max_new_tokens": 8,
        "report": False,
    }
    recipe = json.loads(write_recipe(tmp_path, reader_folder).read_text())
    (tmp_path / "recipe.yaml").write_text(json.dumps({**recipe, "scoring": scoring}))
    assert main([str(tmp_path / "recipe.yaml")]) == 0
    _, body = read_card(tmp_path / "out" / "1-instruct")
    section = re.search(r"## Scores\n(.*?)\n##", body, re.S)[1]
    assert "Not scored" not in section and re.search(r"at step [24], on .*2 examples", section)
    assert -1 <= float(cell(section, "teds_normalised")) <= 1 and "seconds" not in section


def test_streams_are_not_counted_and_hub_data_sets_are_named(tmp_path):
    rows = about_source(SimpleNamespace(parquet="data/train-*.parquet", dataset=None, weight=1.0))
    assert (rows["name"], rows["records"], rows["sources"]) == ("`data/train-*.parquet`", None, {})
    hub = about_source(SimpleNamespace(parquet=None, dataset="someone/tables", weight=1.0))
    assert hub["records"] is None and counted(hub["sources"]) == "someone/tables"
    folder = about_source(SimpleNamespace(parquet=None, dataset=str(tmp_path), weight=1.0))
    assert folder["name"] == f"`{tmp_path.name}`" and folder["sources"] == {}


def test_many_names_are_counted():
    told = counted({f"set{number}": 30 - number for number in range(20)})
    assert told.startswith("set0 (30), set1 (29)") and told.endswith("and 8 more")


def test_a_card_that_fails_costs_no_result(tmp_path, reader_folder, monkeypatch, caplog):
    monkeypatch.setattr("training.model_card.hardware", lambda *_: 1 / 0)
    assert main([str(write_recipe(tmp_path, reader_folder, trainer={"max_steps": 1}))]) == 0
    assert (tmp_path / "out" / "1-instruct" / "model.safetensors").is_file()
    assert "the model card was not written" in caplog.text
