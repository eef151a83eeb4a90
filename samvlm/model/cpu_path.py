"""The tower's blocks on a CPU without gradients: the same numbers as the layers give, in a third of the time.

Linear layers go to oneDNN with GELU and residual fused; the MLP runs over some hundred tokens at a time, so that what
lies between its layers stays in the cache; attention is one fused kernel (native_attention.py), or without a compiled
one PyTorch's operators over windows and chunks of rows. In bfloat16 the residual stream and the layer norms are fp32,
which halves the error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .native_attention import attention, reversed_table, takes
from .native_attention import works as kernel_works
from .onednn import linear, linear_add

if TYPE_CHECKING:
    from .vision_layers import SamAttention, SamNeck, SamVisionBlock

MLP_TOKENS = 512  # the hidden layer of so many tokens fits into the cache


def serves(layers: nn.ModuleList, neck: SamNeck, hidden_states: Tensor) -> bool:
    """Whether `run_block` and `run_neck` may take the place of the modules: on a CPU, without gradients, in float32 or
    bfloat16, for modules that nobody has wrapped, hooked, quantised or told to use another attention."""
    return (
        hidden_states.device.type == "cpu"
        and hidden_states.dtype in (torch.float32, torch.bfloat16)
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and all(is_plain(layer, hidden_states.dtype) for layer in layers)
        and not any(has_hooks(module) for module in neck.modules())
    )


def is_plain(layer: SamVisionBlock, dtype: torch.dtype) -> bool:
    """Whether a block computes what its classes say, with weights of one dtype in memory."""
    from .vision_layers import SamAttention, SamMLP, SamVisionBlock

    kinds = {
        SamVisionBlock: (layer,),
        SamAttention: (layer.attn,),
        SamMLP: (layer.mlp,),
        nn.LayerNorm: (layer.layer_norm1, layer.layer_norm2),
        nn.Linear: (layer.attn.qkv, layer.attn.proj, layer.mlp.lin1, layer.mlp.lin2),
    }
    return (
        layer.attn.config._attn_implementation != "eager"
        and layer.attn.config.attention_path == "auto"
        and layer.attn.config.hidden_act == "gelu"
        and all(
            type(module) is kind and not has_hooks(module)
            for kind, modules in kinds.items()
            for module in modules
        )
        and all(weight.dtype == dtype and weight.device.type == "cpu" for weight in layer.parameters())
    )


def has_hooks(module: nn.Module) -> bool:
    """Whether somebody listens to a module's calls, or has put another `forward` in its place."""
    return bool(module._forward_hooks or module._forward_pre_hooks or "forward" in module.__dict__)


def own_stream(hidden_states: Tensor) -> Tensor:
    """The residual stream that `run_block` changes: a contiguous fp32 copy."""
    return hidden_states.to(torch.float32, copy=True, memory_format=torch.contiguous_format)


def run_block(layer: SamVisionBlock, hidden_states: Tensor) -> Tensor:
    """(B, H, W, embed_dim) fp32 and contiguous -> the same, changed in place."""
    dtype = layer.mlp.lin1.weight.dtype
    attended = attend(layer.attn, norm(layer.layer_norm1, hidden_states, dtype))
    proj, mlp = layer.attn.proj, layer.mlp
    rows = hidden_states.view(-1, hidden_states.shape[-1])  # (B * H * W, embed_dim)
    results = attended.flatten(0, 2)
    for start in range(0, len(rows), MLP_TOKENS):
        part = slice(start, start + MLP_TOKENS)
        residual_linear(rows[part], results[part], proj)
        inner = linear(norm(layer.layer_norm2, rows[part], dtype), mlp.lin1.weight, mlp.lin1.bias, gelu=True)
        residual_linear(rows[part], inner, mlp.lin2)
    return hidden_states


def residual_linear(stream: Tensor, x: Tensor, module: nn.Linear) -> None:
    """Add a linear layer's result to the residual stream, in place."""
    if x.dtype == stream.dtype:
        stream.copy_(linear_add(x, stream, module.weight, module.bias))
    else:
        stream.add_(linear(x, module.weight, module.bias))


def norm(module: nn.LayerNorm, x: Tensor, dtype: torch.dtype) -> Tensor:
    """The layer norm of an fp32 stream, in `dtype`."""
    weight, bias = module.weight.to(x.dtype), module.bias.to(x.dtype)
    return F.layer_norm(x, module.normalized_shape, weight, bias, module.eps).to(dtype)


def attend(module: SamAttention, x: Tensor) -> Tensor:
    """(B, H, W, embed_dim) -> the same, before the output projection."""
    qkv = linear(x, module.qkv.weight, module.qkv.bias)
    if not (kernel_works(qkv.dtype) and takes(module.head_dim)):
        return module.attend_places(qkv)
    tables = [reversed_table(table) for table in (module.rel_pos_h, module.rel_pos_w)]
    return attention(qkv, module.qkv.bias, *tables, module.num_heads, module.window_size)


def run_neck(neck: SamNeck, hidden_states: Tensor) -> Tensor:
    """(B, H, W, embed_dim) fp32 -> (B, output_channels, H, W) in the weights' dtype, computed in fp32."""
    dtype = neck.conv1.weight.dtype
    features = linear(hidden_states, neck.conv1.weight.flatten(1).float())
    features = norm(neck.layer_norm1, features, torch.float32).permute(0, 3, 1, 2)
    features = F.conv2d(features, neck.conv2.weight.float(), padding=1).permute(0, 2, 3, 1)
    return norm(neck.layer_norm2, features, dtype).permute(0, 3, 1, 2)
