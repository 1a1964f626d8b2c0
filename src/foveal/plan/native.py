"""How each layer becomes native steps. What a step does is said in `native/kernels.def`.

Each lowering emits the forward steps and returns the backward's: see `foveal.plan.lower`.
"""

from dataclasses import replace

import numpy as np

from foveal.layers import (
    AvgPool2d,
    BatchNorm,
    Conv2d,
    Dense,
    Flatten,
    GlobalAvgPool,
    MaxPool2d,
)
from foveal.params import Storage
from foveal.plan.lower import Backward, lower_python, lowers, new_value
from foveal.plan.program import Argument, Buffer, Builder, Gradient, Value
from foveal.plan.storage import panels, spread
from foveal.shapes import padded_channels

CODES = 256  # positions in a window of max pooling that a byte can tell apart
BAND_FLOATS = 1 << 17  # of a convolution's scratch rows: half a megabyte, to stay in a core's second-level cache


def bordered(x: Value, b: Builder, pads: tuple[int, int, int, int] = (0, 0, 0, 0), stored: int | None = None) -> Value:
    """A copy of x with a border of zeros (top, bottom, left, right) and zero channels up to `stored`."""
    top, bottom, left, right = pads
    stored = stored or x.stored
    high, wide = x.height + top + bottom, x.width + left + right
    out = Value(b.buffer("padded", high * wide * stored), x.shape, high, wide, x.channels, stored, x.needs_gradient)
    b.emit(
        "pad_images", x=x.buffer, y=out.buffer, height=x.height, width=x.width, channels=x.stored, out_channels=stored,
        top=top, bottom=bottom, left=left, right=right,
    )  # fmt: skip
    return out


def aligned(x: Value, b: Builder) -> Value:
    """x with its channels padded to 16, as the elementwise kernels want them; only the images themselves lack it."""
    return x if x.stored % 16 == 0 else bordered(x, b, stored=padded_channels(x.stored))


def in_place(dy: Gradient, y: Value, b: Builder) -> Buffer:
    """Where a step leaves a gradient that it makes of dy value by value: in dy's place, unless others read that too."""
    return b.buffer("dx", y.floats) if dy.shared else dy.buffer


def unmasked(dy: Gradient, y: Value, b: Builder, *, relu: bool) -> Buffer:
    """The gradient before a fused ReLU, unless whoever computed it has applied the mask already."""
    if not relu or dy.masked:
        return dy.buffer
    dx = in_place(dy, y, b)
    b.emit("relu_backward", y=y.buffer, dy=dy.buffer, dx=dx, count=y.floats)
    return dx


def bias_backward(bias: Buffer | None, dy: Buffer, y: Value, b: Builder) -> None:
    if bias is not None:
        partial = b.buffer("partial", y.stored)
        b.emit(
            "bias_backward", dy=dy, dbias=b.gradient_of(bias), partial=partial, pixels=y.pixels, channels=y.stored,
        )  # fmt: skip


