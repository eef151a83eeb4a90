"""What every test shares: no network, one thread, and a tiny random checkpoint."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import string
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)

CHARACTERS = string.ascii_letters + string.digits + string.punctuation + "±×–’"
TINY_TOWER = {
    "embed_dim": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "mlp_dim": 64,
    "image_size": 256,
    "output_channels": 32,
    "window_size": 3,
    "global_attn_indexes": [1],
}
TINY_DECODER = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "initializer_range": 0.2,  # so that greedy decoding does not repeat one token
    "max_position_embeddings": 4096,
}


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random VLM with its processor: images up to 256 pixels a side, characters as vocabulary."""
    from samvlm.model.assembly import assemble

    model, processor = assemble(dict(TINY_TOWER), dict(TINY_DECODER), characters=CHARACTERS, seed=1)
    folder = tmp_path_factory.mktemp("tiny_checkpoint")
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
