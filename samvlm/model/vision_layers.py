"""The layers of SAM's image encoder (ViTDet, Li et al., 2022): windowed and global attention, blocks, neck."""

import torch
import torch.nn.functional as F
from torch import nn
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer

from .attention import relative_attention, resolve_path
from .configuration_samvlm import SamVisionTowerConfig
from .trained_attention import serves, trained_attention
from .triton_attention import row_attention


class SamPatchEmbed(nn.Module):
    """Non-overlapping patches by one convolution."""

    def __init__(self, config: SamVisionTowerConfig):
        super().__init__()
        size = config.patch_size
        self.projection = nn.Conv2d(config.num_channels, config.embed_dim, size, stride=size)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """(B, 3, height, width) -> (B, H, W, embed_dim) with H = height / 16, W = width / 16"""
        return self.projection(pixel_values).permute(0, 2, 3, 1)


class SamChannelLayerNorm(nn.LayerNorm):
    """Layer norm over the channels of a (B, C, H, W) map."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return super().forward(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class SamAttention(nn.Module):
    """Multi-head attention over windows or the whole grid; the projections run on the real tokens only."""

    def __init__(self, config: SamVisionTowerConfig, window_size: int):
        super().__init__()
        self.config = config
        self.window_size = window_size  # 0: global
        self.num_heads = config.num_attention_heads
        self.head_dim = config.embed_dim // config.num_attention_heads
        self.qkv = nn.Linear(config.embed_dim, 3 * config.embed_dim, bias=config.qkv_bias)
        self.proj = nn.Linear(config.embed_dim, config.embed_dim)
        positions = window_size or config.image_size // config.patch_size
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * positions - 1, self.head_dim))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * positions - 1, self.head_dim))

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(B, H, W, embed_dim) -> the same"""
        return self.proj(self.attend_places(self.qkv(hidden_states)))

    def attend_places(self, qkv: torch.Tensor) -> torch.Tensor:
        """(B, H, W, 3 * embed_dim) -> (B, H, W, embed_dim), within windows or over the whole grid"""
        height, width = qkv.shape[1:3]
        tokens = self.window_size**2 or height * width
        path = "plain" if self.config._attn_implementation == "eager" else self.config.attention_path
        learned = (qkv, self.qkv.bias, self.rel_pos_h, self.rel_pos_w)
        if path == "auto" and serves(*learned, self.head_dim):
            return trained_attention(*learned, self.num_heads, self.window_size)
        path = resolve_path(path, tokens, self.head_dim, (qkv, self.rel_pos_h, self.rel_pos_w))
        if not self.window_size or path == "triton":  # whose kernels read the windows where they lie
            return self.attend(qkv, path)
        return self.join_windows(self.attend(self.split_windows(qkv), path), height, width)

    def attend(self, qkv: torch.Tensor, path: str) -> torch.Tensor:
        """(B, H, W, 3 * embed_dim) -> (B, H, W, embed_dim)"""
        batch, height, width, _ = qkv.shape
        parts = qkv.reshape(batch, height * width, 3, self.num_heads, self.head_dim)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)  # each (B, heads, H*W, head_dim)
        places = (query, key, value, self.rel_pos_h, self.rel_pos_w, (height, width))
        if path == "triton":
            output = row_attention(*places, self.window_size, *self.padding(qkv.dtype))
        else:
            output = relative_attention(*places, path)
        return output.transpose(1, 2).reshape(batch, height, width, -1)

    def padding(self, dtype: torch.dtype) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Key and value of a padded place of a window, each (heads, head_dim); None for zeros."""
        if self.qkv.bias is None:
            return None, None
        return self.qkv.bias.to(dtype).view(3, self.num_heads, self.head_dim)[1:].unbind(0)

    def split_windows(self, qkv: torch.Tensor) -> torch.Tensor:
        """(B, H, W, C) -> (B * windows, window, window, C).

        SAM pads *after* the layer norm with zeros, so that a padded place has the bias as its query, key and value
        and takes part in the softmax: it must, for the numbers to agree with the published weights.
        """
        batch, height, width, channels = qkv.shape
        size = self.window_size
        down, right = -height % size, -width % size
        if down or right:
            if self.qkv.bias is None:
                qkv = F.pad(qkv, (0, 0, 0, right, 0, down))
            else:
                padding = self.qkv.bias.to(qkv.dtype)
                qkv = torch.cat([qkv, padding.expand(batch, height, right, channels)], dim=2)
                qkv = torch.cat([qkv, padding.expand(batch, down, width + right, channels)], dim=1)
        rows, columns = (height + down) // size, (width + right) // size
        windows = qkv.view(batch, rows, size, columns, size, channels).transpose(2, 3)
        return windows.reshape(batch * rows * columns, size, size, channels)

    def join_windows(self, windows: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """The inverse of `split_windows`, padding dropped: (B * windows, window, window, C) -> (B, H, W, C)"""
        size = self.window_size
        rows, columns = -(-height // size), -(-width // size)
        grid = windows.view(-1, rows, columns, size, size, windows.shape[-1]).transpose(2, 3)
        return grid.reshape(-1, rows * size, columns * size, windows.shape[-1])[:, :height, :width]


class SamMLP(nn.Module):
    """Linear, activation, linear."""

    def __init__(self, config: SamVisionTowerConfig):
        super().__init__()
        self.lin1 = nn.Linear(config.embed_dim, config.mlp_dim)
        self.lin2 = nn.Linear(config.mlp_dim, config.embed_dim)
        self.act = ACT2FN[config.hidden_act]

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.lin2(self.act(self.lin1(hidden_states)))


class SamVisionBlock(GradientCheckpointingLayer):
    """A pre-norm transformer block."""

    def __init__(self, config: SamVisionTowerConfig, window_size: int):
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(config.embed_dim, eps=config.layer_norm_eps)
        self.attn = SamAttention(config, window_size)
        self.layer_norm2 = nn.LayerNorm(config.embed_dim, eps=config.layer_norm_eps)
        self.mlp = SamMLP(config)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(B, H, W, embed_dim) -> the same"""
        hidden_states = hidden_states + self.attn(self.layer_norm1(hidden_states))
        return hidden_states + self.mlp(self.layer_norm2(hidden_states))


