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
from foveal.params import Storage
from foveal.plan.lower import Backward, lowers, new_value, plain
from foveal.plan.native import (
    SKEW,
    aligned,
    bias_backward,
    bordered,
    finishing,
    matrix_layer,
    onward,
    reading,
    turned_weights,
    unmasked,
    with_bias,
)
from foveal.plan.program import Argument, Buffer, Builder, Gradient, Step, Value
from foveal.plan.storage import grouped_panels, panels, spread
from foveal.shapes import padded_channels

BAND_FLOATS = 1 << 17  # of a convolution's scratch rows: half a megabyte, to stay in a core's second-level cache
TILINGS = {3: ((4, 4), (6, 2), (6, 4)), 5: ((4, 2),)}  # by kernel: outputs of Winograd's tiles, whole and at an edge
SAVING = 1.2  # multiplications with small tiles, at least, for one with large ones: those have more weights to read
BLOCK = 28  # tiles of a Winograd forward step's work item
SUPERBLOCK = 128  # tiles that a Winograd backward step takes at a time, at least; more of them
CHANNELS = 128  # where input and output have fewer channels than these, so that each time is worth its barriers
TOGETHER = 8  # images whose tiles these are, at least, a few rows of each: dx of an image is summed by one thread
FEW_TILES = 16  # of a batch, of which dU is made in parts and not kept
GATHERED = 32  # inputs and filters of such a part: winograd.inl.h
COLUMNS = 32  # of a tile, at most
GRADIENT_FLOATS = 1 << 15  # of a first layer's outputs whose gradient is finished at a time: 128 KB
POINTWISE_WEIGHTS = 1 << 17  # of a 1×1 convolution, at most, for its backward pass to be one step: half a megabyte
POINTWISE_UNITS = 512  # of one, at most: dense.inl.h takes them all at a time
POINTWISE_BLOCK = 128  # pixels that it takes at a time: dense.inl.h
POINTWISE_GROUPS = 16  # of images, or of pixels where images are fewer, with sums of their own
POINTWISE_UNIT = 32  # pixels of which a group is then a multiple
GROUP = 4  # images whose sums a first layer's weight gradient is made of


@dataclass
class Conv:
    """A convolution to be lowered: the spec, input and output, parameters and how the weights are stored, and whether a
    ReLU follows.

    out, code: the pooled output and the codes of max pooling, once that is found to follow; until then y and None.
    """

    spec: Conv2d
    x: Value
    y: Value
    weight: Buffer
    bias: Buffer | None
    relu: bool
    storage: Storage
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
        """Arguments of a step that finishes the output's gradient while it reads it."""
        return finishing(given, self.out, b, relu=self.relu) | {"code": self.code}


@dataclass(frozen=True)
class Algorithm:
    """refusal(spec, shape of an image (C, H, W), channels as stored): why it cannot or should not run this one; "" if
    it does.

    storage(spec, channels, channels as stored): of the weights. normalises: it applies the batch norm of its input
    while it reads it. defers: where batch norm follows, it finishes its output's gradient.
    """

    name: str
    refusal: Callable[[Conv2d, Shape, int], str]
    lower: Callable[[Conv, Builder], Backward]
    storage: Callable[[Conv2d, int, int], Storage]
    normalises: bool = False
    defers: bool = False


def _dilations(spec: Conv2d) -> tuple[int, int]:
    """1 on an axis where the kernel is a single pixel."""
    (down, across), (high, wide) = spec.dilations, spec.kernel
    return down if high > 1 else 1, across if wide > 1 else 1


def _refuse_depthwise(spec: Conv2d, shape: Shape, stored: int) -> str:
    return "" if 1 < spec.groups == shape[0] == spec.filters else "filters and channels are not one to one"


def _store_depthwise(spec: Conv2d, channels: int, stored: int) -> Storage:
    return panels((spec.filters, 1, *spec.kernel), np.zeros(1, np.int64), 1)


