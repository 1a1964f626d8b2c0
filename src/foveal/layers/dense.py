"""Dense (fully connected) layer and Flatten."""

from collections.abc import Iterator

import numpy as np

from foveal.checks import integer, settle, switch
from foveal.errors import ShapeError
from foveal.layers.base import Context, Layer, Params, Shape, Tensor, layer
from foveal.params import ParamSlot, he_normal, zeros


@layer
class Dense(Layer):
    """Fully connected layer: y = x Wᵀ + b.

    x (N, I) → y (N, O); O = units.  weight (O, I), bias (O,).
    """

    units: int
    bias: bool = True

    def __post_init__(self) -> None:
        settle(self, "units", integer, 1)
        settle(self, "bias", switch)

    def out_shape(self, in_shape: Shape) -> Shape:
        if len(in_shape) != 1:
            raise ShapeError(
                f"Dense takes vectors (F,), but its input is images (C, H, W) of shape {in_shape}; "
                f"put Flatten() or GlobalAvgPool() before it"
            )
        return (self.units,)

    def param_slots(self, in_shape: Shape) -> Iterator[ParamSlot]:
        (inputs,) = in_shape
        yield ParamSlot("weight", (self.units, inputs), init=he_normal(fan_in=inputs))
        if self.bias:
            yield ParamSlot("bias", (self.units,), init=zeros, decays=False)

    def forward(self, x: Tensor, params: Params, ctx: Context) -> tuple[Tensor, Tensor]:
        y = x @ params["weight"].T
        return (y + params["bias"] if self.bias else y), x

    def backward(self, dy: Tensor, saved: Tensor, params: Params, ctx: Context) -> tuple[Tensor, dict[str, Tensor]]:
        x = saved
        dparams: dict[str, Tensor] = {"weight": dy.T @ x}
        if self.bias:
            dparams["bias"] = dy.sum(axis=0)
        return dy @ params["weight"], dparams

    def flops(self, in_shape: Shape) -> int:
        return 2 * in_shape[0] * self.units


@layer
class Flatten(Layer):
    """Images to vectors, channel by channel: x (N, C, H, W) → y (N, C·H·W)."""

    def out_shape(self, in_shape: Shape) -> Shape:
        return (int(np.prod(in_shape)),)

    def forward(self, x: Tensor, params: Params, ctx: Context) -> tuple[Tensor, tuple[int, ...]]:
        return x.reshape(len(x), -1), x.shape

    def backward(
        self, dy: Tensor, saved: tuple[int, ...], params: Params, ctx: Context
    ) -> tuple[Tensor, dict[str, Tensor]]:
        return dy.reshape(saved), {}
