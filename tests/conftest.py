"""What every test shares: no network, one thread, and a tiny random checkpoint."""

import os
import signal

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from pathlib import Path

import pytest
import torch
from tiny import CHARACTERS, TINY_DECODER, TINY_TOWER

torch.set_num_threads(1)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in what a script has started in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)
if not torch.cuda.is_available():  # to be said before anybody imports Triton
    os.environ.setdefault("TRITON_INTERPRET", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with long tests come first, so that no worker is left with them when the others are done."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture
def fresh_compiler() -> None:
    """The compiler forgets other shapes of the same modules, for which it would take all sizes as unknowns: minutes."""
    torch.compiler.reset()


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random VLM with its processor: images up to 256 pixels a side, characters as vocabulary."""
    from samvlm.model.assembly import assemble

    model, processor = assemble(dict(TINY_TOWER), dict(TINY_DECODER), characters=CHARACTERS, seed=1)
    folder = tmp_path_factory.mktemp("tiny_checkpoint")
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
