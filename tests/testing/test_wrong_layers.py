"""A layer that does something wrong fails the test that is named after it, with words that say what."""

import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import foveal as fv
from foveal.errors import ShapeError
from foveal.params import ParamSlot, ones
from foveal.testing import LayerConformance

SHAPE = (3, 4, 5)


class Right(fv.Layer):
    """y = a tanh(x), a one for each channel: passes, until a method is replaced."""

    def param_slots(self, in_shape: tuple[int, ...]) -> Iterator[ParamSlot]:
        yield ParamSlot("a", (in_shape[0], 1, 1), init=ones)

    def forward(self, x: Any, params: Any, ctx: Any) -> Any:
        t = np.tanh(x)
        return params["a"] * t, t

    def backward(self, dy: Any, saved: Any, params: Any, ctx: Any) -> Any:
        return params["a"] * dy * (1 - saved**2), {"a": (dy * saved).sum(axis=(0, 2, 3))[:, None, None]}


def made(name: str, **methods: Any) -> fv.Layer:
    """An instance of a registered layer that is Right but for these methods."""
    made_class = fv.layer(type(name, (Right,), {"__module__": __name__, **methods}))
    globals()[name] = made_class  # pickle looks for it here
    return made_class()


def right(x: Any, params: Any, ctx: Any) -> Any:
    return Right.forward(None, x, params, ctx)  # type: ignore[arg-type]


def right_backward(dy: Any, saved: Any, params: Any, ctx: Any) -> Any:
    return Right.backward(None, dy, saved, params, ctx)  # type: ignore[arg-type]


def failures(layer: fv.Layer, **more: Any) -> dict[str, str]:
    """The first words of every test that fails, by its name."""
    case = type("Case", (LayerConformance,), {"layer": layer, "in_shape": SHAPE, **more})()
    found = {}
    for name in dir(case):
        if name.startswith("test_"):
            try:
                getattr(case, name)()
            except Exception as error:
                found[name] = f"{type(error).__name__}: {error}"
    return found


def test_the_right_layer_passes() -> None:
    assert failures(made("RightOne")) == {}


# ---- wrong in one thing each


def forgets_the_square(self: Any, dy: Any, saved: Any, params: Any, ctx: Any) -> Any:
    _, dparams = right_backward(dy, saved, params, ctx)
    return params["a"] * dy * (1 - saved), dparams


def means_instead_of_sums(self: Any, dy: Any, saved: Any, params: Any, ctx: Any) -> Any:
    return right_backward(dy, saved, params, ctx)[0], {"a": (dy * saved).mean(axis=(0, 2, 3))[:, None, None]}


def one_corner_is_wrong(self: Any, dy: Any, saved: Any, params: Any, ctx: Any) -> Any:
    dx, dparams = right_backward(dy, saved, params, ctx)
    dx[-1, -1, -1, -1] *= 1.001
    return dx, dparams


def no_gradient_of_a(self: Any, dy: Any, saved: Any, params: Any, ctx: Any) -> Any:
    return right_backward(dy, saved, params, ctx)[0], {}


def gradient_of_b(self: Any, dy: Any, saved: Any, params: Any, ctx: Any) -> Any:
    dx, dparams = right_backward(dy, saved, params, ctx)
    return dx, {**dparams, "b": np.zeros(3, dx.dtype)}


def flat_gradient_of_a(self: Any, dy: Any, saved: Any, params: Any, ctx: Any) -> Any:
    dx, dparams = right_backward(dy, saved, params, ctx)
    return dx, {"a": dparams["a"].reshape(-1)}


def only_right_in_training(self: Any, dy: Any, saved: Any, params: Any, ctx: Any) -> Any:
    dx, dparams = right_backward(dy, saved, params, ctx)
    return (dx if ctx.training else 0 * dx), dparams


def changes_x(self: Any, x: Any, params: Any, ctx: Any) -> Any:
    y = right(x, params, ctx)
    x *= 2
    return y


def changes_dy(self: Any, dy: Any, saved: Any, params: Any, ctx: Any) -> Any:
    result = right_backward(dy, saved, params, ctx)
    dy[:] = 0
    return result


def changes_a_in_forward(self: Any, x: Any, params: Any, ctx: Any) -> Any:
    y = right(x, params, ctx)
    params["a"] += 1
    return y


def changes_a_in_backward(self: Any, dy: Any, saved: Any, params: Any, ctx: Any) -> Any:
    result = right_backward(dy, saved, params, ctx)
    params["a"] *= 0.5
    return result


def leaks_float64(self: Any, x: Any, params: Any, ctx: Any) -> Any:
    y, saved = right(x, params, ctx)
    return y * np.ones(5), saved


