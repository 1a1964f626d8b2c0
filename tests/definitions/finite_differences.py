"""A layer's backward against central finite differences, in float64: every element, see foveal.testing.differences."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.layers import Context, Layer
from foveal.testing.differences import distinct, wrong_derivatives

__all__ = ["check_gradients", "distinct", "draw_params"]
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
        wrong = list(wrong_derivatives(lambda: float((forward()[0] * r).sum()), value, gradient))
        assert not wrong, f"d{name} {wrong[0]}"
