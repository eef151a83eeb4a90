"""Steps of a small Llama-shaped decoder by one call of the kernel library (native/decoder.cpp): CPUs, fp32, inference.

A decoder of a few million weights spends most of its time between PyTorch's operators. The kernel computes what they
compute, from the same weights and the same cache of keys and values, up to the order of its fp32 sums; it is tried
against transformers' own decoder at first use.
"""

from __future__ import annotations

import ctypes
import logging
from functools import cache

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, LlamaModel
from transformers.cache_utils import DynamicCache
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from .native_attention import LIBRARY, library

PANEL = 64  # outputs of a weight that stand together, as in native/decoder.h
MOST_WEIGHTS = 64_000_000  # of larger decoders PyTorch's operators are the time themselves
ROOM = 256  # tokens
logger = logging.getLogger("samvlm.model")


class Layer(ctypes.Structure):
    """`struct DecoderLayer` of native/decoder.h."""

    _fields_ = [
        (name, ctypes.c_void_p)
        for name in ("norm", "after_norm", "qkv", "output", "gate_up", "down", "keys", "values")
    ]


class Job(ctypes.Structure):
    """`struct Decoder` of native/decoder.h."""

    _fields_ = (
        [(name, ctypes.c_void_p) for name in ("layers", "embeddings", "norm", "head", "cosines", "sines")]
        + [
            (name, ctypes.c_long)
            for name in (
                "layer_count", "hidden", "heads", "kv_heads", "dim", "inner", "vocabulary", "is_bf16",
            )
        ]
        + [(name, ctypes.c_float) for name in ("epsilon", "scale")]
        + [(name, ctypes.c_long) for name in ("rows", "past", "room")]
        + [(name, ctypes.c_void_p) for name in ("ids", "positions", "first", "logits")]
    )  # fmt: skip


