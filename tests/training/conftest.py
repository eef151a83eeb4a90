"""Fixtures of the training tests."""

from pathlib import Path

import pytest
from readers import build_reader
from short_runs import write_recipe

from training.train import main


@pytest.fixture(scope="session")
def reader_folder(tmp_path_factory) -> str:
    """Folder of a reader (untied, so that all parts have weights of their own)."""
    model, processor = build_reader({"tie_word_embeddings": False})
    folder = tmp_path_factory.mktemp("reader")
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def six_steps(tmp_path, reader_folder) -> str:
    """A recipe of six steps of two micro-batches, with a checkpoint behind every second."""
    trainer = {"max_steps": 6, "gradient_accumulation_steps": 2, "logging_steps": 3}
    return str(write_recipe(tmp_path, reader_folder, trainer=trainer))


@pytest.fixture
def unbroken(six_steps, tmp_path) -> Path:
    """What `six_steps` ends in if nothing happens."""
    assert main([six_steps, f"trainer.output_dir={tmp_path / 'unbroken'}"]) == 0
    return tmp_path / "unbroken" / "1-instruct"