def _lower_depthwise(conv: Conv, b: Builder) -> Backward:
    x, y, spec = aligned(conv.x, b), conv.y, conv.spec
    top, _, left, _ = conv.pads
    geometry = {
        "height": x.height, "width": x.width, "channels": x.stored, "kernel_height": spec.kernel[0],
        "kernel_width": spec.kernel[1], "stride_y": spec.strides[0], "stride_x": spec.strides[1],
        "dilation_y": spec.dilations[0], "dilation_x": spec.dilations[1], "top": top, "left": left,
        "out_height": y.height, "out_width": y.width,
    }  # fmt: skip
    b.emit(
        "depthwise_forward", conv.flops, **reading(x), weight=conv.weight, bias=conv.bias, y=y.buffer, **geometry,
        relu=conv.relu,
    )  # fmt: skip

    def backward(gradient: Gradient) -> Gradient | None:
        given = finishing(gradient, y, b, relu=conv.relu)
        if conv.bias:
            assert isinstance(given["dy"], Buffer)
            bias_backward(conv.bias, given["dy"], y, b)
        dx, into = onward(x, b)
        made = x.floats * (x.norm is not None) + y.floats * (gradient.norm is not None)
        b.emit(
            "depthwise_backward", (2 if dx else 1) * conv.flops, **reading(x), **given, weight=conv.weight, **into,
            dweight=b.gradient_of(conv.weight), partial=b.buffer("partial", conv.weight.constant),
            scratch=b.buffer("scratch", constant=made * b.threads) if made else None, **geometry,
        )  # fmt: skip
        return dx

    return backward


def _store(spec: Conv2d, channels: int, stored: int) -> Storage:
    return panels((spec.filters, channels, *spec.kernel), np.arange(channels), stored)


def _refuse_matrix(spec: Conv2d, shape: Shape, stored: int) -> str:
    pads, _ = spec.geometry(shape)
    if spec.groups > 1:
        return "it has groups"
    if spec.kernel != (1, 1):
        return "the kernel is not 1×1"
    return "it has a stride or a border" if spec.strides != (1, 1) or any(pads) else ""


def _lower_matrix(conv: Conv, b: Builder) -> Backward:
    x, y = conv.x, conv.y
    in_two_steps = matrix_layer(x, y, conv.weight, conv.bias, conv.relu, conv.flops, b)[1]
    if x.stored * y.stored > POINTWISE_WEIGHTS or y.stored > POINTWISE_UNITS:
        return in_two_steps

    def backward(gradient: Gradient) -> Gradient | None:
        given, weight = finishing(gradient, y, b, relu=conv.relu), conv.weight
        whole_images = b.batch >= POINTWISE_GROUPS  # else even one image is shared out
        dx, into = onward(x, b, sums=whole_images)
        turned = turned_weights(weight, x, y, b) if dx else None
        made = x.stored * (x.norm is not None) + y.stored * (gradient.norm is not None)
        b.emit(
            "pointwise_backward", (2 if dx else 1) * conv.flops, **reading(x), **given, turned=turned, **into,
            dweight=b.gradient_of(weight), dbias=b.gradient_of(conv.bias) if conv.bias else None,
            partial=b.buffer("partial", constant=POINTWISE_GROUPS * (weight.constant + y.stored)),
            scratch=b.buffer("scratch", constant=POINTWISE_BLOCK * made * b.threads) if made else None,
            pixels=x.pixels, inputs=x.stored, units=y.stored, groups=POINTWISE_GROUPS,
            unit=x.pixels if whole_images else POINTWISE_UNIT,
        )  # fmt: skip
        return dx

    return backward


@dataclass(frozen=True)
class Tiling:
    """Winograd's tiles over an image's outputs: `tile` of them on each axis; `edge` where so many or fewer are left at
    the right or at the bottom. high, wide: tiles on each axis. multiplications: for each channel and filter."""

    tile: int
    edge: int
    high: int
    wide: int
    multiplications: int