class NativeDecoder:
    """The steps of one generation, with copies of the weights as they are now.

    Args:
        decoder: one that `takes` accepts.
        head: its language model head.
    """

    def __init__(self, decoder: LlamaModel, head: nn.Linear):
        config = decoder.config
        self.decoder = decoder
        attention = decoder.layers[0].self_attn
        groups = {name: [] for name in ("qkv", "output", "gate_up", "down")}
        for layer in decoder.layers:
            own, mlp = layer.self_attn, layer.mlp
            groups["qkv"].append(torch.cat([own.q_proj.weight, own.k_proj.weight, own.v_proj.weight]))
            groups["output"].append(own.o_proj.weight)
            groups["gate_up"].append(torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]))
            groups["down"].append(mlp.down_proj.weight)
        weights = [weight for group in groups.values() for weight in group] + [head.weight]
        is_bf16 = all(torch.equal(weight.bfloat16().float(), weight) for weight in weights)
        dtype = torch.bfloat16 if is_bf16 else torch.float32
        packed = {name: [in_panels(weight, dtype) for weight in group] for name, group in groups.items()}
        norms = {
            "norm": [layer.input_layernorm.weight for layer in decoder.layers],
            "after_norm": [layer.post_attention_layernorm.weight for layer in decoder.layers],
        }
        packed_head = in_panels(head.weight, dtype)
        self.kept = (packed, norms, packed_head)  # what the pointers point to
        self.layers = (Layer * len(decoder.layers))()
        for number, layer in enumerate(self.layers):
            for name, tensors in (packed | norms).items():
                setattr(layer, name, tensors[number].data_ptr())
        self.vocabulary = len(head.weight)
        self.job = Job(
            layers=ctypes.addressof(self.layers), embeddings=decoder.embed_tokens.weight.data_ptr(),
            norm=decoder.norm.weight.data_ptr(), head=packed_head.data_ptr(), layer_count=len(self.layers),
            hidden=config.hidden_size, heads=config.num_attention_heads, kv_heads=config.num_key_value_heads,
            dim=attention.head_dim, inner=config.intermediate_size, vocabulary=self.vocabulary, is_bf16=is_bf16,
            epsilon=config.rms_norm_eps, scale=attention.scaling,
        )  # fmt: skip
        self.cosines = self.sines = torch.empty(0)
        self.rooms: list[tuple[Tensor, Tensor]] = []  # of each layer, (B, heads, room, dim)

    def step(self, ids: Tensor, positions: Tensor, first: Tensor, cache: DynamicCache) -> Tensor:
        """One token more for each row.

        Args:
            ids: (B,), the last token of each row, which the cache does not know yet; it is added.
            positions: (B,), their positions.
            first: (B,), the first place of each row in the cache that is no padding.
            cache: layers with `keys` and `values` (B, heads, T, dim).

        Returns:
            The scores of what comes next, (B, vocabulary).
        """
        past = cache.layers[0].keys.shape[-2]
        self._make_room(cache, past)
        if len(self.cosines) <= past:  # no position lies behind its place
            places = torch.arange(past + ROOM)[None]
            tables = self.decoder.rotary_emb(torch.empty(0), position_ids=places)
            self.cosines, self.sines = (table[0].contiguous() for table in tables)
            self.job.cosines, self.job.sines = self.cosines.data_ptr(), self.sines.data_ptr()
        job, rows = self.job, len(ids)
        ids, positions, first = ids.contiguous(), positions.contiguous(), first.contiguous()
        logits = torch.empty(rows, -(-self.vocabulary // PANEL) * PANEL)
        job.rows, job.past, job.room = rows, past, self.rooms[0][0].shape[-2]
        job.ids, job.positions, job.first = ids.data_ptr(), positions.data_ptr(), first.data_ptr()
        job.logits = logits.data_ptr()
        if library().samvlm_decode(ctypes.byref(job), min(torch.get_num_threads(), -(-rows // 2))):
            raise MemoryError(f"decoding {rows} rows behind {past} tokens: not enough memory.")
        for layer, (keys, values) in zip(cache.layers, self.rooms, strict=True):
            layer.keys, layer.values = keys.narrow(-2, 0, past + 1), values.narrow(-2, 0, past + 1)
        return logits[:, : self.vocabulary]

    def _make_room(self, cache: DynamicCache, past: int) -> None:
        """Let the layers' keys and values be the start of longer tensors."""
        known = self.rooms and all(
            layer.keys.data_ptr() == keys.data_ptr() and len(layer.keys) == len(keys)
            for layer, (keys, _) in zip(cache.layers, self.rooms, strict=True)
        )
        if known and past < self.rooms[0][0].shape[-2]:
            return
        self.rooms = []
        for number, layer in enumerate(cache.layers):
            pair = []
            for old in (layer.keys, layer.values):
                new = old.new_empty(*old.shape[:-2], past + max(ROOM, past // 2), old.shape[-1])
                new[..., :past, :] = old
                pair.append(new)
            self.rooms.append((pair[0], pair[1]))
            self.layers[number].keys, self.layers[number].values = (room.data_ptr() for room in pair)


def in_panels(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """A weight (outputs, inputs) as the kernel reads it: (outputs / PANEL, inputs, PANEL), filled up by zeros."""
    outputs, inputs = weight.shape
    panels = -(-outputs // PANEL)
    padded = torch.zeros(panels * PANEL, inputs, dtype=dtype)
    padded[:outputs] = weight
    return padded.view(panels, PANEL, inputs).transpose(1, 2).contiguous()


def takes(decoder: nn.Module, head: nn.Module) -> bool:
    """Whether the kernel is there and does just what this decoder does: plain Llama in fp32 on the CPU, and small."""
    if type(decoder) is not LlamaModel or type(head) is not nn.Linear or head.bias is not None:
        return False
    config, first = decoder.config, decoder.layers[0]
    tensors = [*decoder.parameters(), head.weight]
    weights = [module for module in decoder.modules() if getattr(module, "weight", None) is not None]
    sizes = (config.hidden_size, config.intermediate_size, len(first.self_attn.o_proj.weight[0]))
    return (
        all(
            type(module) in (nn.Linear, nn.Embedding, LlamaRMSNorm) for module in weights
        )  # no LoRA, not quantised
        and all(getattr(module, "bias", None) is None for module in weights)
        and all(tensor.dtype == torch.float32 and tensor.device.type == "cpu" for tensor in tensors)
        and sum(tensor.numel() for tensor in tensors) <= MOST_WEIGHTS
        and config.hidden_act == "silu"
        and config.rope_parameters["rope_type"] == "default"
        and first.self_attn.head_dim % 32 == 0
        and all(size % 16 == 0 for size in sizes)
        and works()
    )


@cache
def works() -> bool:
    """Whether the kernel is there and agrees with transformers' decoder: tried once, on a small one."""
    if library() is None:
        return False
    config = LlamaConfig(
        vocab_size=70, hidden_size=64, intermediate_size=80, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=32, max_position_embeddings=64,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        torch.manual_seed(0)
        model = LlamaForCausalLM(config).float().eval()
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
        agreed = True
        for rounded in (False, True):
            if rounded:
                for parameter in model.parameters():
                    parameter.copy_(parameter.bfloat16())
            ids = torch.randint(0, 70, (3, 21))
            mask = torch.ones_like(ids)
            mask[1, :7] = 0
            first = 1 - mask
            first = first.sum(1)
            places = (mask.cumsum(1) - 1).clamp(min=0)
            right = model(ids, attention_mask=mask, position_ids=places).logits
            cache = DynamicCache(config=config)
            model(
                ids[:, :18], attention_mask=mask[:, :18], position_ids=places[:, :18], past_key_values=cache
            )
            native = NativeDecoder(model.model, model.lm_head)
            for place in range(18, 21):
                found = native.step(ids[:, place], places[:, place], first, cache)
                distance = (found - right[:, place]).norm() / right[:, place].norm()
                agreed &= bool(distance < 1e-5)  # False where it is no number, too
    if not agreed:
        logger.warning("%s gives wrong numbers for a decoder here: PyTorch's operators do its work", LIBRARY)
    return agreed
