"""Convolution by sliding filters.

N images, I input channels, O filters, H × W input, Y × X output, KH × KW kernel, G groups.
"""

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from foveal.checks import choice, integer, settle, switch
from foveal.errors import ShapeError, UsageError
from foveal.layers.base import Context, Layer, Params, Shape, Tensor, layer, need_image, too_small
from foveal.params import ParamSlot, he_normal, zeros
from foveal.shapes import Padding, Pair, normalise_padding, output_length, pads, pair

Sides = tuple[int, int, int, int]


@layer
class Conv2d(Layer):
    """Cross-correlation with learned filters: y[o, y, x] = b[o] + Σ w[o, i, kh, kw] · x[i, y·s + kh, x·s + kw].

    x (N, I, H, W) → y (N, O, Y, X); O = filters.  weight (O, I / G, KH, KW), bias (O,).
    kernel_size, stride: a number or (vertical, horizontal). padding, with zeros: a number, "valid" (none), "same"
    (⌈size / stride⌉ outputs, the odd row or column of zeros below and to the right), or (top, bottom, left, right).
    As in every framework the kernel is not flipped. LeCun et al., "Gradient-based learning applied to document
    recognition", Proc. IEEE 86 (1998), section II.
    dilation d, a number or two: a filter's values lie d pixels apart, x[i, y·s + kh·d, x·s + kw·d]; Yu and Koltun 2016,
    arXiv 1511.07122. groups G: channels and filters are split into G equal parts, and each part of the filters sees its
    part of the channels (Krizhevsky et al. 2012, section 3.5; Xie et al. 2017, arXiv 1611.05431); with G = I = O every
    channel has a filter of its own (depthwise: Howard et al. 2017, arXiv 1704.04861).
    init: how the weights begin: "he", at random (He et al. 2015, arXiv 1502.01852), or "whitening", for a first layer:
    a training takes them from its images, so that what the filters give is uncorrelated, of variance 1, and there with
    both signs (Jordan 2024, arXiv 2404.00498, section 3.2); 2 · I · KH · KW filters are all that there are.
    """

    unwritten: ClassVar[dict[str, object]] = {"dilation": (1, 1), "groups": 1, "init": "he"}

    filters: int
    kernel_size: int | Pair
    stride: int | Pair = 1
    padding: Padding = 0
    bias: bool = True
    dilation: int | Pair = 1
    groups: int = 1
    init: str = "he"

    def __post_init__(self) -> None:
        settle(self, "filters", integer, 1)
        settle(self, "groups", integer, 1)
        settle(self, "bias", switch)
        object.__setattr__(self, "kernel_size", pair(self.kernel_size, "Conv2d(kernel_size=...)"))
        object.__setattr__(self, "stride", pair(self.stride, "Conv2d(stride=...)"))
        object.__setattr__(self, "padding", normalise_padding(self.padding))
        object.__setattr__(self, "dilation", pair(self.dilation, "Conv2d(dilation=...)"))
        settle(self, "init", choice, ("he", "whitening"))
        if self.filters % self.groups:
            raise UsageError(f"Conv2d(groups={self.groups}) must divide its filters, but there are {self.filters}")

    @property
    def kernel(self) -> Pair:
        """kernel_size as two numbers."""
        return pair(self.kernel_size, "kernel_size")

    @property
    def strides(self) -> Pair:
        """stride as two numbers."""
        return pair(self.stride, "stride")

    @property
    def dilations(self) -> Pair:
        """dilation as two numbers."""
        return pair(self.dilation, "dilation")

    @property
    def extent(self) -> Pair:
        """Rows and columns of the image that an output sees from end to end."""
        (high, wide), (down, across) = self.kernel, self.dilations
        return (high - 1) * down + 1, (wide - 1) * across + 1

    def geometry(self, in_shape: Shape) -> tuple[Sides, Pair]:
        """((top, bottom, left, right) zeros, (Y, X) outputs). Raises ShapeError if the kernel or groups do not fit."""
        channels, high, wide = need_image(self, in_shape)
        if channels % self.groups:
            raise ShapeError(f"groups={self.groups} must divide the channels of its input, but there are {channels}")
        top, bottom, left, right = pads(self.padding, (high, wide), self.extent, self.strides)
        try:
            rows = output_length(high, self.extent[0], self.strides[0], top, bottom)
            columns = output_length(wide, self.extent[1], self.strides[1], left, right)
        except ShapeError:
            what = "kernel" if self.extent == self.kernel else "dilated kernel"
            raise too_small(what, self.extent, in_shape, (top, bottom, left, right)) from None
        return (top, bottom, left, right), (rows, columns)

    def out_shape(self, in_shape: Shape) -> Shape:
        return (self.filters, *self.geometry(in_shape)[1])

    def param_slots(self, in_shape: Shape) -> Iterator[ParamSlot]:
        shape = (self.filters, in_shape[0] // self.groups, *self.kernel)
        yield ParamSlot("weight", shape, init=he_normal(shape[1] * shape[2] * shape[3]))
        if self.bias:
            yield ParamSlot("bias", (self.filters,), init=zeros, decays=False)

    def forward(self, x: Tensor, params: Params, ctx: Context) -> tuple[Tensor, Tensor]:
        y = self._grouped("niyxkl,oikl->noyx", 1, (self._windows(x), 1), (params["weight"], 0))
        return (y + params["bias"][:, None, None] if self.bias else y), x

    def backward(self, dy: Tensor, saved: Tensor, params: Params, ctx: Context) -> tuple[Tensor, dict[str, Tensor]]:
        x, weight = saved, params["weight"]
        dparams = {"weight": self._grouped("niyxkl,noyx->oikl", 0, (self._windows(x), 1), (dy, 1))}
        if self.bias:
            dparams["bias"] = dy.sum(axis=(0, 2, 3))
        (top, bottom, left, right), (rows, columns) = self.geometry(x.shape[1:])
        bordered = np.zeros((*x.shape[:2], top + x.shape[2] + bottom, left + x.shape[3] + right), x.dtype)
        (down, across), (high, wide) = self.strides, x.shape[2:]
        for kh, kw in np.ndindex(self.kernel):
            part = self._grouped("noyx,oi->niyx", 1, (dy, 1), (weight[:, :, kh, kw], 0))
            h, w = kh * self.dilations[0], kw * self.dilations[1]
            bordered[:, :, h : h + rows * down : down, w : w + columns * across : across] += part
        return bordered[:, :, top : top + high, left : left + wide], dparams

    def _grouped(self, sums: str, axis: int, *factors: tuple[Tensor, int]) -> Tensor:
        """`sums` for each group of (factor, its axis that is split), put together again along `axis`."""
        groups = zip(*(np.split(factor, self.groups, axis=split) for factor, split in factors), strict=True)
        return np.concatenate([np.einsum(sums, *parts, optimize=True) for parts in groups], axis=axis)

    def _windows(self, x: Tensor) -> Tensor:
        """A view (N, I, Y, X, KH, KW) of the bordered images: what each output sees."""
        (top, bottom, left, right), _ = self.geometry(x.shape[1:])
        bordered = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
        windows = sliding_window_view(bordered, self.extent, axis=(2, 3))
        (down, across), (apart_y, apart_x) = self.strides, self.dilations
        return windows[:, :, ::down, ::across, ::apart_y, ::apart_x]

    def flops(self, in_shape: Shape) -> int:
        rows, columns = self.geometry(in_shape)[1]
        return 2 * in_shape[0] // self.groups * self.kernel[0] * self.kernel[1] * self.filters * rows * columns
