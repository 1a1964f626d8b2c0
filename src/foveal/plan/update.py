"""The update as steps: the optimizer over the prefix [decayed | not decayed] of the flat buffer, limits on norms."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveal.checks import LARGEST, real
from foveal.errors import UsageError
from foveal.kernels import REFERENCE
from foveal.optim import SGD, AdaGrad, Adam, AdamW, Momentum, Optimizer, RMSProp
from foveal.optim.clipping import clip_norm, limit_norms
from foveal.params import ParamLayout
from foveal.plan.program import Argument, Arrays, Buffer, Builder, PythonFunction, RunInfo
from foveal.shapes import padded_channels

PIECE = 1 << 14  # floats of one work item, native/kernels/parallel.inl.h


@dataclass(frozen=True)
class Limits:
    """clip_norm: of the whole gradient before the update; max_norm: of each unit's weights after it; None for neither.

    Raises UsageError for what is no positive number.
    """

    clip_norm: float | None = None
    max_norm: float | None = None

    def __post_init__(self) -> None:
        for name in ("clip_norm", "max_norm"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, real(value, name, above=0, high=LARGEST))


def lower_update(optimizer: Optimizer, layout: ParamLayout, b: Builder, limits: Limits) -> dict[str, Buffer]:
    """Emit the update; returns the buffers of the optimizer's state, each as long as the trainable prefix."""
    if limits.clip_norm is not None:
        _emit_clip(limits.clip_norm, layout, b)
    state = _emit_optimizer(optimizer, layout, b)
    if limits.max_norm is not None:
        _emit_limits(limits.max_norm, layout, b)
    return state


def _emit_clip(most: float, layout: ParamLayout, b: Builder) -> None:
    gradient = _slice("gradients", "gradients", 0, layout.trainable)
    if b.isa != REFERENCE:
        partial = Buffer("partial", constant=-(-layout.trainable // PIECE), dtype="float64")
        b.emit("clip_gradient", gradient=gradient, partial=partial, count=layout.trainable, most=most)
        return

    def clip(at: Arrays, run: RunInfo) -> None:
        clip_norm(at(gradient), most)

    b.python("clip_norm", clip, [gradient])


def _emit_limits(most: float, layout: ParamLayout, b: Builder) -> None:
    """For every weight that decays and has a unit for each of its first axis: not biases, nor batch norm's scale."""
    entries = [entry for entry in layout.entries.values() if entry.group == 0 and len(entry.slot.shape) > 1]
    if not entries:
        raise UsageError("max_norm would change nothing: no layer of this network has weights of several units")
    for entry in entries:
        size, index = entry.storage.size, entry.storage.index
        sets = entry.storage.panels if b.isa != REFERENCE else 0
        for n in range(sets):
            units = padded_channels(entry.slot.shape[0]) // sets
            at = entry.offset + n * (size // sets)
            weight = _slice("params", "weights", at, at + size // sets)
            b.emit("limit_norms", weight=weight, units=units, depth=size // sets // units, most=most)
        if not sets:
            weight = _slice("params", "weights", entry.offset, entry.offset + size)
            b.python("limit_norms", _limit_python(weight, index, most), [weight])


def _limit_python(weight: Buffer, index: NDArray[np.int64], most: float) -> PythonFunction:
    def limit(at: Arrays, run: RunInfo) -> None:
        logical = at(weight)[index]
        limit_norms(logical, most)
        at(weight)[index] = logical

    return limit


def _emit_optimizer(optimizer: Optimizer, layout: ParamLayout, b: Builder) -> dict[str, Buffer]:
    state = {name: Buffer(name, 0, layout.trainable, region="state") for name in optimizer.state}
    native = b.isa != REFERENCE and type(optimizer) in _KERNELS
    for start, end, decay in ((0, layout.decayed, optimizer.weight_decay), (layout.decayed, layout.trainable, 0.0)):
        if start == end:
            continue
        if native:
            _emit_native(optimizer, start, end, decay, state, b)
        else:
            _emit_python(optimizer, start, end, decay, state, b)
    return state


_KERNELS: dict[type[Optimizer], tuple[str, tuple[str, ...]]] = {
    SGD: ("sgd_update", ()),
    Momentum: ("momentum_update", ("momentum", "nesterov", "dampening")),
    AdaGrad: ("adagrad_update", ("eps",)),
    RMSProp: ("rmsprop_update", ("alpha", "eps")),
    Adam: ("adam_update", ("beta1", "beta2", "eps", "bias_correction")),
    AdamW: ("adamw_update", ("beta1", "beta2", "eps", "bias_correction")),
}


def _slice(region: str, name: str, start: int, end: int) -> Buffer:
    return Buffer(name, 0, end - start, region=region, offset=4 * start)  # type: ignore[arg-type]


def _emit_native(
    optimizer: Optimizer, start: int, end: int, decay: float, state: dict[str, Buffer], b: Builder
) -> None:
    kernel, settings = _KERNELS[type(optimizer)]
    args: dict[str, Argument] = {name: getattr(optimizer, name) for name in settings}
    args |= {name: _slice("state", name, start, end) for name in state}
    weight, gradient = _slice("params", "weights", start, end), _slice("gradients", "gradients", start, end)
    b.emit(kernel, weight=weight, gradient=gradient, count=end - start, weight_decay=decay, **args)


def _emit_python(
    optimizer: Optimizer, start: int, end: int, decay: float, state: dict[str, Buffer], b: Builder
) -> None:
    weight, gradient = _slice("params", "weights", start, end), _slice("gradients", "gradients", start, end)
    slices = {name: _slice("state", name, start, end) for name in state}

    def update(at: Arrays, run: RunInfo) -> None:
        w = at(weight)
        g = optimizer.decay(w, at(gradient), run.lr, decay)
        optimizer.update(w, g, {name: at(buffer) for name, buffer in slices.items()}, run.lr, run.update)

    b.python(f"{optimizer.name}.update", update, [weight, gradient, *slices.values()])
