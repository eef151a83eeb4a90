"""From the tower's feature map to the language model's token space: a compressor, then an MLP."""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn
from transformers.activations import ACT2FN


def avg_pool(features: torch.Tensor, factor: int) -> torch.Tensor:
    """Mean of each factor x factor square: (B, C, H, W) -> (B, C, H/factor, W/factor)."""
    return F.avg_pool2d(features, factor) if factor > 1 else features


def pixel_unshuffle(features: torch.Tensor, factor: int) -> torch.Tensor:
    """Each square stacked into channels: (B, C, H, W) -> (B, C*factor^2, H/factor, W/factor)."""
    return F.pixel_unshuffle(features, factor) if factor > 1 else features


POOLS = {"avg_pool": avg_pool, "pixel_unshuffle": pixel_unshuffle}


def check_grid(height: int, width: int, factor: int) -> None:
    """Raise ValueError if a map of height x width cannot be condensed by `factor` without losing its edge."""
    if height % factor or width % factor:
        raise ValueError(
            f"a feature map of {height}x{width} cannot be condensed by {factor}: pad images to multiples of "
            f"{16 * factor} pixels (SamVlmImageProcessor does)."
        )


class ConvCompressor(nn.Module):
    """3x3 stride-2 convolutions without bias, as GOT-OCR2 and DeepSeek-OCR have them (there named `net_2` and `net_3`):
    factor 4 is two of them, factor 2 one.

    Args:
        channels: of the feature map.
        factor: 1, 2 or 4.
        widths: channels behind each convolution, such as (512, 896) in DeepSeek-OCR-2; None: each doubles them, as in
            GOT-OCR2 (256 -> 512 -> 1024).
    """

    def __init__(self, channels: int, factor: int, widths: Sequence[int] | None = None):
        super().__init__()
        steps = {1: 0, 2: 1, 4: 2}[factor]
        self.widths = [channels * 2 ** (i + 1) for i in range(steps)] if widths is None else list(widths)
        if len(self.widths) != steps:
            raise ValueError(
                f"{len(self.widths)} widths of convolutions {self.widths}: factor {factor} has {steps} of them."
            )
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=2, padding=1, bias=False) for a, b in pairwise([channels, *self.widths])
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, widths[-1], H/factor, W/factor)"""
        for conv in self.convs:
            features = conv(features)
        return features


class Connector(nn.Module):
    """The tower's map in, visual tokens of the language model out.

    Args:
        channels: channels C of the feature map (256 for SAM).
        hidden_size: width D of the language model.
        compressor: "avg_pool", "pixel_unshuffle" or "conv".
        factor: 1, 2 or 4; each side of the map shrinks by it, so that the tokens become factor^2 times fewer.
        depth: linear layers of the MLP; 1 is a plain projection (GOT-OCR2), 2 is LLaVA-1.5's.
        act: activation between them.
        bias: whether the linear layers have a bias.
        conv_widths: channels behind each convolution of "conv"; None: each doubles them.
    """

    def __init__(
        self,
        channels: int,
        hidden_size: int,
        compressor: str = "avg_pool",
        factor: int = 4,
        depth: int = 2,
        act: str = "gelu",
        bias: bool = True,
        conv_widths: Sequence[int] | None = None,
    ):
        super().__init__()
        if compressor not in (*POOLS, "conv"):
            raise ValueError(f"compressor {compressor!r} is unknown: choose {', '.join([*POOLS, 'conv'])}.")
        if factor not in (1, 2, 4):
            raise ValueError(f"factor {factor}: choose 1, 2 or 4.")
        self.kind, self.factor = compressor, factor
        if compressor == "conv":
            self.compressor = ConvCompressor(channels, factor, conv_widths)
            width = [channels, *self.compressor.widths][-1]
        elif conv_widths is not None:
            raise ValueError(
                f"conv_widths={list(conv_widths)}: the compressor {compressor!r} has no convolutions."
            )
        else:
            self.compressor = None
            width = channels * (factor**2 if compressor == "pixel_unshuffle" else 1)
        widths = [width] + [hidden_size] * depth
        self.layers = nn.ModuleList(nn.Linear(a, b, bias=bias) for a, b in pairwise(widths))
        self.act = ACT2FN[act]

    def forward(self, features: torch.Tensor, condensed: bool = False) -> torch.Tensor:
        """(B, C, H, W) -> (B, N, D), N = H/factor * W/factor, row by row from the top left.

        Args:
            condensed: the features are what `condense` has made of a map.
        """
        if not condensed:
            features = self.condense(features)
        if self.compressor is not None:
            features = self.compressor(features)
        tokens = features.flatten(2).transpose(1, 2)  # (B, N, channels)
        for i, layer in enumerate(self.layers):
            tokens = layer(tokens if i == 0 else self.act(tokens))
        return tokens

    def condense(self, features: torch.Tensor) -> torch.Tensor:
        """The part without weights, which is the same as long as the tower is: the pooled map; with "conv", whose
        convolutions train, the map as it is."""
        check_grid(*features.shape[-2:], self.factor)
        if self.compressor is None:
            features = POOLS[self.kind](features, self.factor)
        return features.contiguous()  # with another layout, the last bits behind it would be others

    @property
    def condensing(self) -> int:
        """By how much `condense` shrinks each side of the map."""
        return 1 if self.compressor is not None else self.factor