class SamNeck(nn.Module):
    """1x1 and 3x3 convolution, each with a layer norm: the ViT's width down to the map's channels."""

    def __init__(self, config: SamVisionTowerConfig):
        super().__init__()
        channels = config.output_channels
        self.conv1 = nn.Conv2d(config.embed_dim, channels, 1, bias=False)
        self.layer_norm1 = SamChannelLayerNorm(channels, eps=1e-6)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.layer_norm2 = SamChannelLayerNorm(channels, eps=1e-6)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(B, H, W, embed_dim) -> (B, output_channels, H, W)"""
        hidden_states = self.layer_norm1(self.conv1(hidden_states.permute(0, 3, 1, 2)))
        return self.layer_norm2(self.smooth(hidden_states))

    def smooth(self, features: torch.Tensor) -> torch.Tensor:
        """The 3x3 convolution. oneDNN's bf16 backward of it takes half of a small tower's training step on a CPU,
        so there it is one matrix product over the nine shifted maps."""
        on_cpu = features.device.type == "cpu" and features.dtype == torch.bfloat16
        if not (on_cpu and torch.is_grad_enabled() and self.conv2.weight.requires_grad):
            return self.conv2(features)
        height, width = features.shape[-2:]
        padded = F.pad(features.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
        shifts = [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
        weight = self.conv2.weight.permute(0, 2, 3, 1).flatten(1)  # (C, 9 * C)
        return F.linear(torch.cat(shifts, dim=-1), weight).permute(0, 3, 1, 2)


def sincos_positions(height: int, width: int, dim: int) -> torch.Tensor:
    """Fixed 2-D sine-cosine positions (as in MAE, He et al., 2021), the start of towers trained from scratch.

    Returns:
        (1, height, width, dim) with values in [-1, 1]; channels beyond a multiple of 4 are zero.
    """
    quarter = dim // 4
    omega = 1.0 / 10000 ** (torch.arange(quarter, dtype=torch.float32) / quarter)
    rows = torch.arange(height, dtype=torch.float32)[:, None] * omega  # (H, dim / 4)
    columns = torch.arange(width, dtype=torch.float32)[:, None] * omega
    rows = torch.cat([rows.sin(), rows.cos()], dim=1)[:, None].expand(-1, width, -1)
    columns = torch.cat([columns.sin(), columns.cos()], dim=1)[None].expand(height, -1, -1)
    return F.pad(torch.cat([rows, columns], dim=-1), (0, dim - 4 * quarter))[None]
