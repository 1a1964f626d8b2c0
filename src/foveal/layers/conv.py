"""Convolution by sliding filters.

N images, I input channels, O filters, H × W input, Y × X output, KH × KW kernel.
"""

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from foveal.checks import integer, settle, switch
from foveal.errors import ShapeError
from foveal.layers.base import Context, Layer, Params, Shape, Tensor, layer, need_image, too_small
from foveal.params import ParamSlot, he_normal, zeros
from foveal.shapes import Padding, Pair, normalise_padding, output_length, pads, pair

Sides = tuple[int, int, int, int]


@layer
class Conv2d(Layer):
    """Cross-correlation with learned filters: y[o, y, x] = b[o] + Σ w[o, i, kh, kw] · x[i, y·s + kh, x·s + kw].

    x (N, I, H, W) → y (N, O, Y, X); O = filters.  weight (O, I, KH, KW), bias (O,).
    kernel_size, stride: a number or (vertical, horizontal). padding, with zeros: a number, "valid" (none), "same"
    (⌈size / stride⌉ outputs, the odd row or column of zeros below and to the right), or (top, bottom, left, right).
    As in every framework the kernel is not flipped. LeCun et al., "Gradient-based learning applied to document
    recognition", Proc. IEEE 86 (1998), section II.
    """

    filters: int
    kernel_size: int | Pair
    stride: int | Pair = 1
    padding: Padding = 0
    bias: bool = True

    def __post_init__(self) -> None:
        settle(self, "filters", integer, 1)
        settle(self, "bias", switch)
        object.__setattr__(self, "kernel_size", pair(self.kernel_size, "Conv2d(kernel_size=...)"))
        object.__setattr__(self, "stride", pair(self.stride, "Conv2d(stride=...)"))
        object.__setattr__(self, "padding", normalise_padding(self.padding))

    @property
    def kernel(self) -> Pair:
        """kernel_size as two numbers."""
        return pair(self.kernel_size, "kernel_size")

    @property
    def strides(self) -> Pair:
        """stride as two numbers."""
        return pair(self.stride, "stride")

    def geometry(self, in_shape: Shape) -> tuple[Sides, Pair]:
        """((top, bottom, left, right) zeros, (Y, X) outputs). Raises ShapeError if the kernel does not fit."""
        _, high, wide = need_image(self, in_shape)
        top, bottom, left, right = pads(self.padding, (high, wide), self.kernel, self.strides)
        try:
            rows = output_length(high, self.kernel[0], self.strides[0], top, bottom)
            columns = output_length(wide, self.kernel[1], self.strides[1], left, right)
        except ShapeError:
            raise too_small("kernel", self.kernel, in_shape, (top, bottom, left, right)) from None
        return (top, bottom, left, right), (rows, columns)

    def out_shape(self, in_shape: Shape) -> Shape:
        return (self.filters, *self.geometry(in_shape)[1])

    def param_slots(self, in_shape: Shape) -> Iterator[ParamSlot]:
        fan_in = in_shape[0] * self.kernel[0] * self.kernel[1]
        yield ParamSlot("weight", (self.filters, in_shape[0], *self.kernel), init=he_normal(fan_in))
        if self.bias:
            yield ParamSlot("bias", (self.filters,), init=zeros, decays=False)

    def forward(self, x: Tensor, params: Params, ctx: Context) -> tuple[Tensor, Tensor]:
        y = np.einsum("niyxkl,oikl->noyx", self._windows(x), params["weight"], optimize=True)
        return (y + params["bias"][:, None, None] if self.bias else y), x

    def backward(self, dy: Tensor, saved: Tensor, params: Params, ctx: Context) -> tuple[Tensor, dict[str, Tensor]]:
        x = saved
        dparams = {"weight": np.einsum("niyxkl,noyx->oikl", self._windows(x), dy, optimize=True)}
        if self.bias:
            dparams["bias"] = dy.sum(axis=(0, 2, 3))
        (top, bottom, left, right), (rows, columns) = self.geometry(x.shape[1:])
        bordered = np.zeros((*x.shape[:2], top + x.shape[2] + bottom, left + x.shape[3] + right), x.dtype)
        (down, across), (high, wide) = self.strides, x.shape[2:]
        for kh, kw in np.ndindex(self.kernel):
            part = np.einsum("noyx,oi->niyx", dy, params["weight"][:, :, kh, kw], optimize=True)
            bordered[:, :, kh : kh + rows * down : down, kw : kw + columns * across : across] += part
        return bordered[:, :, top : top + high, left : left + wide], dparams

    def _windows(self, x: Tensor) -> Tensor:
        """A view (N, I, Y, X, KH, KW) of the bordered images: what each output sees."""
        (top, bottom, left, right), _ = self.geometry(x.shape[1:])
        bordered = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
        return sliding_window_view(bordered, self.kernel, axis=(2, 3))[:, :, :: self.strides[0], :: self.strides[1]]

    def flops(self, in_shape: Shape) -> int:
        rows, columns = self.geometry(in_shape)[1]
        return 2 * in_shape[0] * self.kernel[0] * self.kernel[1] * self.filters * rows * columns
