"""A layer's backward against central finite differences, in float64.

With L = Σ y · r for a fixed random r, the gradient of L is backward(r). Each derivative is (L(v + h) - L(v - h)) / 2h:
its error is about h² from the third derivative and eps / h from rounding, so h = 1e-5 leaves about 1e-10, and a wrong
term of a backward is wrong by far more than TOLERANCE.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.layers import Context, Layer

STEP, TOLERANCE = 1e-5, 1e-7
Tensor = NDArray[np.float64]


def draw_params(layer: Layer, in_shape: tuple[int, ...], seed: int = 1) -> dict[str, Tensor]:
    """Random values for every slot of the layer; running variances are positive."""
    random = np.random.default_rng(seed)
    params = {slot.name: random.standard_normal(slot.shape) for slot in layer.param_slots(in_shape)}
    if "running_var" in params:
        params["running_var"] = 0.5 + params["running_var"] ** 2
    return params


def check_gradients(layer: Layer, x: Tensor, ctx: Context | None = None) -> None:
    """Compare dx and the gradient of every trainable parameter, element by element."""
    ctx = ctx or Context(training=True)
    params = draw_params(layer, x.shape[1:])
    kinds = {slot.name: slot.kind for slot in layer.param_slots(x.shape[1:])}

    def forward() -> tuple[Tensor, Any]:  # on copies of the running statistics, which a forward in training changes
        copies = {name: value if kinds[name] == "trainable" else value.copy() for name, value in params.items()}
        return layer.forward(x, copies, ctx)

    y, saved = forward()
    assert y.shape == (len(x), *layer.out_shape(x.shape[1:]))
    r = np.random.default_rng(2).standard_normal(y.shape)
    dx, dparams = layer.backward(r, saved, params, ctx)
    assert set(dparams) == {name for name, kind in kinds.items() if kind == "trainable"}
    for name, value, gradient in (("x", x, dx), *((name, params[name], dparams[name]) for name in dparams)):
        assert gradient.shape == value.shape
        assert gradient.dtype == np.float64
        measured = np.empty_like(value)
        for at in np.ndindex(value.shape):
            kept, sums = value[at], []
            for shift in (STEP, -STEP):
                value[at] = kept + shift
                sums.append(float((forward()[0] * r).sum()))
            value[at] = kept
            measured[at] = (sums[0] - sums[1]) / (2 * STEP)
        worst = np.unravel_index(np.abs(measured - gradient).argmax(), value.shape)
        scale = 1 + np.abs(measured).max()
        assert np.abs(measured - gradient).max() <= TOLERANCE * scale, (
            f"d{name}{[int(i) for i in worst]}: backward {gradient[worst]}, finite difference {measured[worst]}"
        )


def distinct(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """Values at least 0.01 apart, and as far from 0: no maximum and no ReLU changes its mind within one STEP."""
    count = int(np.prod(shape))
    return (np.random.default_rng(seed).permutation(count).reshape(shape) - count // 2 + 0.5) * 0.02
