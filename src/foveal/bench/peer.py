"""PyTorch's side of the benchmarks: the same network, built from foveal's specs, and its steps.

PyTorch is no dependency of foveal: it is imported when it is asked for.
"""

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from foveal.bench.networks import Case
from foveal.errors import UsageError
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

Step = Callable[[], Any]
MODES: Final = ("eager", "channels_last")
LIMITS: Final = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}


def find_torch(threads: int, *, avx2: bool = False) -> Any:
    """The module. avx2: held to that instruction set. Raises UsageError if it is not installed, or too late to hold."""
    if avx2:
        if "torch" in sys.modules:
            raise UsageError("PyTorch is imported already and cannot be held to AVX2 any more")
        os.environ.update(LIMITS)
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        raise UsageError("--against torch needs PyTorch in the same environment: pip install torch") from None
    torch.set_num_threads(threads)
    return torch


def training_steps(
    torch: Any, case: Case, x: np.ndarray, y: np.ndarray, lr: float, *, compiled: bool, modes: Sequence[str] = MODES
) -> dict[str, Step]:
    """A training step (SGD with momentum, fused) in each mode: "eager", "channels_last", and "compile" if asked for."""

    def build(memory_format: Any, compiled: bool = False) -> Step:
        net = torch_network(case.net, case.shape).to(memory_format=memory_format).train()
        optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9, fused=True)
        images, labels = torch.tensor(x).contiguous(memory_format=memory_format), torch.tensor(y)
        run = torch.compile(net) if compiled else net

        def step() -> float:
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(run(images), labels)
            loss.backward()
            optimizer.step()
            return float(loss.item())

        return step

    steps = {mode: build(layout_of(torch, mode)) for mode in modes}
    return steps | ({"compile": build(torch.channels_last, True)} if compiled else {})


def inference_steps(torch: Any, case: Case, x: np.ndarray) -> dict[str, Step]:
    """The network's scores, without gradients, in both memory formats."""

    def build(memory_format: Any) -> Step:
        net = torch_network(case.net, case.shape).to(memory_format=memory_format).eval()
        images = torch.tensor(x).contiguous(memory_format=memory_format)

        def step() -> Any:
            with torch.inference_mode():
                return net(images)

        return step

    return {mode: build(layout_of(torch, mode)) for mode in MODES}


def layout_of(torch: Any, mode: str) -> Any:
    return torch.channels_last if mode == "channels_last" else torch.contiguous_format


def torch_network(net: Sequential, shape: tuple[int, ...]) -> Any:
    """The same network as a `torch.nn.Sequential`, one module a spec, so that parameter names agree."""
    nn: Any = importlib.import_module("torch").nn

    class Block(nn.Module):  # type: ignore[misc]
        def __init__(self, layer: Residual, shape: tuple[int, ...]) -> None:
            super().__init__()
            ways = {name: torch_network(branch, shape) for name, branch in layer.branches.items()}
            self.body, self.shortcut = ways["body"], ways.get("shortcut", nn.Identity())

        def forward(self, x: Any) -> Any:
            return self.body(x) + self.shortcut(x)

    class Pooled(nn.Module):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            return x.mean(dim=(2, 3))

    def module(layer: Layer, shape: tuple[int, ...]) -> Any:
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
