"""The connector: what each compressor does, and what it refuses."""

import pytest
import torch
import torch.nn.functional as F

from samvlm import Connector


def features(height: int, width: int, channels: int = 6, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, channels, height, width, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("factor", [1, 2, 4])
@pytest.mark.parametrize("compressor", ["avg_pool", "pixel_unshuffle", "conv"])
def test_shapes_and_gradients(compressor, factor, depth):
    connector = Connector(6, 10, compressor=compressor, factor=factor, depth=depth)
    tokens = connector(features(8, 4))
    assert tokens.shape == (2, 8 * 4 // factor**2, 10)
    tokens.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in connector.parameters())
    convolutions = {"conv": {1: 0, 2: 1, 4: 2}[factor]}.get(compressor, 0)
    assert sum(parameter.dim() == 4 for parameter in connector.parameters()) == convolutions
    assert sum(parameter.dim() == 2 for parameter in connector.parameters()) == depth


def test_average_of_each_square():
    connector = Connector(1, 1, "avg_pool", factor=2, depth=1, bias=False)
    connector.layers[0].weight.data.fill_(1)
    grid = torch.arange(16.0).view(1, 1, 4, 4)
    assert connector(grid).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]  # row by row from the top left


def test_unshuffle_loses_nothing():
    connector = Connector(2, 8, "pixel_unshuffle", factor=2, depth=1, bias=False)
    connector.layers[0].weight.data.copy_(torch.eye(8))
    maps = features(4, 6, channels=2)
    back = F.pixel_shuffle(connector(maps).transpose(1, 2).reshape(2, 8, 2, 3), 2)
    assert torch.equal(back, maps)


def test_conv_is_gots():
    """GOT-OCR2's net_2 and net_3: 3x3, stride 2, padding 1, no bias, channels doubled; then one linear layer."""
    connector = Connector(256, 1024, "conv", factor=4, depth=1)
    shapes = {name: tuple(parameter.shape) for name, parameter in connector.named_parameters()}
    assert shapes == {
        "compressor.convs.0.weight": (512, 256, 3, 3),
        "compressor.convs.1.weight": (1024, 512, 3, 3),
        "layers.0.weight": (1024, 1024),
        "layers.0.bias": (1024,),
    }
    maps = features(8, 8, channels=256, batch=1)
    first, second = (conv.weight for conv in connector.compressor.convs)
    condensed = F.conv2d(F.conv2d(maps, first, stride=2, padding=1), second, stride=2, padding=1)
    assert torch.allclose(
        connector(maps), connector.layers[0](condensed.flatten(2).transpose(1, 2)), atol=1e-6
    )


def test_activation_only_between_the_layers():
    connector = Connector(6, 6, "avg_pool", factor=1, depth=2, act="relu")
    tokens = connector(features(3, 5))
    by_hand = F.linear(
        F.relu(connector.layers[0](features(3, 5).flatten(2).transpose(1, 2))), connector.layers[1].weight
    )
    assert torch.allclose(tokens, by_hand + connector.layers[1].bias, atol=1e-6)


@pytest.mark.parametrize("compressor", ["avg_pool", "pixel_unshuffle", "conv"])
def test_a_map_it_would_cut(compressor):
    with pytest.raises(ValueError, match=r"6x8 cannot be condensed by 4.*multiples of 64"):
        Connector(6, 10, compressor)(features(6, 8))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"compressor": "max_pool"}, "'max_pool' is unknown: choose avg_pool"),
        ({"factor": 3}, "factor 3: choose"),
    ],
)
def test_unknown_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        Connector(6, 10, **settings)


def test_widths_of_convolutions():
    """As in DeepSeek-OCR-2, whose second convolution does not double the channels."""
    connector = Connector(6, 10, "conv", factor=4, depth=1, conv_widths=[12, 20])
    assert [tuple(conv.weight.shape) for conv in connector.compressor.convs] == [
        (12, 6, 3, 3),
        (20, 12, 3, 3),
    ]
    assert connector.layers[0].in_features == 20
    assert connector(torch.randn(2, 6, 8, 4)).shape == (2, 2, 10)
    with pytest.raises(ValueError, match="factor 2 has 1"):
        Connector(6, 10, "conv", factor=2, conv_widths=[12, 20])
    with pytest.raises(ValueError, match="no convolutions"):
        Connector(6, 10, "avg_pool", conv_widths=[12, 20])
