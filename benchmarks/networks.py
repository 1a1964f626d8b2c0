"""The networks of the benchmarks, defined once as foveal specs and built from them for PyTorch.

Importing `torch_network` needs PyTorch, which is no dependency of foveal.
"""

from dataclasses import dataclass
from typing import Any

from foveal.layers import (
    GELU,
    AvgPool2d,
    BatchNorm,
    Conv2d,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Layer,
    LeakyReLU,
    MaxPool2d,
    ReLU,
    Residual,
    Sequential,
    Sigmoid,
    Tanh,
)
from foveal.models import build


@dataclass(frozen=True)
class Case:
    """A network with the shape of its images (C, H, W) and its batch size; ten classes."""

    name: str
    net: Sequential
    shape: tuple[int, int, int]
    batch: int


def cases() -> dict[str, Case]:
    grey, colour = (1, 28, 28), (3, 32, 32)
    settings = {
        "resnet": (colour, 64),
        "vgg": (colour, 64),
        "nin": (colour, 64),
        "lenet": (grey, 128),
        "mlp": (grey, 128),
    }
    found = [Case(name, build(name, 10, input_shape=shape), shape, batch) for name, (shape, batch) in settings.items()]
    found.append(Case("depthwise", depthwise(10), colour, 64))
    return {case.name: case for case in found}


def depthwise(classes: int) -> Sequential:
    """As Howard et al. 2017 (MobileNet), for small images: a 3×3 convolution of 32 filters, then five blocks of a
    depthwise 3×3 and a 1×1 convolution, each with batch norm and ReLU; widths 64, 128, 128, 256, 256, strides 1, 2, 1,
    2, 1; the mean over pixels, and a dense layer."""

    def block(inputs: int, filters: int, stride: int) -> list[Layer]:
        spatial = Conv2d(inputs, 3, stride, padding=1, bias=False, groups=inputs)
        return [spatial, BatchNorm(), ReLU(), Conv2d(filters, 1, bias=False), BatchNorm(), ReLU()]

    layers: list[Layer] = [Conv2d(32, 3, padding=1, bias=False), BatchNorm(), ReLU()]
    for inputs, filters, stride in ((32, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1)):
        layers += block(inputs, filters, stride)
    return Sequential(*layers, GlobalAvgPool(), Dense(classes))


def torch_network(net: Sequential, shape: tuple[int, ...]) -> Any:
    """The same network as a `torch.nn.Sequential`, one module a spec, so that parameter names agree."""
    from torch import nn

    class Block(nn.Module):
        def __init__(self, layer: Residual, shape: tuple[int, ...]) -> None:
            super().__init__()
            ways = {name: torch_network(branch, shape) for name, branch in layer.branches.items()}
            self.body, self.shortcut = ways["body"], ways.get("shortcut", nn.Identity())

        def forward(self, x: Any) -> Any:
            return self.body(x) + self.shortcut(x)

    class Pooled(nn.Module):
        def forward(self, x: Any) -> Any:
            return x.mean(dim=(2, 3))

    def module(layer: Layer, shape: tuple[int, ...]) -> nn.Module:
        match layer:
            case Conv2d():
                (top, bottom, left, right), _ = layer.geometry(shape)
                assert (top, left) == (bottom, right)
                args = {"stride": layer.stride, "padding": (top, left), "bias": layer.bias}
                args |= {"dilation": layer.dilation, "groups": layer.groups}
                return nn.Conv2d(shape[0], layer.filters, layer.kernel_size, **args)
            case Dense():
                return nn.Linear(shape[0], layer.units, bias=layer.bias)
            case BatchNorm():
                norm = nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d
                return norm(shape[0], eps=layer.eps, momentum=layer.momentum)
            case MaxPool2d():
                return nn.MaxPool2d(layer.size, layer.stride, layer.padding, ceil_mode=layer.ceil_mode)
            case AvgPool2d():
                args = {"ceil_mode": layer.ceil_mode, "count_include_pad": layer.count_padding}
                return nn.AvgPool2d(layer.size, layer.stride, layer.padding, **args)
            case GlobalAvgPool():
                return Pooled()
            case Flatten():
                return nn.Flatten()
            case Dropout():
                return nn.Dropout(layer.p)
            case ReLU():
                return nn.ReLU()
            case LeakyReLU():
                return nn.LeakyReLU(layer.slope)
            case GELU() | Sigmoid() | Tanh():
                return getattr(nn, layer.kind)()
            case Sequential():
                return torch_network(layer, shape)
            case Residual():
                return Block(layer, shape)
        raise TypeError(f"no PyTorch module for {layer}")

    return nn.Sequential(*(module(layer, before) for layer, before, _ in net.shapes(shape)))
