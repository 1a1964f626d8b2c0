"""How each layer becomes native steps. What a step does is said in `native/kernels.def`.

Each lowering emits the forward steps and returns the backward's: see `foveal.plan.lower`.
"""

from dataclasses import replace

import numpy as np

from foveal.layers import (
    AvgPool2d,
    BatchNorm,
    Dense,
    Flatten,
    GlobalAvgPool,
    MaxPool2d,
)
from foveal.params import Storage
from foveal.plan.lower import Backward, lower_python, lowers, new_value, plain
from foveal.plan.program import Argument, Buffer, Builder, Gradient, Norm, NormGradient, Value
from foveal.plan.storage import panels, spread
from foveal.shapes import padded_channels

ROWS, BLOCK = 112, 256  # of the scratch rows of a product, and of those of its weights' gradient: dense.inl.h
CACHE_WAY = 1024  # floats: rows that are a multiple of so many lie SKEW more apart in scratch, dense.inl.h
SKEW = 16  # floats between matrices or rows that would share a few cache sets: tile.inl.h
CODES = 256  # positions in a window of max pooling that a byte can tell apart


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


def reading(x: Value) -> dict[str, Argument]:
    """Arguments of a step that reads x and applies batch norm where that is still to be done."""
    norm = x.norm
    return {"x": x.buffer, "affine": norm.affine if norm else None, "rectify": bool(norm and norm.relu)}


def onward(x: Value, b: Builder, *, sums: bool = True) -> tuple[Gradient | None, dict[str, Argument]]:
    """The gradient of x, if it needs one, and the arguments of the step that makes it; where x lacks batch norm, and
    `sums`, it also makes the sums that batch norm's backward pass begins with."""
    if not x.needs_gradient:
        return None, dict.fromkeys(("dx", "mask", "mean", "moments"))
    norm = x.norm if sums else None
    moments = b.buffer("moments", 2 * x.stored) if norm else None
    gradient = Gradient(b.buffer("dx", x.floats), masked=x.rectified, moments=moments)
    mask, mean = x.buffer if x.rectified else None, norm.saved if norm else None
    return gradient, {"dx": gradient.buffer, "mask": mask, "mean": mean, "moments": moments}


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
    """For steps of the weights' gradient that do not make the bias's too."""
    if bias is not None:
        b.emit("bias_backward", dy=dy, dbias=b.gradient_of(bias), pixels=y.pixels, channels=y.stored)


def with_bias(bias: Buffer | None, y: Value, b: Builder) -> dict[str, Argument]:
    """Arguments of a step of the weights' gradient that makes the bias's too, with its work space."""
    if bias is None:
        return {"dbias": None, "sums": None}
    return {"dbias": b.gradient_of(bias), "sums": b.buffer("sums", constant=y.stored, dtype="float64")}


@lowers(Dense)
def lower_dense(spec: Dense, x: Value, relu: bool, b: Builder) -> tuple[Value, Backward]:
    y = new_value(b, "y", spec.out_shape(x.shape), rectified=relu)
    weight = b.parameter("weight", panels((spec.units, x.shape[0], 1, 1), x.places(), x.floats))
    bias = b.parameter("bias", spread(np.arange(spec.units), y.stored)) if spec.bias else None
    flat = replace(x, height=1, width=1, stored=x.floats)
    return matrix_layer(flat, y, weight, bias, relu, spec.flops(x.shape), b)


def finishing(given: Gradient, y: Value, b: Builder, *, relu: bool) -> dict[str, Argument]:
    """Arguments of a step that finishes its output's gradient while it reads it. relu: fused into the layer."""
    norm = given.norm
    return {
        "dy": given.buffer if norm else unmasked(given, y, b, relu=relu), "y": norm.x if norm else None,
        "y_affine": norm.affine if norm else None, "coefficients": norm.coefficients if norm else None,
        "relu": bool(norm and norm.relu),
    }  # fmt: skip


def turned_weights(weight: Buffer, x: Value, y: Value, b: Builder, taps: int = 1) -> Buffer:
    """The weights as the backward pass reads them: taps turned round, inputs and outputs exchanged."""
    turned = b.buffer("turned", constant=weight.constant)
    b.emit("turn_weights", weight=weight, turned=turned, taps=taps, inputs=x.stored, outputs=y.stored)
    return turned


def matrix_layer(
    x: Value, y: Value, weight: Buffer, bias: Buffer | None, relu: bool, flops: int, b: Builder
) -> tuple[Value, Backward]:
    """A dense layer, or a 1×1 convolution: the same product, over every pixel."""
    sizes = {"rows": x.pixels, "inputs": x.stored, "units": y.stored}

    def scratch(depth: int, made: bool) -> Buffer | None:
        """Of the rows of a product: those that are made, or moved apart where they share cache sets."""
        row = depth + SKEW if depth % CACHE_WAY == 0 else depth
        return b.buffer("scratch", constant=ROWS * row * b.threads) if made or row > depth else None

    b.emit(
        "dense_forward", flops, **reading(x), weight=weight, bias=bias, y=y.buffer,
        scratch=scratch(x.stored, x.norm is not None), **sizes, relu=relu,
    )  # fmt: skip

    def backward(gradient: Gradient) -> Gradient | None:
        given, finishes = finishing(gradient, y, b, relu=relu), gradient.norm is not None
        gradients = {"dweight": b.gradient_of(weight), **with_bias(bias, y, b)}
        block = min(BLOCK, b.batch * x.pixels)
        both = b.buffer("scratch", constant=block * (x.stored + y.stored) * b.threads)
        b.emit("dense_backward_weights", flops, **reading(x), **given, **gradients, scratch=both, **sizes, block=block)
        if not x.needs_gradient:
            return None
        turned, dx = turned_weights(weight, x, y, b), b.buffer("dx", x.floats)
        b.emit(
            "dense_backward_data", flops, **given, turned=turned, mask=x.buffer if x.rectified else None, dx=dx,
            scratch=scratch(y.stored, finishes), **sizes,
        )  # fmt: skip
        return Gradient(dx, masked=x.rectified)

    return y, backward


