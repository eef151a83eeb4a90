"""Short recipes for the tests of whole runs, and what the runs leave behind."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from training.objective import Objective

TRAIN = Path(__file__).resolve().parents[1] / "training" / "train.py"
STRIPS = {"synth": "strip", "size": [128, 64], "options": {"damage": 0.0}}


def write_recipe(folder: Path, init_from: str, **sections) -> Path:
    """A recipe of a few steps; `sections` add to model, data, stage, trainer and scoring."""
    recipe = {
        "model": {"init_from": init_from, **sections.get("model", {})},
        "data": {"sources": [STRIPS], "max_pixels": 16384, **sections.get("data", {})},
        "stage": {"name": "instruct", **sections.get("stage", {})},
        "trainer": {
            "output_dir": str(folder / "out"),
            "max_steps": 4,
            "learning_rate": 3e-3,
            "logging_steps": 2,
            "save_steps": 2,
            "use_cpu": True,
            "preflight_samples": 2,
            **sections.get("trainer", {}),
        },
        "scoring": {"report": False, **sections.get("scoring", {})},
    }
    path = folder / "recipe.yaml"
    path.write_text(json.dumps(recipe))  # JSON is YAML
    return path


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def log_of(folder: Path) -> list[dict]:
    return json.loads((folder / "log.json").read_text())


def same(first: Path, second: Path) -> bool:
    a, b = weights(first), weights(second)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def at_micro_batch(number: int, act: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Call `act` in the forward of micro-batch `number`, from 1."""
    forward, count = Objective.forward, 0

    def counted(self, **batch):
        nonlocal count
        count += 1
        if count == number:
            act()
        return forward(self, **batch)

    monkeypatch.setattr(Objective, "forward", counted)
