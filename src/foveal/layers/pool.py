"""Pooling: a map is made smaller by keeping the maximum or the mean of each window.

N images, C channels, H × W input, Y × X output. Windows may overlap, and may hang over the border by `padding`.
"""

from typing import ClassVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from foveal.errors import ShapeError, UsageError
from foveal.layers.base import Context, Layer, Params, Shape, Tensor, layer, need_image, too_small
from foveal.shapes import Pair, output_length, pair

Sides = tuple[int, int, int, int]
Places = NDArray[np.intp]  # of each window's maximum, counted row by row


class WindowPool(Layer):
    """What MaxPool2d and AvgPool2d share: where the windows lie."""

    size: int | Pair
    stride: int | Pair | None
    padding: int | Pair
    ceil_mode: bool
    fill: ClassVar[float]  # stands in the border when windows are taken

    def __post_init__(self) -> None:
        name = type(self).__name__
        size = pair(self.size, f"{name}(size=...)")
        padding = pair(self.padding, f"{name}(padding=...)", minimum=0)
        if any(2 * p > s for p, s in zip(padding, size, strict=True)):
            raise UsageError(f"{name}(padding=...) must be at most half of size {size}, not {padding}")
        object.__setattr__(self, "size", size)
        object.__setattr__(self, "stride", size if self.stride is None else pair(self.stride, f"{name}(stride=...)"))
        object.__setattr__(self, "padding", padding)

    @property
    def window(self) -> Pair:
        """size as two numbers."""
        return pair(self.size, "size")

    @property
    def strides(self) -> Pair:
        """stride as two numbers."""
        return pair(self.size if self.stride is None else self.stride, "stride")

    def geometry(self, in_shape: Shape) -> tuple[Sides, Pair]:
        """((top, bottom, left, right) border, (Y, X) outputs). With ceil_mode the lower and right border may grow.

        Raises ShapeError if no window fits.
        """
        _, high, wide = need_image(self, in_shape)
        down, across = pair(self.padding, "padding", 0)
        sides: list[int] = []
        outputs: list[int] = []
        for n, k, s, p in zip((high, wide), self.window, self.strides, (down, across), strict=True):
            try:
                count = output_length(n, k, s, p, p, ceil=self.ceil_mode)
            except ShapeError:
                raise too_small("window", self.window, in_shape, (down, down, across, across)) from None
            outputs.append(count)
            sides += [p, max(p, (count - 1) * s + k - n - p)]
        return (sides[0], sides[1], sides[2], sides[3]), (outputs[0], outputs[1])

    def out_shape(self, in_shape: Shape) -> Shape:
        return (in_shape[0], *self.geometry(in_shape)[1])

    def _windows(self, x: Tensor) -> Tensor:
        """(N, C, Y, X, KH, KW): the values of each window, `fill` in the border."""
        (top, bottom, left, right), (rows, columns) = self.geometry(x.shape[1:])
        border = ((0, 0), (0, 0), (top, bottom), (left, right))
        bordered = np.pad(x, border, constant_values=self.fill)
        windows = sliding_window_view(bordered, self.window, axis=(2, 3))
        return windows[:, :, :: self.strides[0], :: self.strides[1]][:, :, :rows, :columns]

    def _add_windows(self, parts: Tensor, in_shape: tuple[int, ...]) -> Tensor:
        """The adjoint of `_windows`: (N, C, Y, X, KH, KW) added up where the windows lie."""
        (top, bottom, left, right), (rows, columns) = self.geometry(in_shape[1:])
        n, c, high, wide = in_shape
        bordered = np.zeros((n, c, top + high + bottom, left + wide + right), parts.dtype)
        (down, across) = self.strides
        for kh, kw in np.ndindex(self.window):
            bordered[:, :, kh : kh + rows * down : down, kw : kw + columns * across : across] += parts[..., kh, kw]
        return bordered[:, :, top : top + high, left : left + wide]