@lowers(Flatten)
def lower_flatten(spec: Flatten, x: Value, relu: bool, b: Builder) -> tuple[Value, Backward]:
    """No step: the next Dense stores its weights in the order in which the image lies."""
    return replace(x, shape=spec.out_shape(x.shape)), lambda dy: dy


@lowers(BatchNorm)
def lower_batch_norm(spec: BatchNorm, x: Value, relu: bool, b: Builder) -> tuple[Value, Backward]:
    x = aligned(x, b)
    # after Flatten every stored place is a feature of its own
    pixels, channels = (x.pixels, x.stored) if len(x.shape) == 3 else (1, x.floats)
    places = np.arange(x.channels) if len(x.shape) == 3 else x.places()
    storage: Storage = spread(places, channels)
    names = ("weight", "bias", "running_mean", "running_var")
    params = {name: b.parameter(name, storage) for name in names}
    sizes = {"pixels": pixels, "channels": channels}
    affine = b.buffer("affine", constant=2 * channels)
    args: dict[str, Argument] = {"x": x.buffer, "y": None, "affine": affine, "relu": relu, "eps": spec.eps}
    saved = b.buffer("saved", constant=2 * channels)
    if b.training:
        args |= {"saved": saved, "partial": b.buffer("partial", 2 * channels), "momentum": spec.momentum}
    y = replace(x, buffer=b.buffer("y", x.floats), rectified=relu, needs_gradient=True, defers=False)
    b.emit("batch_norm_forward" if b.training else "batch_norm_inference", **params, **args, **sizes)
    step = b.steps[-1]

    def made() -> Value:
        step.args["y"] = y.buffer
        return y

    def backward(dy: Gradient) -> Gradient | None:
        coefficients = b.buffer("coefficients", constant=2 * channels)
        masks, defers = relu and not dy.masked, x.defers and x.needs_gradient
        dx = b.buffer("dx", x.floats) if x.needs_gradient and not defers else None
        b.emit(
            "batch_norm_backward", x=x.buffer, dy=dy.buffer, saved=saved, affine=affine,
            dweight=b.gradient_of(params["weight"]), dbias=b.gradient_of(params["bias"]), dx=dx,
            partial=dy.moments or b.buffer("partial", 2 * channels), coefficients=coefficients, relu=masks, **sizes,
            summed=dy.moments is not None,
        )  # fmt: skip
        if defers:
            return replace(dy, norm=NormGradient(x.buffer, affine, coefficients, masks))
        return Gradient(dx) if dx else None

    if not b.fuse or len(x.shape) != 3:
        return made(), backward
    return replace(y, buffer=x.buffer, rectified=False, norm=Norm(affine, saved, relu, made)), backward


def _pool_geometry(spec: MaxPool2d | AvgPool2d, x: Value, y: Value) -> dict[str, int]:
    (top, _, left, _), _ = spec.geometry(x.shape)
    return {
        "height": x.height, "width": x.width, "channels": x.stored, "size_y": spec.window[0], "size_x": spec.window[1],
        "stride_y": spec.strides[0], "stride_x": spec.strides[1], "top": top, "left": left,
        "out_height": y.height, "out_width": y.width,
    }  # fmt: skip


@lowers(MaxPool2d, normalises=True)
def lower_max_pool(spec: MaxPool2d, x: Value, relu: bool, b: Builder) -> tuple[Value, Backward]:
    if spec.window[0] * spec.window[1] > CODES:
        return lower_python(spec, plain(x), b)
    out_shape = spec.out_shape(x.shape)
    if x.pool and spec.window == spec.strides == (2, 2) and out_shape == (x.channels, x.height // 2, x.width // 2):
        return x.pool(), lambda dy: dy
    x = aligned(x, b)
    y = new_value(b, "y", out_shape, rectified=x.rectified and b.fuse)
    code = b.buffer("code", y.floats, dtype="uint8")
    geometry = _pool_geometry(spec, x, y)
    b.emit("max_pool_forward", **reading(x), y=y.buffer, code=code, **geometry)

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


@lowers(GlobalAvgPool, normalises=True)
def lower_global_avg_pool(spec: GlobalAvgPool, x: Value, relu: bool, b: Builder) -> tuple[Value, Backward]:
    x = aligned(x, b)
    y = new_value(b, "y", spec.out_shape(x.shape))
    sizes = {"pixels": x.pixels, "channels": x.stored}
    b.emit("global_avg_pool_forward", **reading(x), y=y.buffer, **sizes)

    def backward(dy: Gradient) -> Gradient | None:
        if not x.needs_gradient:
            return None
        dx = b.buffer("dx", x.floats)
        b.emit("global_avg_pool_backward", dy=dy.buffer, dx=dx, **sizes)
        return Gradient(dx)

    return y, backward