def tiling_of(kernel: int, high: int, wide: int) -> Tiling:
    """Tiles for high × wide outputs: small ones unless large ones save enough."""

    def tiling(tile: int, edge: int) -> Tiling:
        def points(outputs: int) -> int:
            whole, left = divmod(outputs, tile)
            last = 0 if left == 0 else (edge if left <= edge else tile) + kernel - 1
            return whole * (tile + kernel - 1) + last

        return Tiling(tile, edge, -(-high // tile), -(-wide // tile), points(high) * points(wide))

    small, *large = (tiling(*sizes) for sizes in TILINGS[kernel])
    best = min(large, key=lambda t: t.multiplications, default=small)
    saves = SAVING * best.multiplications <= small.multiplications and min(high, wide) >= best.tile
    return best if saves else small


def _refuse_winograd(spec: Conv2d, shape: Shape, stored: int) -> str:
    _, (high, wide) = spec.geometry(shape)
    if spec.kernel not in ((3, 3), (5, 5)):
        return "the kernel is not 3×3 or 5×5"
    if spec.strides != (1, 1) or spec.dilations != (1, 1) or spec.groups > 1:
        return "it has a stride, dilation or groups"
    fewer = 2 * tiling_of(spec.kernel[0], high, wide).multiplications <= high * wide * spec.kernel[0] ** 2
    return "" if fewer else "tiles of 4×4 outputs leave too much of themselves unused"


def winograd_share(spec: Conv2d, shape: Shape) -> float:
    """Multiplications of a convolution as it is computed, as a share of those that its FLOPs count."""
    if algorithm_of(spec, shape).name != "Winograd":
        return 1.0
    _, (high, wide) = spec.geometry(shape)
    return tiling_of(spec.kernel[0], high, wide).multiplications / (high * wide * spec.kernel[0] ** 2)


def _lower_winograd(conv: Conv, b: Builder) -> Backward:
    x, y, spec = conv.x, conv.y, conv.spec
    kernel = spec.kernel[0]
    tiling = tiling_of(kernel, y.height, y.width)
    frequencies = (kernel + tiling.tile - 1) ** 2
    top, _, left, _ = conv.pads
    geometry = {
        "height": x.height, "width": x.width, "channels": x.stored, "used_channels": x.channels, "kernel": kernel,
        "tile": tiling.tile, "edge": tiling.edge, "top": top, "left": left, "out_height": y.height,
        "out_width": y.width, "filters": y.stored, "used_filters": y.channels,
    }  # fmt: skip
    sizes = frequencies * (x.stored * y.stored + SKEW)
    u = b.prepared(
        "winograd_weights", "u", sizes, weight=conv.weight, inputs=x.stored, outputs=y.stored, kernel=kernel,
        tile=tiling.tile, turned=0,
    )  # fmt: skip
    scratch = x.stored + frequencies * (BLOCK * (x.stored + COLUMNS) + 2 * SKEW)
    b.emit(
        "winograd_forward", conv.flops, **reading(x), u=u, bias=conv.bias, y=y.buffer, code=None, **geometry,
        relu=conv.relu,
        scratch=b.buffer("scratch", constant=scratch * b.threads), block=BLOCK, scratch_floats=scratch,
    )  # fmt: skip

    conv.poolable(b.steps[-1], b)

    def backward(gradient: Gradient) -> Gradient | None:
        given = conv.gradient(gradient, b)
        tiles, most = tiling.high * tiling.wide, SUPERBLOCK * max(1, CHANNELS // (x.stored + y.stored))
        images = min(b.batch, max(TOGETHER, most // tiles))
        rows = min(tiling.high, max(1, most // (images * tiling.wide)))
        taken = images * rows * tiling.wide  # tiles
        few, scratch = b.batch * tiles <= FEW_TILES, 2 * max(x.stored, y.stored)
        scratch += frequencies * (GATHERED**2 + SKEW) if few else 0
        dx, into = onward(x, b)
        turned = None
        if dx:
            turned = b.buffer("turned", constant=sizes)
            swapped = turned_weights(conv.weight, x, y, b, kernel**2)
            b.emit(
                "winograd_weights", weight=swapped, u=turned, inputs=y.stored, outputs=x.stored, kernel=kernel,
                tile=tiling.tile, turned=1,
            )  # fmt: skip
        b.emit(
            "winograd_backward", 2 * conv.flops, **reading(x), **given, turned=turned, **into,
            dweight=b.gradient_of(conv.weight), **with_bias(conv.bias, y, b),
            v=b.buffer("v", constant=frequencies * (taken * x.stored + SKEW)),
            m=b.buffer("m", constant=frequencies * (taken * y.stored + SKEW)),
            du=None if few else b.buffer("du", constant=sizes),
            scratch=b.buffer("scratch", constant=scratch * b.threads), **geometry,
            images=images, rows=rows,
        )  # fmt: skip
        return dx

    return backward


def _refuse_first(spec: Conv2d, shape: Shape, stored: int) -> str:
    if _dilations(spec) != (1, 1) or spec.groups > 1:
        return "it has dilation or groups"
    return "" if stored % 16 else "the input's channels are padded to 16, as all but the images' are"


def _lower_first(conv: Conv, b: Builder) -> Backward:
    # with the border written down, kernel columns and channels are one run of floats
    x = bordered(conv.x, b, conv.pads) if any(conv.pads) else conv.x
    y, (kernel_height, kernel_width) = conv.y, conv.spec.kernel
    geometry = _implicit_forward(conv, x, (0, 0, 0, 0), b)
    conv.poolable(b.steps[-1], b)
    for name in ("top", "left", "dilation_y", "dilation_x", "blocks"):
        del geometry[name]

    def backward(gradient: Gradient) -> None:
        given = conv.gradient(gradient, b)
        size = (kernel_height * kernel_width * x.stored + 1) * y.stored
        groups, row = -(-b.batch // GROUP), y.width * y.stored
        band = max(1, min(y.height, GRADIENT_FLOATS // row))
        b.emit(
            "conv2d_first_backward", conv.flops, x=x.buffer, **given, dweight=b.gradient_of(conv.weight),
            dbias=b.gradient_of(conv.bias) if conv.bias else None,
            partial=b.buffer("partial", constant=groups * size), images=GROUP, **geometry,
            band=band, scratch=b.buffer("scratch", constant=band * row * b.threads),
        )  # fmt: skip

    return backward


def _blocks(spec: Conv2d, channels: int) -> int:
    """Into how many convolutions of its own a grouped one is cut: of as few groups as give multiples of 16 channels and
    filters each, which is what tiles are made of. Where none do, all groups are one matrix with zeros between them."""
    inputs, outputs = channels // spec.groups, spec.filters // spec.groups
    sizes = (n for n in range(1, spec.groups + 1) if spec.groups % n == 0)
    return next((spec.groups // n for n in sizes if n * inputs % 16 == 0 and n * outputs % 16 == 0), 1)


def _store_blocks(spec: Conv2d, channels: int, stored: int) -> Storage:
    blocks, shape = _blocks(spec, channels), (spec.filters, channels // spec.groups, *spec.kernel)
    return grouped_panels(shape, spec.groups, blocks, stored // blocks)


def _implicit_forward(conv: Conv, x: Value, pads: tuple[int, int, int, int], b: Builder) -> dict[str, int]:
    """Emit the forward step of an implicit matrix product; returns the geometry that the backward steps share."""
    y, (kernel_height, kernel_width), (stride_y, stride_x) = conv.y, conv.spec.kernel, conv.spec.strides
    top, _, left, right = pads
    span, high = (x.width + left + right) * x.stored, conv.spec.extent[0]
    band = max((BAND_FLOATS // span - high) // stride_y + 1, high - kernel_height)  # not just rows that others copy too
    band = max(2, min(y.height, band) // 2 * 2)  # even: if it pools
    scratch = ((band - 1) * stride_y + high) * max(x.width + left + right, conv.spec.extent[1]) * x.stored
    scratch += 2 * y.width * y.stored
    geometry = {
        "height": x.height, "width": x.width, "channels": x.stored, "kernel_height": kernel_height,
        "kernel_width": kernel_width, "stride_y": stride_y, "stride_x": stride_x,
        "dilation_y": _dilations(conv.spec)[0], "dilation_x": _dilations(conv.spec)[1], "blocks": conv.storage.panels,
        "top": top, "left": left, "out_height": y.height, "out_width": y.width, "filters": y.stored,
    }  # fmt: skip
    b.emit(
        "conv2d_forward", conv.flops, x=x.buffer, weight=conv.weight, bias=conv.bias, y=y.buffer, code=None, **geometry,
        used_channels=x.channels // conv.storage.panels, relu=conv.relu,
        scratch=b.buffer("scratch", constant=scratch * b.threads), band=band, scratch_floats=scratch,
    )  # fmt: skip
    return geometry


def _lower_implicit(conv: Conv, b: Builder) -> Backward:
    x, y, (kernel_height, kernel_width), blocks = conv.x, conv.y, conv.spec.kernel, conv.storage.panels
    geometry = _implicit_forward(conv, x, conv.pads, b)
    mask = None
    if conv.spec.groups > blocks:  # where in a block no weight lies, it has no gradient
        inside = np.zeros(conv.storage.size, np.float32)
        inside[conv.storage.index] = 1
        mask = b.fixed("inside", inside)

    def backward(gradient: Gradient) -> Gradient | None:
        dy = unmasked(gradient, y, b, relu=conv.relu)
        bias_backward(conv.bias, dy, y, b)
        dweight = b.gradient_of(conv.weight)
        b.emit(
            "conv2d_backward_weights", conv.flops, x=x.buffer, dy=dy, mask=mask, dweight=dweight, **geometry
        )  # fmt: skip
        if not x.needs_gradient:
            return None
        taps, (high, wide) = kernel_height * kernel_width, conv.spec.extent
        if blocks == 1:
            turned = turned_weights(conv.weight, x, y, b, taps)
        else:
            turned = b.buffer("turned", constant=conv.weight.constant)
            b.emit(
                "turn_blocks", weight=conv.weight, turned=turned, taps=taps, inputs=x.stored // blocks,
                outputs=y.stored // blocks, blocks=blocks,
            )  # fmt: skip
        dx = b.buffer("dx", x.floats)
        (stride_y, stride_x), (more_y, more_x) = conv.spec.strides, (high - 2, wide - 2)
        span = ((x.width + more_x) // stride_x + 1) * y.stored  # of a row of dy that rows of dx come from
        band = max((BAND_FLOATS // span - 1) * stride_y - more_y, high - kernel_height)
        band = max(1, min(x.height, band))
        scratch = ((band + more_y) // stride_y + 1) * span
        b.emit(
            "conv2d_backward_data", conv.flops, dy=dy, turned=turned, mask=x.buffer if x.rectified else None, dx=dx,
            scratch=b.buffer("scratch", constant=scratch * b.threads), band=band, scratch_floats=scratch, **geometry,
            used_filters=y.channels // blocks,
        )  # fmt: skip
        return Gradient(dx, masked=x.rectified)

    return backward


ALGORITHMS = (
    Algorithm("depthwise", _refuse_depthwise, _lower_depthwise, _store_depthwise, normalises=True, defers=True),
    Algorithm("matrix product", _refuse_matrix, _lower_matrix, _store, normalises=True, defers=True),
    Algorithm("few channels", _refuse_first, _lower_first, _store, defers=True),
    Algorithm("Winograd", _refuse_winograd, _lower_winograd, _store, normalises=True, defers=True),
    Algorithm("implicit matrix product", lambda spec, shape, stored: "", _lower_implicit, _store_blocks),
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
    storage = algorithm.storage(spec, x.channels, x.stored)
    weight = b.parameter("weight", storage)
    bias = b.parameter("bias", spread(np.arange(spec.filters), y.stored)) if spec.bias else None
    conv = Conv(spec, x, y, weight, bias, relu, storage)
    backward = algorithm.lower(conv, b)
    return conv.y, backward