@layer
class MaxPool2d(WindowPool):
    """The maximum of each window: y = max over the window of x; the border never wins.

    x (N, C, H, W) → y (N, C, Y, X).  size: the window, a number or (vertical, horizontal); stride: `size` when None.
    The gradient goes to the first maximum, row by row. ceil_mode: a last window may hang over the end, if it begins
    inside or in the border before it.
    """

    size: int | Pair
    stride: int | Pair | None = None
    padding: int | Pair = 0
    ceil_mode: bool = False
    fill = -np.inf

    def forward(self, x: Tensor, params: Params, ctx: Context) -> tuple[Tensor, tuple[Places, tuple[int, ...]]]:
        windows = self._windows(x)
        flat = windows.reshape(*windows.shape[:4], -1)
        first = flat.argmax(axis=-1)
        return np.take_along_axis(flat, first[..., None], axis=-1)[..., 0], (first, x.shape)

    def backward(
        self, dy: Tensor, saved: tuple[Places, tuple[int, ...]], params: Params, ctx: Context
    ) -> tuple[Tensor, dict[str, Tensor]]:
        first, in_shape = saved
        parts = np.zeros((*dy.shape, self.window[0] * self.window[1]), dy.dtype)
        np.put_along_axis(parts, first[..., None], dy[..., None], axis=-1)
        return self._add_windows(parts.reshape(*dy.shape, *self.window), in_shape), {}


@layer
class AvgPool2d(WindowPool):
    """The mean of each window.

    x (N, C, H, W) → y (N, C, Y, X).  count_padding: whether zeros of the border count in the mean; what hangs over the
    border in ceil_mode never does, as in PyTorch.
    """

    size: int | Pair
    stride: int | Pair | None = None
    padding: int | Pair = 0
    ceil_mode: bool = False
    count_padding: bool = False
    fill = 0.0

    def divisors(self, in_shape: Shape) -> Tensor:
        """(Y, X): how many values count in each window."""
        _, outputs = self.geometry(in_shape)
        counts = []
        for n, k, s, p, count in zip(
            in_shape[1:], self.window, self.strides, pair(self.padding, "padding", 0), outputs, strict=True
        ):
            start = np.arange(count) * s - p
            low, high = (start, n + p) if self.count_padding else (np.maximum(start, 0), n)
            counts.append(np.minimum(start + k, high) - low)
        return np.outer(counts[0], counts[1]).astype(np.float64)

    def forward(self, x: Tensor, params: Params, ctx: Context) -> tuple[Tensor, tuple[int, ...]]:
        divisors = self.divisors(x.shape[1:]).astype(x.dtype)
        return self._windows(x).sum(axis=(4, 5)) / divisors, x.shape

    def backward(
        self, dy: Tensor, saved: tuple[int, ...], params: Params, ctx: Context
    ) -> tuple[Tensor, dict[str, Tensor]]:
        share = dy / self.divisors(saved[1:]).astype(dy.dtype)
        return self._add_windows(np.broadcast_to(share[..., None, None], (*dy.shape, *self.window)), saved), {}


@layer
class GlobalAvgPool(Layer):
    """The mean of each feature map: y[c] = Σ x[c] / (H · W).

    x (N, C, H, W) → y (N, C).  No parameters. Lin, Chen and Yan, "Network In Network" (arXiv 1312.4400), section 3.2.
    """

    def out_shape(self, in_shape: Shape) -> Shape:
        return (need_image(self, in_shape)[0],)

    def forward(self, x: Tensor, params: Params, ctx: Context) -> tuple[Tensor, tuple[int, ...]]:
        return x.mean(axis=(2, 3)), x.shape

    def backward(
        self, dy: Tensor, saved: tuple[int, ...], params: Params, ctx: Context
    ) -> tuple[Tensor, dict[str, Tensor]]:
        high, wide = saved[2:]
        return np.broadcast_to((dy / (high * wide))[:, :, None, None], saved), {}
