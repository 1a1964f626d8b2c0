"""A small network around one layer, and its definition run layer by layer in float64."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.layers import Context, Conv2d, Dense, Flatten, Layer, LayerRandom, Sequential, SoftmaxCrossEntropy
from foveal.layers.base import Shape, Tensor

CLASSES = 3


def network_around(layer: Layer, in_shape: Shape) -> tuple[Sequential, tuple[int, int, int]]:
    """(network, shape of its images): the layer has weights before it, so that it must give dx, and classes behind it.

    No bias before it: behind one, batch normalisation has nothing but rounding for a gradient.
    """
    before: tuple[Layer, ...]
    if len(in_shape) == 3:
        before, image = (Conv2d(in_shape[0], 1, bias=False),), (3, in_shape[1], in_shape[2])
    else:
        before, image = (Flatten(), Dense(in_shape[0], bias=False)), (1, 1, in_shape[0])
    flatten = (Flatten(),) if len(layer.out_shape(in_shape)) == 3 else ()
    return Sequential(*before, layer, *flatten, Dense(CLASSES)), image


@dataclass(frozen=True)
class Expected:
    """What the definitions say of one step: the loss, gradients and running statistics by full name."""

    loss: float
    gradients: Mapping[str, Tensor]
    running: Mapping[str, Tensor]


def definition_step(
    net: Sequential, params: Mapping[str, Tensor], x: Tensor, labels: NDArray[np.int64], seed: int
) -> Expected:
    """Forward, loss and backward of the first training step (epoch 0, step 0) in float64."""
    tape: list[tuple[str, Layer, dict[str, Tensor], Any, Context]] = []
    kinds: dict[str, int] = {}
    running: dict[str, Tensor] = {}
    value: Tensor = x.astype(np.float64)
    for place, layer in enumerate(net.layers):
        own = _own(params, place)
        k = kinds[layer.kind] = kinds.get(layer.kind, -1) + 1
        ctx = Context(True, LayerRandom(seed, 0, 0, k, layer.kind), 0)
        slots = list(layer.param_slots(value.shape[1:]))
        value, saved = layer.forward(value, own, ctx)
        running |= {f"{place}.{slot.name}": own[slot.name] for slot in slots if slot.kind == "running"}
        tape.append((f"{place}.", layer, own, saved, ctx))
    loss, saved = SoftmaxCrossEntropy().forward(value, labels)
    gradient = SoftmaxCrossEntropy().backward(saved, labels)
    gradients: dict[str, Tensor] = {}
    for prefix, layer, own, saved, ctx in reversed(tape):
        gradient, dparams = layer.backward(gradient, saved, own, ctx)
        gradients |= {prefix + name: array for name, array in dparams.items()}
    return Expected(loss, gradients, running)


def definition_logits(net: Sequential, params: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """Inference in float64."""
    value: Tensor = x.astype(np.float64)
    for place, layer in enumerate(net.layers):
        value, _ = layer.forward(value, _own(params, place), Context())
    return value


def _own(params: Mapping[str, Tensor], place: int) -> dict[str, Tensor]:
    """The parameters of one layer, by its own names for them, in float64."""
    prefix = f"{place}."
    return {name.removeprefix(prefix): v.astype(np.float64) for name, v in params.items() if name.startswith(prefix)}
