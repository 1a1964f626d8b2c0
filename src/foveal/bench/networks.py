"""The networks of the benchmarks, defined once; `foveal.bench.peer` builds PyTorch's from them."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from foveal.layers import BatchNorm, Conv2d, Dense, GlobalAvgPool, Layer, ReLU, Sequential
from foveal.models import MODELS, build


@dataclass(frozen=True)
class Case:
    """A network with the shape of its images (C, H, W) and its batch size; ten classes."""

    name: str
    net: Sequential
    shape: tuple[int, int, int]
    batch: int

    def noise(self) -> tuple[np.ndarray, np.ndarray]:
        """One fixed batch of random images (N, C, H, W) and labels (N,)."""
        random = np.random.default_rng(0)
        return random.standard_normal((self.batch, *self.shape), np.float32), random.integers(0, 10, self.batch)


GREY, COLOUR = (1, 28, 28), (3, 32, 32)  # images (C, H, W)
SHAPES: Final = {
    "vgg": COLOUR, "nin": COLOUR, "nin-bn": COLOUR, "lenet": GREY, "mlp": GREY, "resnet": COLOUR, "depthwise": COLOUR,
}  # fmt: skip


def cases() -> dict[str, Case]:
    """vgg: 3×3 convolutions 64-64-128-128-256-256 with batch norm, three poolings. nin, nin-bn: as published, without
    and with batch norm. lenet: 5×5 convolutions of 32 and 64, dense 128. mlp: 784-800-800-10. resnet: three stages of
    two blocks. depthwise: as below. Grey images are 28×28 in batches of 128, the others 32×32 in batches of 64."""
    nets = {name: build(name, 10, input_shape=shape) for name, shape in SHAPES.items() if name in MODELS}
    nets["nin-bn"] = build("nin", 10, input_shape=COLOUR, batch_norm=True)
    nets["depthwise"] = depthwise(10)
    return {name: Case(name, nets[name], shape, 128 if shape == GREY else 64) for name, shape in SHAPES.items()}


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