def leaks_float64_back(self: Any, dy: Any, saved: Any, params: Any, ctx: Any) -> Any:
    dx, dparams = right_backward(dy, saved, params, ctx)
    return dx, {"a": dparams["a"].astype(np.float64)}


def narrows_to_float32(self: Any, x: Any, params: Any, ctx: Any) -> Any:
    y, saved = right(x, params, ctx)
    return y.astype(np.float32), saved


def subtracts_the_batch_mean(self: Any, x: Any, params: Any, ctx: Any) -> Any:
    return right(x - x.mean(axis=0), params, ctx)


def of_the_whole_batch(self: Any, dy: Any, saved: Any, params: Any, ctx: Any) -> Any:
    dx, dparams = right_backward(dy, saved, params, ctx)
    return dx - dx.mean(axis=0), dparams


def divides_by_the_count(self: Any, x: Any, params: Any, ctx: Any) -> Any:
    y, saved = right(x, params, ctx)
    return y / len(x), saved / len(x)


def draws_from_numpy(self: Any, x: Any, params: Any, ctx: Any) -> Any:
    return right(x + np.random.standard_normal(x.shape).astype(x.dtype), params, ctx)


def gives_half_the_rows(self: Any, x: Any, params: Any, ctx: Any) -> Any:
    y, saved = right(x, params, ctx)
    return y[:, :, ::2], saved


def gives_y_alone(self: Any, x: Any, params: Any, ctx: Any) -> Any:
    return right(x, params, ctx)[0]


def gives_infinity(self: Any, x: Any, params: Any, ctx: Any) -> Any:
    y, saved = right(x, params, ctx)
    return y + np.inf, saved


def a_list(self: Any, in_shape: Any) -> Any:
    return list(in_shape)


def takes_images_only(self: Any, in_shape: Any) -> Any:
    channels, height, width = in_shape
    return (channels, height, width)


def two_of_one_name(self: Any, in_shape: Any) -> Any:
    yield ParamSlot("a", (in_shape[0], 1, 1), init=ones)
    yield ParamSlot("a", (in_shape[0], 1, 1))


def a_shape_of_fractions(self: Any, in_shape: Any) -> Any:
    yield ParamSlot("a", (in_shape[0] / 1, 1, 1), init=ones)  # type: ignore[arg-type]


def a_name_with_a_space(self: Any, in_shape: Any) -> Any:
    yield ParamSlot("a one", (in_shape[0], 1, 1), init=ones)


def flops_of_a_half(self: Any, in_shape: Any) -> Any:
    return math.prod(in_shape) / 2


GRADIENT, BATCH = "test_backward_is_the_derivative_of_forward", "test_an_image_does_not_depend_on_its_batch"
UNCHANGED, FLOATS, SHAPES = (
    "test_nothing_given_is_changed",
    "test_float32_stays_float32",
    "test_out_shape_is_that_of_forward",
)
SLOTS, AGAIN, REFUSES = "test_param_slots_are_plain", "test_the_same_again", "test_out_shape_refuses_with_a_shape_error"

WRONG: list[tuple[str, Callable[..., Any], str, str]] = [
    ("backward", forgets_the_square, GRADIENT, r"gradient of x in training: at \[\d, \d, \d, \d\] backward says"),
    ("backward", means_instead_of_sums, GRADIENT, r"gradient of a in training: at \[\d, 0, 0\] backward says"),
    ("backward", one_corner_is_wrong, GRADIENT, r"gradient of x in training: at \[3, 2, 3, 4\] backward says"),
    ("backward", no_gradient_of_a, GRADIENT, "backward in training gives no gradient of a"),
    ("backward", gradient_of_b, GRADIENT, "gives a gradient of b, which is no slot"),
    ("backward", flat_gradient_of_a, GRADIENT, r"gradient of a in training must have shape \(3, 1, 1\), not \(3,\)"),
    ("backward", only_right_in_training, GRADIENT, "gradient of x in inference"),
    ("forward", changes_x, UNCHANGED, "forward in training changes x"),
    ("backward", changes_dy, UNCHANGED, "backward in training changes dy"),
    ("forward", changes_a_in_forward, UNCHANGED, "forward in training changes a"),
    ("backward", changes_a_in_backward, UNCHANGED, "backward in training changes a"),
    ("forward", leaks_float64, FLOATS, "y in training is float64 where all else is float32"),
    ("backward", leaks_float64_back, FLOATS, "gradient of a in training is float64 where all else is float32"),
    ("forward", narrows_to_float32, FLOATS, "y in training is float32 where all else is float64"),
    ("forward", subtracts_the_batch_mean, BATCH, "in training an image's y or dx depends on the other images"),
    ("backward", of_the_whole_batch, BATCH, "in training an image's y or dx depends on the other images"),
    ("forward", divides_by_the_count, BATCH, "in training y depends on the size of the batch"),
    ("forward", draws_from_numpy, AGAIN, "y in training differs from call to call"),
    ("forward", gives_half_the_rows, SHAPES, r"out_shape promises y \(4, 3, 4, 5\), forward in training gives"),
    ("forward", gives_y_alone, SHAPES, "forward must return"),
    ("forward", gives_infinity, SHAPES, "numbers that are not finite"),
    ("out_shape", a_list, SHAPES, r"must give \(C, H, W\) or \(F,\) as integers above 0, not \[3, 4, 5\]"),
    ("out_shape", takes_images_only, REFUSES, r"out_shape\(\(7,\)\) raises ValueError; raise foveal.ShapeError"),
    ("param_slots", two_of_one_name, SLOTS, "names one slot twice: a, a"),
    ("param_slots", a_shape_of_fractions, SLOTS, r"a must have integers above 0 for a shape, not \(3.0, 1, 1\)"),
    ("param_slots", a_name_with_a_space, SLOTS, "'a one' is no name"),
    ("flops", flops_of_a_half, "test_flops_are_a_count", "an integer of at least 0, not 30.0"),
]


