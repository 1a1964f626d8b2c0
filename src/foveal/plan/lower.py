"""Lowering: specs and an input shape → steps and buffers, forward, and the function that emits the backward steps.

A lowering is registered for a type of layer. It emits the forward steps and returns the output's `Value` and a function
that, given the output's `Gradient`, emits the backward steps and returns the input's (None if nobody needs it). A layer
without a lowering, and every layer under `isa="reference"`, runs its NumPy definition as a Python step.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from foveal.errors import ShapeError
from foveal.kernels import REFERENCE
from foveal.layers import BatchNorm, MaxPool2d, Residual, Sequential
from foveal.layers.base import Context, Layer, LayerRandom, Shape
from foveal.params import plain_storage
from foveal.plan.fuse import groups
from foveal.plan.program import Arrays, Buffer, Builder, Gradient, RunInfo, Value
from foveal.shapes import padded_channels

Backward = Callable[[Gradient], Gradient | None]
Lowering = Callable[[Any, Value, bool, Builder], tuple[Value, Backward]]
_LOWERINGS: dict[type[Layer], Lowering] = {}
_NORMALISING: set[type[Layer]] = set()  # whose lowerings know what to do with a value whose batch norm is to come
F = TypeVar("F", bound=Lowering)


def lowers(kind: type[Layer], *, normalises: bool = False) -> Callable[[F], F]:
    """Register a native lowering (spec, input, fused ReLU, builder) → (output, backward) for a type of layer.

    normalises: it is also given inputs to which batch norm is still to be applied (`Value.norm`).
    """

    def register(function: F) -> F:
        _LOWERINGS[kind] = function
        if normalises:
            _NORMALISING.add(kind)
        return function

    return register


def plain(x: Value) -> Value:
    """The value itself, batch norm applied, of which nothing more can be asked."""
    return replace(x.norm.plain() if x.norm else x, defers=False, pool=None)


def lower(spec: Layer, x: Value, b: Builder, *, relu: bool = False) -> tuple[Value, Backward]:
    """Lower one layer, natively where there is a lowering for it."""
    if x.norm and type(spec) not in _NORMALISING:
        x = plain(x)
    if type(spec) is not Sequential:
        x = replace(x, defers=x.defers and type(spec) is BatchNorm, pool=x.pool if type(spec) is MaxPool2d else None)
    if isinstance(spec, BatchNorm) and b.training and math.prod(x.shape[1:]) == 1:
        b.least_batch = 2  # one value a channel in each image, and one alone has no variance
    lowering = _LOWERINGS.get(type(spec))
    if lowering is None or (b.isa == REFERENCE and type(spec) not in (Sequential, Residual)):
        assert not relu, f"a ReLU was fused into {spec.kind}, which has no native step"
        return lower_python(spec, x, b)
    return lowering(spec, x, relu, b)


@lowers(Sequential, normalises=True)
def lower_sequential(spec: Sequential, x: Value, relu: bool, b: Builder) -> tuple[Value, Backward]:
    tape: list[tuple[str, Backward]] = []
    for position, layer, with_relu in groups(spec.layers, fuse=b.fuse):
        with b.scope(str(position), layer, x.shape):
            x, backward = lower(layer, x, b, relu=with_relu)
            tape.append((b.label, backward))

    def back(dy: Gradient) -> Gradient | None:
        gradient: Gradient | None = dy
        for label, backward in reversed(tape):
            if gradient is None:
                return None
            with b.backward_of(label):
                gradient = backward(gradient)
        return gradient

    return x, back


def image_value(buffer: Buffer, shape: Shape, **flags: Any) -> Value:
    """A value (C, H, W) or (F,) with channels padded to 16."""
    channels, height, width = shape if len(shape) == 3 else (shape[0], 1, 1)
    return Value(buffer, shape, height, width, channels, padded_channels(channels), **flags)


def new_value(b: Builder, name: str, shape: Shape, **flags: Any) -> Value:
    """A value of this shape in a new buffer of the arena."""
    value = image_value(b.buffer(name), shape, **flags)
    value.buffer.per_image = value.floats
    return value


def lower_python(spec: Layer, x: Value, b: Builder) -> tuple[Value, Backward]:
    """Run a layer's own definition: copy in (N, C, H, W) or (N, F), call it, copy out."""
    out = new_value(b, "y", _out_shape(spec, x.shape))
    names = {slot.name: slot for slot in spec.param_slots(x.shape)}
    params = {name: b.parameter(name, plain_storage(slot.shape)) for name, slot in names.items()}
    learnt = {name: slot for name, slot in names.items() if slot.kind == "trainable" and slot.trainable}
    gradients = {name: b.gradient_of(params[name]) for name in learnt}
    k, training, where = b.k, b.training, b.label
    kept: list[Any] = [None]

    def context(run: RunInfo) -> Context:
        return Context(training, LayerRandom(run.seed, run.epoch, run.step, k, spec.kind), run.step)

    def arrays(at: Arrays) -> dict[str, np.ndarray]:
        return {name: at(buffer)[: names[name].size].reshape(names[name].shape) for name, buffer in params.items()}

    def forward(at: Arrays, run: RunInfo) -> None:
        y, saved = spec.forward(logical(x, at(x.buffer), run.batch), arrays(at), context(run))
        store(out, at(out.buffer), _checked(y, (run.batch, *out.shape), f"layer {where}: forward gave y"))
        if training:
            kept[0] = saved

    flops = spec.flops(x.shape)
    b.python(f"{spec.kind}.forward", forward, [x.buffer, out.buffer, *params.values()], flops=flops)

    def backward(dy: Gradient) -> Gradient | None:
        dx = b.buffer("dx", x.floats) if x.needs_gradient else None

        def run_backward(at: Arrays, run: RunInfo) -> None:
            gradient, dparams = spec.backward(logical(out, at(dy.buffer), run.batch), kept[0], arrays(at), context(run))
            kept[0] = None
            missing = [name for name in gradients if name not in dparams]
            if missing:
                raise ShapeError(f"layer {where}: backward gave no gradient of {', '.join(missing)}")
            for name, buffer in gradients.items():
                what = f"layer {where}: backward gave the gradient of {name}"
                at(buffer)[: names[name].size] = _checked(dparams[name], names[name].shape, what).reshape(-1)
            if dx is not None:
                store(x, at(dx), _checked(gradient, (run.batch, *x.shape), f"layer {where}: backward gave dx"))

        touched = [dy.buffer, x.buffer, *params.values(), *gradients.values(), *([dx] if dx else [])]
        b.python(f"{spec.kind}.backward", run_backward, touched, flops=2 * flops)
        return Gradient(dx) if dx else None

    return out, backward


