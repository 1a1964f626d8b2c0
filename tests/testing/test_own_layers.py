"""foveal's own layers pass the tests that it gives to authors of layers."""

from typing import Any

import numpy as np
import pytest

import foveal as fv
from foveal.layers import base
from foveal.testing import LayerConformance

# (layer, in_shape, more attributes of the test class)
CASES: list[tuple[fv.Layer, tuple[int, ...], dict[str, Any]]] = [
    (fv.Conv2d(4, 3, padding="same"), (3, 6, 5), {}),
    (fv.Conv2d(2, (2, 3), stride=(2, 1), padding=(0, 1, 2, 0), bias=False), (2, 5, 4), {}),
    (fv.MaxPool2d(2), (3, 6, 4), {}),
    (fv.MaxPool2d(3, 2, padding=1, ceil_mode=True), (2, 6, 5), {}),
    (fv.AvgPool2d(2), (3, 4, 6), {}),
    (fv.AvgPool2d(3, 2, padding=1, ceil_mode=True, count_padding=True), (2, 6, 5), {}),
    (fv.GlobalAvgPool(), (3, 4, 5), {}),
    (fv.Dense(5), (7,), {}),
    (fv.Dense(1, bias=False), (3,), {}),
    (fv.Flatten(), (3, 4, 2), {}),
    (fv.BatchNorm(), (3, 4, 3), {"depends_on_batch": True}),
    (fv.BatchNorm(eps=0.1, momentum=0.5), (6,), {"depends_on_batch": True}),
    (fv.Dropout(0.4), (3, 4, 5), {}),
    (fv.Dropout(0.4), (9,), {}),
    (fv.ReLU(), (3, 4, 4), {}),
    (fv.ReLU(), (6,), {}),
    (fv.LeakyReLU(0.2), (3, 4, 4), {}),
    (fv.GELU(), (3, 4, 4), {}),
    (fv.Sigmoid(), (3, 4, 4), {}),
    (fv.Tanh(), (6,), {}),
    (fv.Sequential(fv.Conv2d(4, 3, 2), fv.Tanh(), fv.Flatten(), fv.Dense(5)), (3, 5, 4), {}),
    (fv.Residual(fv.Sequential(fv.Conv2d(3, 3, padding=1), fv.Tanh())), (3, 5, 4), {}),
    (fv.Residual(fv.Sequential(fv.Conv2d(4, 3, 2, 1), fv.Dropout(0.4)), fv.Conv2d(4, 1, 2)), (3, 5, 4), {}),
    (
        fv.Residual(
            fv.Sequential(fv.Conv2d(4, 1, bias=False), fv.BatchNorm(), fv.GELU()),
            fv.Sequential(fv.Conv2d(4, 1, bias=False), fv.BatchNorm()),
        ),
        (3, 4, 3),
        {"depends_on_batch": True},
    ),
    (fv.Residual(fv.Residual(fv.Dense(6), fv.Sigmoid())), (6,), {}),
]

for number, (layer, in_shape, more) in enumerate(CASES):
    name = f"Test{type(layer).__name__}{number}"
    globals()[name] = type(name, (LayerConformance,), {"layer": layer, "in_shape": in_shape, **more})


def test_every_layer_is_here() -> None:
    ours = {cls for cls in base._KINDS.values() if cls.__module__.startswith("foveal.")}
    assert ours == {type(layer) for layer, _, _ in CASES}


def test_other_frameworks_of_tests_run_it_too() -> None:
    """unittest: by deriving from TestCase as well."""
    import unittest

    case = type("TestReLU", (LayerConformance, unittest.TestCase), {"layer": fv.ReLU(), "in_shape": (2, 3, 3)})
    result = unittest.TestResult()
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(case)
    suite.run(result)
    assert suite.countTestCases() == result.testsRun == sum(name.startswith("test_") for name in dir(LayerConformance))
    assert result.wasSuccessful(), result.failures + result.errors


def test_it_needs_no_framework_of_tests() -> None:
    import subprocess
    import sys

    program = "import sys, foveal.testing; print([m for m in ('pytest', '_pytest', 'unittest') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_inputs_may_lie_as_they_like() -> None:
    class Turned(LayerConformance):
        layer = fv.Tanh()
        in_shape = (2, 3, 4)

        def make_inputs(self, count: int, seed: int = 0) -> Any:
            return np.asfortranarray(super().make_inputs(count, seed))

    Turned().test_backward_is_the_derivative_of_forward()
    Turned().test_nothing_given_is_changed()


@pytest.mark.parametrize("name", ["make_inputs", "make_params", "depends_on_batch", "batch", "layer", "in_shape"])
def test_what_a_subclass_may_set_is_said(name: str) -> None:
    assert name in (LayerConformance.__doc__ or "")