@lowers(Conv2d)
def lower_conv2d(spec: Conv2d, x: Value, relu: bool, b: Builder) -> tuple[Value, Backward]:
    kernel, stride = spec.kernel, spec.strides
    (top, bottom, left, right), _ = spec.geometry(x.shape)
    y = new_value(b, "y", spec.out_shape(x.shape), rectified=relu)
    flops = spec.flops(x.shape)
    places = np.arange(x.channels)
    weight = b.parameter("weight", panels((spec.filters, x.channels, *kernel), places, x.stored))
    bias = b.parameter("bias", spread(np.arange(spec.filters), y.stored)) if spec.bias else None
    if kernel == (1, 1) and stride == (1, 1) and top == bottom == left == right == 0:
        return _matrix_layer(x, y, weight, bias, relu, flops, b)
    if x.stored % 16 and any((top, bottom, left, right)):  # so that kernel columns and channels are one run of floats
        x = bordered(x, b, (top, bottom, left, right))
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
        "conv2d_forward", flops, x=x.buffer, weight=weight, bias=bias, y=y.buffer, **geometry, relu=relu,
        scratch=b.buffer("scratch", constant=scratch * b.threads), band=band, scratch_floats=scratch,
    )  # fmt: skip

    def backward(gradient: Gradient) -> Gradient | None:
        dy = unmasked(gradient, y, b, relu=relu)
        bias_backward(bias, dy, y, b)
        dweight = b.gradient_of(weight)
        b.emit("conv2d_backward_weights", flops, x=x.buffer, dy=dy, dweight=dweight, **geometry)
        if not x.needs_gradient:
            return None
        turned = b.buffer("turned", constant=weight.constant)
        taps = kernel[0] * kernel[1]
        b.emit("turn_weights", weight=weight, turned=turned, taps=taps, inputs=x.stored, outputs=y.stored)
        dx = b.buffer("dx", x.floats)
        span = (x.width + kernel[1] - 1) * y.stored
        band = max(1, min(x.height, BAND_FLOATS // span - kernel[0] + 1))
        scratch = (band + kernel[0] - 1) * span
        b.emit(
            "conv2d_backward_data", flops, dy=dy, turned=turned, mask=x.buffer if x.rectified else None, dx=dx,
            scratch=b.buffer("scratch", constant=scratch * b.threads), band=band, scratch_floats=scratch, **geometry,
        )  # fmt: skip
        return Gradient(dx, masked=x.rectified)

    return y, backward


@lowers(Dense)
def lower_dense(spec: Dense, x: Value, relu: bool, b: Builder) -> tuple[Value, Backward]:
    y = new_value(b, "y", spec.out_shape(x.shape), rectified=relu)
    weight = b.parameter("weight", panels((spec.units, x.shape[0], 1, 1), x.places(), x.floats))
    bias = b.parameter("bias", spread(np.arange(spec.units), y.stored)) if spec.bias else None
    flat = replace(x, height=1, width=1, stored=x.floats)
    return _matrix_layer(flat, y, weight, bias, relu, spec.flops(x.shape), b)


def _matrix_layer(
    x: Value, y: Value, weight: Buffer, bias: Buffer | None, relu: bool, flops: int, b: Builder
) -> tuple[Value, Backward]:
    """A dense layer, or a 1×1 convolution: the same product, over every pixel."""
    sizes = {"rows": x.pixels, "inputs": x.stored, "units": y.stored}
    b.emit("dense_forward", flops, x=x.buffer, weight=weight, bias=bias, y=y.buffer, **sizes, relu=relu)

    def backward(gradient: Gradient) -> Gradient | None:
        dy = unmasked(gradient, y, b, relu=relu)
        bias_backward(bias, dy, y, b)
        b.emit("dense_backward_weights", flops, x=x.buffer, dy=dy, dweight=b.gradient_of(weight), **sizes)
        if not x.needs_gradient:
            return None
        turned, dx = b.buffer("turned", constant=weight.constant), b.buffer("dx", x.floats)
        b.emit("turn_weights", weight=weight, turned=turned, taps=1, inputs=x.stored, outputs=y.stored)
        mask = x.buffer if x.rectified else None
        b.emit("dense_backward_data", flops, dy=dy, turned=turned, mask=mask, dx=dx, **sizes)
        return Gradient(dx, masked=x.rectified)

    return y, backward


@lowers(Flatten)
def lower_flatten(spec: Flatten, x: Value, relu: bool, b: Builder) -> tuple[Value, Backward]:
    """No step: the next Dense stores its weights in the order in which the image lies."""
    return replace(x, shape=spec.out_shape(x.shape)), lambda dy: dy


@lowers(BatchNorm)
def lower_batch_norm(spec: BatchNorm, x: Value, relu: bool, b: Builder) -> tuple[Value, Backward]:
    x = aligned(x, b)
    y = replace(x, buffer=b.buffer("y", x.floats), rectified=relu, needs_gradient=True)
    # after Flatten every stored place is a feature of its own
    pixels, channels = (x.pixels, x.stored) if len(x.shape) == 3 else (1, x.floats)
    places = np.arange(x.channels) if len(x.shape) == 3 else x.places()
    storage: Storage = spread(places, channels)
    names = ("weight", "bias", "running_mean", "running_var")
    weight, bias, mean, var = (b.parameter(name, storage) for name in names)
    sizes = {"pixels": pixels, "channels": channels}
    shared: dict[str, Argument] = {
        "weight": weight,
        "bias": bias,
        "running_mean": mean,
        "running_var": var,
        "relu": relu,
        "eps": spec.eps,
    }
    if not b.training:
        scratch = b.buffer("scratch", constant=2 * channels)
        b.emit("batch_norm_inference", x=x.buffer, y=y.buffer, scratch=scratch, **shared, **sizes)
        return y, lambda dy: dy
    saved, partial = b.buffer("saved", constant=4 * channels), b.buffer("partial", 2 * channels)
    b.emit(
        "batch_norm_forward", x=x.buffer, y=y.buffer, saved=saved, partial=partial, momentum=spec.momentum,
        **shared, **sizes,
    )  # fmt: skip

    def backward(dy: Gradient) -> Gradient | None:
        dx = b.buffer("dx", x.floats) if x.needs_gradient else None
        b.emit(
            "batch_norm_backward", x=x.buffer, y=y.buffer if relu and not dy.masked else None, dy=dy.buffer,
            weight=weight, saved=saved, dweight=b.gradient_of(weight), dbias=b.gradient_of(bias), dx=dx,
            partial=b.buffer("partial", 2 * channels), coefficients=b.buffer("coefficients", constant=2 * channels),
            **sizes,
        )  # fmt: skip
        return Gradient(dx) if dx else None

    return y, backward


def _pool_geometry(spec: MaxPool2d | AvgPool2d, x: Value, y: Value) -> dict[str, int]:
    (top, _, left, _), _ = spec.geometry(x.shape)
    return {
        "height": x.height, "width": x.width, "channels": x.stored, "size_y": spec.window[0], "size_x": spec.window[1],
        "stride_y": spec.strides[0], "stride_x": spec.strides[1], "top": top, "left": left,
        "out_height": y.height, "out_width": y.width,
    }  # fmt: skip


@lowers(MaxPool2d)
def lower_max_pool(spec: MaxPool2d, x: Value, relu: bool, b: Builder) -> tuple[Value, Backward]:
    if spec.window[0] * spec.window[1] > CODES:
        return lower_python(spec, x, b)
    x = aligned(x, b)
    y = new_value(b, "y", spec.out_shape(x.shape), rectified=x.rectified and b.fuse)
    code = b.buffer("code", y.floats, dtype="uint8")
    geometry = _pool_geometry(spec, x, y)
    b.emit("max_pool_forward", x=x.buffer, y=y.buffer, code=code, **geometry)

    def backward(dy: Gradient) -> Gradient | None:
        if not x.needs_gradient:
            return None
        dx = b.buffer("dx", x.floats)
        b.emit("max_pool_backward", dy=dy.buffer, code=code, dx=dx, **geometry)
        return Gradient(dx, masked=dy.masked)

    return y, backward


@lowers(AvgPool2d)
def lower_avg_pool(spec: AvgPool2d, x: Value, relu: bool, b: Builder) -> tuple[Value, Backward]:
    x = aligned(x, b)
    y = new_value(b, "y", spec.out_shape(x.shape))
    divisor = b.fixed("divisor", (1.0 / spec.divisors(x.shape)).astype(np.float32).reshape(-1))
    geometry = _pool_geometry(spec, x, y)
    b.emit("avg_pool_forward", x=x.buffer, divisor=divisor, y=y.buffer, **geometry)

    def backward(dy: Gradient) -> Gradient | None:
        if not x.needs_gradient:
            return None
        dx = b.buffer("dx", x.floats)
        b.emit("avg_pool_backward", dy=dy.buffer, divisor=divisor, dx=dx, **geometry)
        return Gradient(dx)

    return y, backward


@lowers(GlobalAvgPool)
def lower_global_avg_pool(spec: GlobalAvgPool, x: Value, relu: bool, b: Builder) -> tuple[Value, Backward]:
    x = aligned(x, b)
    y = new_value(b, "y", spec.out_shape(x.shape))
    sizes = {"pixels": x.pixels, "channels": x.stored}
    b.emit("global_avg_pool_forward", x=x.buffer, y=y.buffer, **sizes)

    def backward(dy: Gradient) -> Gradient | None:
        if not x.needs_gradient:
            return None
        dx = b.buffer("dx", x.floats)
        b.emit("global_avg_pool_backward", dy=dy.buffer, dx=dx, **sizes)
        return Gradient(dx)

    return y, backward
