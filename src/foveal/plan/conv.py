"""Convolutions: which algorithm runs one, and the steps it becomes.

The algorithms stand in the order in which they are asked; the first that does not refuse is taken. They look at the
layer and the shape of one image and at nothing else, so that the bits of a result depend on neither batch, threads nor
instruction set.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from foveal.layers import Conv2d
from foveal.layers.base import Shape
from foveal.params import Storage
from foveal.plan.lower import Backward, lowers, new_value, plain
from foveal.plan.native import bias_backward, bordered, matrix_layer, reading, unmasked
from foveal.plan.program import Buffer, Builder, Gradient, Value
from foveal.plan.storage import panels, spread

BAND_FLOATS = 1 << 17  # of a convolution's scratch rows: half a megabyte, to stay in a core's second-level cache
TILE = 4  # Winograd's outputs, on each axis
BLOCK = 28  # tiles of a Winograd forward step's work item
SUPERBLOCK = 256  # tiles that a Winograd backward step takes at a time, at least
SKEW = 16  # winograd.inl.h
COLUMNS = 32  # of a panel


@dataclass(frozen=True)
class Conv:
    """A convolution to be lowered: the spec, input and output, parameters, and whether a ReLU follows."""

    spec: Conv2d
    x: Value
    y: Value
    weight: Buffer
    bias: Buffer | None
    relu: bool

    @property
    def flops(self) -> int:
        return self.spec.flops(self.x.shape)

    @property
    def pads(self) -> tuple[int, int, int, int]:
        return self.spec.geometry(self.x.shape)[0]


@dataclass(frozen=True)
class Algorithm:
    """refusal(spec, shape of an image (C, H, W)): why it cannot or should not run this one; "" if it does.

    fuses_norm: it applies the batch norm of its input, and of its output's gradient, while it reads them.
    """

    name: str
    refusal: Callable[[Conv2d, Shape], str]
    lower: Callable[[Conv, Builder], Backward]
    fuses_norm: bool = False


def _refuse_matrix(spec: Conv2d, shape: Shape) -> str:
    pads, _ = spec.geometry(shape)
    if spec.kernel != (1, 1):
        return "the kernel is not 1×1"
    return "it has a stride or a border" if spec.strides != (1, 1) or any(pads) else ""


def _lower_matrix(conv: Conv, b: Builder) -> Backward:
    return matrix_layer(conv.x, conv.y, conv.weight, conv.bias, conv.relu, conv.flops, b)[1]


def _refuse_winograd(spec: Conv2d, shape: Shape) -> str:
    _, (high, wide) = spec.geometry(shape)
    if spec.kernel not in ((3, 3), (5, 5)):
        return "the kernel is not 3×3 or 5×5"
    if spec.strides != (1, 1):
        return "it has a stride"
    if shape[0] < 16:
        return "fewer than 16 channels: the transforms would cost more than they save"
    tiles, size = -(-high // TILE) * -(-wide // TILE), spec.kernel[0] + TILE - 1
    direct = high * wide * spec.kernel[0] ** 2
    return "" if 2 * tiles * size**2 <= direct else "tiles of 4×4 outputs leave too much of themselves unused"


def _lower_winograd(conv: Conv, b: Builder) -> Backward:
    x, y, spec = conv.x, conv.y, conv.spec
    kernel = spec.kernel[0]
    frequencies = (kernel + TILE - 1) ** 2
    top, _, left, _ = conv.pads
    geometry = {
        "height": x.height, "width": x.width, "channels": x.stored, "kernel": kernel, "top": top, "left": left,
        "out_height": y.height, "out_width": y.width, "filters": y.stored,
    }  # fmt: skip
    sizes = frequencies * x.stored * y.stored
    u = b.buffer("u", constant=sizes)
    b.emit("winograd_weights", weight=conv.weight, u=u, inputs=x.stored, outputs=y.stored, kernel=kernel, turned=0)
    scratch = x.stored + frequencies * (BLOCK * (x.stored + COLUMNS) + 2 * SKEW)
    b.emit(
        "winograd_forward", conv.flops, **reading(x), u=u, bias=conv.bias, y=y.buffer, **geometry, relu=conv.relu,
        scratch=b.buffer("scratch", constant=scratch * b.threads), block=BLOCK, scratch_floats=scratch,
    )  # fmt: skip

    def backward(gradient: Gradient) -> Gradient | None:
        norm = gradient.norm
        dy = gradient.buffer if norm else unmasked(gradient, y, b, relu=conv.relu)
        bias_backward(conv.bias, dy, y, b)
        tiles = -(-y.height // TILE) * -(-y.width // TILE)
        images = min(b.batch, max(1, SUPERBLOCK // tiles))
        dx = b.buffer("dx", x.floats) if x.needs_gradient else None
        turned = None
        if dx:
            turned = b.buffer("turned", constant=sizes)
            swapped = b.buffer("swapped", constant=conv.weight.constant)
            b.emit(
                "turn_weights", weight=conv.weight, turned=swapped, taps=kernel**2, inputs=x.stored, outputs=y.stored
            )
            b.emit(
                "winograd_weights", weight=swapped, u=turned, inputs=y.stored, outputs=x.stored, kernel=kernel, turned=1
            )
        b.emit(
            "winograd_backward", 2 * conv.flops, **reading(x), dy=dy, turned=turned, y=norm.x if norm else None,
            y_affine=norm.affine if norm else None, coefficients=norm.coefficients if norm else None,
            relu=bool(norm and norm.relu),
            mask=x.buffer if dx and x.rectified else None, dweight=b.gradient_of(conv.weight), dx=dx,
            v=b.buffer("v", constant=frequencies * (images * tiles * x.stored + SKEW)),
            m=b.buffer("m", constant=frequencies * (images * tiles * y.stored + SKEW)),
            du=b.buffer("du", constant=sizes),
            scratch=b.buffer("scratch", constant=2 * max(x.stored, y.stored) * b.threads), **geometry, images=images,
        )  # fmt: skip
        return Gradient(dx, masked=x.rectified) if dx else None

    return backward


def _lower_implicit(conv: Conv, b: Builder) -> Backward:
    x, y, kernel, stride = conv.x, conv.y, conv.spec.kernel, conv.spec.strides
    top, bottom, left, right = conv.pads
    if x.stored % 16 and any(conv.pads):  # so that kernel columns and channels are one run of floats
        x = bordered(x, b, conv.pads)
        top = bottom = left = right = 0
    span = (x.width + left + right) * x.stored
    band = max(1, min(y.height, (BAND_FLOATS // span - kernel[0]) // stride[0] + 1))
    scratch = ((band - 1) * stride[0] + kernel[0]) * max(x.width + left + right, kernel[1]) * x.stored
    geometry = {
        "height": x.height, "width": x.width, "channels": x.stored, "kernel_height": kernel[0],
        "kernel_width": kernel[1], "stride_y": stride[0], "stride_x": stride[1], "top": top, "left": left,
        "out_height": y.height, "out_width": y.width, "filters": y.stored,
    }  # fmt: skip
    b.emit(
        "conv2d_forward", conv.flops, x=x.buffer, weight=conv.weight, bias=conv.bias, y=y.buffer, **geometry,
        relu=conv.relu, scratch=b.buffer("scratch", constant=scratch * b.threads), band=band, scratch_floats=scratch,
    )  # fmt: skip

    def backward(gradient: Gradient) -> Gradient | None:
        dy = unmasked(gradient, y, b, relu=conv.relu)
        bias_backward(conv.bias, dy, y, b)
        dweight = b.gradient_of(conv.weight)
        b.emit("conv2d_backward_weights", conv.flops, x=x.buffer, dy=dy, dweight=dweight, **geometry)
        if not x.needs_gradient:
            return None
        turned = b.buffer("turned", constant=conv.weight.constant)
        taps = kernel[0] * kernel[1]
        b.emit("turn_weights", weight=conv.weight, turned=turned, taps=taps, inputs=x.stored, outputs=y.stored)
        dx = b.buffer("dx", x.floats)
        span = (x.width + kernel[1] - 1) * y.stored
        band = max(1, min(x.height, BAND_FLOATS // span - kernel[0] + 1))
        scratch = (band + kernel[0] - 1) * span
        b.emit(
            "conv2d_backward_data", conv.flops, dy=dy, turned=turned, mask=x.buffer if x.rectified else None, dx=dx,
            scratch=b.buffer("scratch", constant=scratch * b.threads), band=band, scratch_floats=scratch, **geometry,
        )  # fmt: skip
        return Gradient(dx, masked=x.rectified)

    return backward


ALGORITHMS = (
    Algorithm("matrix product", _refuse_matrix, _lower_matrix),
    Algorithm("Winograd", _refuse_winograd, _lower_winograd, fuses_norm=True),
    Algorithm("implicit matrix product", lambda spec, shape: "", _lower_implicit),
)


def algorithm_of(spec: Conv2d, shape: Shape) -> Algorithm:
    """What runs this convolution on images of this shape (C, H, W)."""
    return next(algorithm for algorithm in ALGORITHMS if not algorithm.refusal(spec, shape))


@lowers(Conv2d, normalises=True)
def lower_conv2d(spec: Conv2d, x: Value, relu: bool, b: Builder) -> tuple[Value, Backward]:
    algorithm = algorithm_of(spec, x.shape)
    x = x if algorithm.fuses_norm else plain(x)
    # a bias before batch norm is of no use, and its gradient would need the one that is not made
    defers = algorithm.fuses_norm and b.fuse and not spec.bias
    y = new_value(b, "y", spec.out_shape(x.shape), rectified=relu, defers=defers)
    weight = b.parameter("weight", panels((spec.filters, x.channels, *spec.kernel), np.arange(x.channels), x.stored))
    places: Storage = spread(np.arange(spec.filters), y.stored)
    bias = b.parameter("bias", places) if spec.bias else None
    conv = Conv(spec, x, y, weight, bias, relu)
    return y, algorithm.lower(conv, b)
