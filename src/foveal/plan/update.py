"""The update as steps: the optimizer over the prefix [decayed | not decayed] of the flat buffer."""

from foveal.kernels import REFERENCE
from foveal.optim import SGD, AdaGrad, Adam, AdamW, Momentum, Optimizer, RMSProp
from foveal.params import ParamLayout
from foveal.plan.program import Argument, Arrays, Buffer, Builder, RunInfo


def lower_update(optimizer: Optimizer, layout: ParamLayout, b: Builder) -> dict[str, Buffer]:
    """Emit the update; returns the buffers of the optimizer's state, each as long as the trainable prefix."""
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
