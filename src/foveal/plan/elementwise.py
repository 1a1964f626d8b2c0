"""How layers that work value by value become native steps: activations and dropout.

Their backward steps leave the gradient where it was, unless another branch of the network reads it too.
"""

from dataclasses import replace

from foveal.layers import GELU, Dropout, LeakyReLU, ReLU, Sigmoid, Tanh
from foveal.plan.lower import Backward, lowers
from foveal.plan.native import aligned, in_place, unmasked
from foveal.plan.program import Argument, Builder, Gradient, Value


@lowers(ReLU)
def lower_relu(spec: ReLU, x: Value, relu: bool, b: Builder) -> tuple[Value, Backward]:
    x = aligned(x, b)
    y = replace(x, buffer=b.buffer("y", x.floats), rectified=b.fuse)
    b.emit("relu_forward", x=x.buffer, y=y.buffer, count=x.floats)
    return y, lambda dy: Gradient(unmasked(dy, y, b, relu=True))


@lowers(LeakyReLU)
def lower_leaky_relu(spec: LeakyReLU, x: Value, relu: bool, b: Builder) -> tuple[Value, Backward]:
    x, y = _in_and_out(x, b)
    flops = spec.flops(x.shape)
    b.emit("leaky_relu_forward", flops, x=x.buffer, y=y.buffer, count=x.floats, slope=spec.slope)
    return y, _backward("leaky_relu_backward", x, flops, b, y=y.buffer, slope=spec.slope)


@lowers(GELU)
def lower_gelu(spec: GELU, x: Value, relu: bool, b: Builder) -> tuple[Value, Backward]:
    x, y = _in_and_out(x, b)
    flops = spec.flops(x.shape)
    b.emit("gelu_forward", flops, x=x.buffer, y=y.buffer, count=x.floats)
    return y, _backward("gelu_backward", x, flops, b, x=x.buffer)


@lowers(Sigmoid)
def lower_sigmoid(spec: Sigmoid, x: Value, relu: bool, b: Builder) -> tuple[Value, Backward]:
    x, y = _in_and_out(x, b)
    flops = spec.flops(x.shape)
    b.emit("sigmoid_forward", flops, x=x.buffer, y=y.buffer, pixels=x.pixels, channels=x.stored, used=x.channels)
    return y, _backward("sigmoid_backward", x, flops, b, y=y.buffer)


@lowers(Tanh)
def lower_tanh(spec: Tanh, x: Value, relu: bool, b: Builder) -> tuple[Value, Backward]:
    x, y = _in_and_out(x, b)
    flops = spec.flops(x.shape)
    b.emit("tanh_forward", flops, x=x.buffer, y=y.buffer, count=x.floats)
    return y, _backward("tanh_backward", x, flops, b, y=y.buffer)


@lowers(Dropout)
def lower_dropout(spec: Dropout, x: Value, relu: bool, b: Builder) -> tuple[Value, Backward]:
    x = aligned(x, b)
    if not b.training or spec.p == 0:
        return x, lambda dy: dy
    y = replace(x, buffer=b.buffer("y", x.floats))  # of what is rectified a part, so it still is
    mask = b.buffer("mask", x.floats, dtype="uint8")
    b.emit(
        "dropout_forward", x=x.buffer, y=y.buffer, mask=mask, pixels=x.pixels, channels=x.stored, layer=b.k, p=spec.p,
        flat=len(x.shape) == 1 and x.pixels > 1,
    )  # fmt: skip
    return y, _backward("dropout_backward", x, 0, b, mask=mask, p=spec.p)


def _in_and_out(x: Value, b: Builder) -> tuple[Value, Value]:
    """The input with padded channels, and an output like it."""
    x = aligned(x, b)
    return x, replace(x, buffer=b.buffer("y", x.floats), rectified=False)


def _backward(kernel: str, value: Value, flops: int, b: Builder, /, **saved: Argument) -> Backward:
    """The backward step `kernel`, given what the forward step saved."""

    def backward(dy: Gradient) -> Gradient | None:
        if not value.needs_gradient:
            return None
        dx = in_place(dy, value, b)
        b.emit(kernel, flops, dy=dy.buffer, dx=dx, count=value.floats, **saved)
        return Gradient(dx, masked=dy.masked and value.rectified)

    return backward