@pytest.mark.parametrize(("method", "function", "test", "words"), WRONG, ids=[row[1].__name__ for row in WRONG])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_wrong_layer_fails(method: str, function: Callable[..., Any], test: str, words: str) -> None:
    layer = made(f"Wrong_{function.__name__}", **{method: function})
    found = failures(layer)
    assert test in found
    assert re.search(words, found[test]), found[test]


# ---- running statistics


class Counts(fv.Layer):
    """y = x - m, m the running mean of all x so far."""

    def param_slots(self, in_shape: tuple[int, ...]) -> Iterator[ParamSlot]:
        yield ParamSlot("m", (1,), kind="running")

    def forward(self, x: Any, params: Any, ctx: Any) -> Any:
        y = x - params["m"]
        if ctx.training:
            params["m"][:] = 0.9 * params["m"] + 0.1 * x.mean()
        return y, None

    def backward(self, dy: Any, saved: Any, params: Any, ctx: Any) -> Any:
        return dy, {}


def counts_always(self: Any, x: Any, params: Any, ctx: Any) -> Any:
    return Counts.forward(self, x, params, fv.Context(training=True))


def rebinds(self: Any, x: Any, params: Any, ctx: Any) -> Any:
    y = x - params["m"]
    if ctx.training:
        params["m"] = 0.9 * params["m"] + 0.1 * x.mean()
    return y, None


def test_running_statistics_change_in_place_and_in_training_only() -> None:
    def failing(name: str, **methods: Any) -> dict[str, str]:
        cls = fv.layer(type(name, (Counts,), {"__module__": __name__, **methods}))
        globals()[name] = cls
        return failures(cls())

    assert failing("CountsRight") == {}
    assert "forward in inference changes m" in failing("CountsAlways", forward=counts_always)[UNCHANGED]
    assert "puts another array in the place of m" in failing("CountsElsewhere", forward=rebinds)[UNCHANGED]


# ---- the spec, and the declaration


def test_a_class_without_the_decorator_fails() -> None:
    found = failures(type("Bare", (Right,), {"__module__": __name__})())
    assert "has no @foveal.layer above its class" in found["test_the_spec_is_a_value"]


def test_a_spec_that_json_cannot_hold_fails() -> None:
    @fv.layer
    class Holder(Right):
        values: Any = (1.0, 2.0)

    globals()["Holder"] = Holder
    Holder.__qualname__ = "Holder"
    assert failures(Holder()) == {}
    found = failures(Holder(values=np.float32(3)))  # type: ignore[call-arg]
    assert "TypeError" in found["test_the_spec_is_a_value"]


def test_a_dependence_that_is_declared_must_be_there() -> None:
    found = failures(made("Independent"), depends_on_batch=True)
    assert found == {BATCH: found[BATCH]}
    assert "depends_on_batch is declared, but an image's output does not" in found[BATCH]


def test_a_layer_that_refuses_its_shape_is_not_blamed_for_others() -> None:
    def images_only(self: Any, in_shape: Any) -> Any:
        if len(in_shape) != 3:
            raise ShapeError(f"takes images, not {in_shape}")
        return in_shape

    assert failures(made("ImagesOnly", out_shape=images_only)) == {}
