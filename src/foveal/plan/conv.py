"""Convolutions: which algorithm runs one, and the steps it becomes.

The algorithms stand in the order in which they are asked; the first that does not refuse is taken. They look at the
layer and the shape of one image and at nothing else, so that the bits of a result depend on neither batch, threads nor
instruction set.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from foveal.layers import Conv2d
from foveal.layers.base import Shape
from foveal.plan.lower import Backward, lowers, new_value, plain
from foveal.plan.native import bias_backward, bordered, matrix_layer, reading, unmasked
from foveal.plan.program import Argument, Buffer, Builder, Gradient, Step, Value
from foveal.plan.storage import panels, spread
from foveal.shapes import padded_channels

BAND_FLOATS = 1 << 17  # of a convolution's scratch rows: half a megabyte, to stay in a core's second-level cache
TILE = 4  # Winograd's outputs, on each axis
BLOCK = 28  # tiles of a Winograd forward step's work item
SUPERBLOCK = 256  # tiles that a Winograd backward step takes at a time, at least
SKEW = 16  # winograd.inl.h
COLUMNS = 32  # of a panel
GRADIENT_FLOATS = 1 << 15  # of a first layer's outputs whose gradient is finished at a time: 128 KB
GROUP = 4  # images whose sums a first layer's weight gradient is made of


@dataclass
class Conv:
    """A convolution to be lowered: the spec, input and output, parameters, and whether a ReLU follows.

    out, code: the pooled output and the codes of max pooling, once that is found to follow; until then y and None.
    """

    spec: Conv2d
    x: Value
    y: Value
    weight: Buffer
    bias: Buffer | None
    relu: bool
    out: Value = field(init=False)
    code: Buffer | None = None

    def __post_init__(self) -> None:
        self.out = self.y

    @property
    def flops(self) -> int:
        return self.spec.flops(self.x.shape)

    @property
    def pads(self) -> tuple[int, int, int, int]:
        return self.spec.geometry(self.x.shape)[0]

    def poolable(self, step: Step, b: Builder) -> None:
        """`step` makes y, and could pool it on the way."""

        def pool() -> Value:
            shape = (self.y.channels, self.y.height // 2, self.y.width // 2)
            self.out = new_value(b, "y", shape, rectified=self.relu)
            self.code = b.buffer("code", self.out.floats, dtype="uint8")
            step.args |= {"y": self.out.buffer, "code": self.code}
            return self.out

        if b.fuse and min(self.y.height, self.y.width) > 1:
            self.y = self.out = replace(self.y, pool=pool)

    def gradient(self, given: Gradient, b: Builder) -> dict[str, Argument]:
        """Arguments of a step that finishes the output's gradient while it reads it; emits the bias's gradient."""
        norm = given.norm
        dy = given.buffer if norm else unmasked(given, self.out, b, relu=self.relu)
        bias_backward(self.bias, dy, self.out, b, self.code)
        return {
            "dy": dy, "code": self.code, "y": norm.x if norm else None, "y_affine": norm.affine if norm else None,
            "coefficients": norm.coefficients if norm else None, "relu": bool(norm and norm.relu),
        }  # fmt: skip


@dataclass(frozen=True)
class Algorithm:
    """refusal(spec, shape of an image (C, H, W), channels as stored): why it cannot or should not run this one; "" if
    it does.

    normalises: it applies the batch norm of its input while it reads it. defers: where batch norm follows, it finishes
    its output's gradient.
    """

    name: str
    refusal: Callable[[Conv2d, Shape, int], str]
    lower: Callable[[Conv, Builder], Backward]
    normalises: bool = False
    defers: bool = False


def _refuse_matrix(spec: Conv2d, shape: Shape, stored: int) -> str:
    pads, _ = spec.geometry(shape)
    if spec.kernel != (1, 1):
        return "the kernel is not 1×1"
    return "it has a stride or a border" if spec.strides != (1, 1) or any(pads) else ""


def _lower_matrix(conv: Conv, b: Builder) -> Backward:
    return matrix_layer(conv.x, conv.y, conv.weight, conv.bias, conv.relu, conv.flops, b)[1]


def _refuse_winograd(spec: Conv2d, shape: Shape, stored: int) -> str:
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
        "winograd_forward", conv.flops, **reading(x), u=u, bias=conv.bias, y=y.buffer, code=None, **geometry,
        relu=conv.relu,
        scratch=b.buffer("scratch", constant=scratch * b.threads), block=BLOCK, scratch_floats=scratch,
    )  # fmt: skip

    conv.poolable(b.steps[-1], b)

    def backward(gradient: Gradient) -> Gradient | None:
        given = conv.gradient(gradient, b)
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
            "winograd_backward", 2 * conv.flops, **reading(x), **given, turned=turned,
            mask=x.buffer if dx and x.rectified else None, dweight=b.gradient_of(conv.weight), dx=dx,
            v=b.buffer("v", constant=frequencies * (images * tiles * x.stored + SKEW)),
            m=b.buffer("m", constant=frequencies * (images * tiles * y.stored + SKEW)),
            du=b.buffer("du", constant=sizes),
            scratch=b.buffer("scratch", constant=2 * max(x.stored, y.stored) * b.threads), **geometry, images=images,
        )  # fmt: skip
        return Gradient(dx, masked=x.rectified) if dx else None

    return backward


def _refuse_first(spec: Conv2d, shape: Shape, stored: int) -> str:
    return "" if stored % 16 else "the input's channels are padded to 16, as all but the images' are"


def _lower_first(conv: Conv, b: Builder) -> Backward:
    # with the border written down, kernel columns and channels are one run of floats
    x = bordered(conv.x, b, conv.pads) if any(conv.pads) else conv.x
    y, (kernel_height, kernel_width) = conv.y, conv.spec.kernel
    geometry = _implicit_forward(conv, x, (0, 0, 0, 0), b)
    conv.poolable(b.steps[-1], b)
    for name in ("top", "left"):
        del geometry[name]

    def backward(gradient: Gradient) -> None:
        given = conv.gradient(gradient, b)
        size = kernel_height * kernel_width * x.stored * y.stored
        groups, row = -(-b.batch // GROUP), y.width * y.stored
        band = max(1, min(y.height, GRADIENT_FLOATS // row))
        b.emit(
            "conv2d_first_backward", conv.flops, x=x.buffer, **given, dweight=b.gradient_of(conv.weight),
            partial=b.buffer("partial", constant=groups * size), images=GROUP, **geometry,
            band=band, scratch=b.buffer("scratch", constant=band * row * b.threads),
        )  # fmt: skip

    return backward


def _implicit_forward(conv: Conv, x: Value, pads: tuple[int, int, int, int], b: Builder) -> dict[str, int]:
    """Emit the forward step of an implicit matrix product; returns the geometry that the backward steps share."""
    y, (kernel_height, kernel_width), (stride_y, stride_x) = conv.y, conv.spec.kernel, conv.spec.strides
    top, _, left, right = pads
    span = (x.width + left + right) * x.stored
    band = max(2, min(y.height, (BAND_FLOATS // span - kernel_height) // stride_y + 1) // 2 * 2)  # even: if it pools
    scratch = ((band - 1) * stride_y + kernel_height) * max(x.width + left + right, kernel_width) * x.stored
    scratch += 2 * y.width * y.stored
    geometry = {
        "height": x.height, "width": x.width, "channels": x.stored, "kernel_height": kernel_height,
        "kernel_width": kernel_width, "stride_y": stride_y, "stride_x": stride_x, "top": top, "left": left,
        "out_height": y.height, "out_width": y.width, "filters": y.stored,
    }  # fmt: skip
    b.emit(
        "conv2d_forward", conv.flops, x=x.buffer, weight=conv.weight, bias=conv.bias, y=y.buffer, code=None, **geometry,
        relu=conv.relu, scratch=b.buffer("scratch", constant=scratch * b.threads), band=band, scratch_floats=scratch,
    )  # fmt: skip
    return geometry


def _lower_implicit(conv: Conv, b: Builder) -> Backward:
    x, y, (kernel_height, kernel_width) = conv.x, conv.y, conv.spec.kernel
    geometry = _implicit_forward(conv, x, conv.pads, b)

    def backward(gradient: Gradient) -> Gradient | None:
        dy = unmasked(gradient, y, b, relu=conv.relu)
        bias_backward(conv.bias, dy, y, b)
        dweight = b.gradient_of(conv.weight)
        b.emit("conv2d_backward_weights", conv.flops, x=x.buffer, dy=dy, dweight=dweight, **geometry)
        if not x.needs_gradient:
            return None
        turned = b.buffer("turned", constant=conv.weight.constant)
        taps = kernel_height * kernel_width
        b.emit("turn_weights", weight=conv.weight, turned=turned, taps=taps, inputs=x.stored, outputs=y.stored)
        dx = b.buffer("dx", x.floats)
        span = (x.width + kernel_width - 1) * y.stored
        band = max(1, min(x.height, BAND_FLOATS // span - kernel_height + 1))
        scratch = (band + kernel_height - 1) * span
        b.emit(
            "conv2d_backward_data", conv.flops, dy=dy, turned=turned, mask=x.buffer if x.rectified else None, dx=dx,
            scratch=b.buffer("scratch", constant=scratch * b.threads), band=band, scratch_floats=scratch, **geometry,
        )  # fmt: skip
        return Gradient(dx, masked=x.rectified)

    return backward


ALGORITHMS = (
    Algorithm("matrix product", _refuse_matrix, _lower_matrix),
    Algorithm("few channels", _refuse_first, _lower_first, defers=True),
    Algorithm("Winograd", _refuse_winograd, _lower_winograd, normalises=True, defers=True),
    Algorithm("implicit matrix product", lambda spec, shape, stored: "", _lower_implicit),
)


def algorithm_of(spec: Conv2d, shape: Shape, stored: int | None = None) -> Algorithm:
    """What runs this convolution on images of this shape (C, H, W), stored with so many channels: padded to 16 unless
    they are the network's own images."""
    stored = padded_channels(shape[0]) if stored is None else stored
    return next(algorithm for algorithm in ALGORITHMS if not algorithm.refusal(spec, shape, stored))


@lowers(Conv2d, normalises=True)
def lower_conv2d(spec: Conv2d, x: Value, relu: bool, b: Builder) -> tuple[Value, Backward]:
    algorithm = algorithm_of(spec, x.shape, x.stored)
    x = x if algorithm.normalises else plain(x)
    # a bias before batch norm is of no use, and its gradient would need the one that is not made
    defers = algorithm.defers and b.fuse and not spec.bias and not relu
    y = new_value(b, "y", spec.out_shape(x.shape), rectified=relu, defers=defers)
    weight = b.parameter("weight", panels((spec.filters, x.channels, *spec.kernel), np.arange(x.channels), x.stored))
    bias = b.parameter("bias", spread(np.arange(spec.filters), y.stored)) if spec.bias else None
    conv = Conv(spec, x, y, weight, bias, relu)
    backward = algorithm.lower(conv, b)
    return conv.y, backward
