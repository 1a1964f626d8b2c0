"""A small network's plan, images for it, and layers of one's own, also broken ones."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import foveal as fv
from foveal.kernels import available_isas
from foveal.params import Init, ones

ISA = next(isa for isa in available_isas() if isa not in ("baseline", "reference"))
SHAPE, BATCH = (3, 8, 8), 12


def images(count: int = BATCH, shape: tuple[int, int, int] = SHAPE) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(5)
    return random.standard_normal((count, *shape), np.float32), random.integers(0, 3, count)


def agree(net: fv.Sequential, shape: tuple[int, int, int] = SHAPE, lr: float = 0.05) -> fv.Plan:
    """Train natively and by the definitions; the losses and weights must agree. Returns the native plan."""
    x, y = images(shape=shape)
    plans = [fv.Plan(net, shape, BATCH, fv.Momentum(), seed=3, isa=isa) for isa in (ISA, "reference")]
    for _ in range(3):
        native, reference = (plan.train_step(x, y, lr=lr) for plan in plans)
        assert native == pytest.approx(reference, rel=1e-4)
    for name, value in plans[1].params.items():
        np.testing.assert_allclose(plans[0].params[name], value, rtol=1e-3, atol=1e-4, err_msg=name)
    np.testing.assert_allclose(plans[0].predict(x), plans[1].predict(x), rtol=1e-3, atol=1e-4)
    return plans[0]


def small_plan(batch: int = BATCH) -> fv.Plan:
    return fv.Plan(fv.Sequential(fv.Conv2d(4, 3), fv.Flatten(), fv.Dense(3)), SHAPE, batch, fv.SGD(), isa=ISA)


@fv.layer
class Scale(fv.Layer):
    """y = a x + c, a learnt, c frozen, one each for a channel."""

    def param_slots(self, in_shape: tuple[int, ...]) -> Iterator[fv.ParamSlot]:
        yield fv.ParamSlot("a", (in_shape[0], 1, 1), init=ones)
        yield fv.ParamSlot("c", (in_shape[0], 1, 1), init=Init(0.25), trainable=False)

    def forward(self, x: Any, params: Any, ctx: Any) -> Any:
        return params["a"] * x + params["c"], x

    def backward(self, dy: Any, saved: Any, params: Any, ctx: Any) -> Any:
        return params["a"] * dy, {"a": (dy * saved).sum(axis=(0, 2, 3))[:, None, None]}


def broken(**methods: Callable[..., Any]) -> fv.Layer:
    """A layer of one parameter, some of its methods replaced."""
    cls: Any = type("Broken", (Scale,), {**methods, "__module__": "tests"})
    fv.layers.base._KINDS.pop("Broken", None)
    made: fv.Layer = fv.layer(cls)()
    return made
