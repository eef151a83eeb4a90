"""Settings of the tiny models that the tests build."""

import string

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