def _out_shape(spec: Layer, in_shape: Shape) -> Shape:
    shape = tuple(spec.out_shape(in_shape))
    if len(shape) not in (1, 3) or min(shape) < 1:
        raise ShapeError(f"{spec.kind}.out_shape must give (C, H, W) or (F,), not {shape}")
    return shape


def _checked(array: Any, shape: Shape, what: str) -> np.ndarray:
    """What a definition returned, if it has the shape it must have."""
    values = np.asarray(array)
    if values.shape != shape or values.dtype.kind not in "fiub":
        raise ShapeError(f"{what} of shape {values.shape} and type {values.dtype}; it must be real and {shape}")
    return values


def logical(value: Value, stored: np.ndarray, batch: int) -> np.ndarray:
    """A copy of the first `batch` images of a stored value as float32 (N, C, H, W) or (N, F)."""
    images = stored[: batch * value.floats].reshape(batch, value.height, value.width, value.stored)
    return np.ascontiguousarray(images[..., : value.channels].transpose(0, 3, 1, 2)).reshape(batch, *value.shape)


def store(value: Value, stored: np.ndarray, array: np.ndarray) -> None:
    """The inverse of `logical`; the padding channels become zero."""
    batch = len(array)
    images = stored[: batch * value.floats].reshape(batch, value.height, value.width, value.stored)
    images[..., : value.channels] = array.reshape(batch, value.channels, value.height, value.width).transpose(
        0, 2, 3, 1
    )
    images[..., value.channels :] = 0


def reordered(given: Buffer, stored: Value, wanted: Value, b: Builder) -> Buffer:
    """What is stored as `stored` is, stored as `wanted` is: the two differ where only one was flattened."""
    if b.isa == REFERENCE or _layout(stored) == _layout(wanted):
        return given
    index = np.full(wanted.floats, -1, np.int32)
    index[wanted.places()] = stored.places()
    y = b.buffer("reordered", wanted.floats)
    b.emit(
        "reorder_values", x=given, index=b.fixed("index", index), y=y, inputs=stored.floats, outputs=wanted.floats,
    )  # fmt: skip
    return y


def _layout(value: Value) -> tuple[int, int, int]:
    return value.height, value.width, value.stored
