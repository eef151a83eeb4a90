"""Fixtures of the training tests."""

import pytest
from readers import build_reader


@pytest.fixture(scope="session")
def reader_folder(tmp_path_factory) -> str:
    """Folder of a reader (untied, so that all parts have weights of their own)."""
    model, processor = build_reader({"tie_word_embeddings": False})
    folder = tmp_path_factory.mktemp("reader")
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)
