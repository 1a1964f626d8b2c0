"""Layers that are not foveal's own, between native ones."""

from typing import Any

import numpy as np
import pytest
from small_plans import BATCH, SHAPE, Scale, agree, broken, images

import foveal as fv
from foveal.layers.base import LayerRandom


@fv.layer
class OwnConv(fv.Conv2d):
    """A layer made of one of foveal's: its own definition counts, in Python."""

    def forward(self, x: Any, params: Any, ctx: Any) -> Any:
        y, saved = super().forward(x, params, ctx)
        return y - 1, saved


@fv.layer
class Leaky(fv.ReLU):
    """A ReLU that lets a tenth of the negative through."""

    def forward(self, x: Any, params: Any, ctx: Any) -> Any:
        return np.where(x > 0, x, x / 10), x

    def backward(self, dy: Any, saved: Any, params: Any, ctx: Any) -> Any:
        return np.where(saved > 0, dy, dy / 10), {}


def test_a_layer_of_ones_own_trains_in_the_middle_of_native_ones() -> None:
    net = fv.Sequential(
        fv.Conv2d(20, 3, padding=1, bias=False), fv.BatchNorm(), fv.ReLU(), Scale(), fv.Conv2d(16, 3), fv.ReLU(),
        fv.Flatten(), fv.Dense(3),
    )  # fmt: skip
    plan = agree(net)
    table = str(plan)
    assert "Scale.forward" in table
    assert table.count("python") == 2
    assert (plan.params["3.c"] == 0.25).all(), "frozen parameters stay as they are"
    assert (plan.params["3.a"] != 1).any()


def test_layers_of_ones_own_in_residual_blocks() -> None:
    conv = fv.Conv2d(16, 3, padding=1)
    net = fv.Sequential(
        conv, fv.ReLU(), fv.Residual(fv.Sequential(conv, Scale(), fv.ReLU())), fv.ReLU(),
        fv.Residual(Scale(), Scale()), fv.Residual(fv.Sequential(Leaky(), conv), fv.Conv2d(16, 1)), fv.ReLU(),
        fv.Flatten(), fv.Dense(3),
    )  # fmt: skip
    plan = agree(net)
    lines = str(plan).splitlines()
    assert [line.split()[1:4] for line in lines if "residual_backward" in line] == [
        [place, "Residual", "residual_backward"] for place in ("5", "4", "2")
    ]
    assert sum("python" in line for line in lines) == 8
    assert (plan.params["2.body.1.c"] == 0.25).all()
    assert (plan.params["4.body.0.a"] == plan.params["4.shortcut.0.a"]).all(), "both see the same x and dy"


def test_residual_blocks_by_their_definition_too() -> None:
    agree(fv.models.resnet(3, width=0.5), (3, 12, 12), lr=0.002)  # deep: larger steps multiply rounding errors
    without = fv.models.resnet(3, width=0.5, batch_norm=False, head="fc")
    agree(without, (1, 9, 9), lr=0.02)  # with more its loss rises at first
    flat = fv.Sequential(fv.Flatten(), fv.Residual(fv.Sequential(fv.Dense(192), fv.GELU())), fv.ReLU(), fv.Dense(3))
    agree(flat)
    agree(fv.Sequential(fv.Residual(fv.Tanh(), fv.BatchNorm()), fv.Flatten(), fv.Dense(3)))


def test_initial_weights_do_not_depend_on_where_a_layer_stands() -> None:
    conv, dense = fv.Conv2d(16, 3, padding=1), fv.Dense(3)
    flat = fv.Plan(fv.Sequential(conv, conv, conv, conv, fv.Flatten(), dense), SHAPE, BATCH, seed=5).params
    body = fv.Sequential(fv.BatchNorm(), conv, fv.ReLU(), fv.Dropout(0.5), conv)
    block = fv.Residual(body, fv.Sequential(conv, fv.BatchNorm()))
    nested = fv.Plan(fv.Sequential(conv, block, fv.Flatten(), dense), SHAPE, BATCH, seed=5).params
    for place, other in (("0", "0"), ("1.body.1", "1"), ("1.body.4", "2"), ("1.shortcut.0", "3"), ("3", "5")):
        assert (nested[f"{place}.weight"] == flat[f"{other}.weight"]).all()
    assert {name.rsplit(".", 1)[0] for name in nested} == {
        "0", "1.body.0", "1.body.1", "1.body.4", "1.shortcut.0", "1.shortcut.1", "3",
    }  # fmt: skip


@pytest.mark.parametrize(
    "layers",
    [
        (OwnConv(6, 3), fv.ReLU()),
        (fv.Conv2d(6, 3), Leaky()),
        (fv.Conv2d(6, 3), fv.ReLU(), fv.Dropout(0.3), Scale()),
    ],
    ids=["own_before_relu", "own_relu", "own_last"],
)
def test_a_layer_made_of_another_is_not_taken_for_it(layers: tuple[fv.Layer, ...]) -> None:
    agree(fv.Sequential(*layers, fv.Flatten(), fv.Dense(3)))


def test_max_pooling_over_more_than_a_byte_counts() -> None:
    plan = agree(fv.Sequential(fv.Conv2d(4, 1), fv.MaxPool2d(17), fv.Flatten(), fv.Dense(3)), (1, 17, 17))
    assert "MaxPool2d.forward" in str(plan)
    assert "max_pool_forward" in str(
        fv.Plan(fv.Sequential(fv.MaxPool2d(16), fv.Flatten(), fv.Dense(3)), (1, 16, 16), 2)
    )


@pytest.mark.parametrize(
    ("methods", "words"),
    [
        ({"forward": lambda s, x, p, c: (x[:-1], x)}, r"layer 0 Broken: forward gave y of shape \(11, 3, 8, 8\)"),
        ({"forward": lambda s, x, p, c: (x.transpose(0, 2, 3, 1), x)}, r"forward gave y of shape \(12, 8, 8, 3\)"),
        ({"backward": lambda s, dy, x, p, c: (dy, {})}, "layer 0 Broken: backward gave no gradient of a"),
        ({"backward": lambda s, dy, x, p, c: (dy, {"a": np.ones(1)})}, r"gave the gradient of a of shape \(1,\)"),
        ({"out_shape": lambda s, shape: (8, 4)}, r"Broken.out_shape must give \(C, H, W\) or \(F,\), not \(8, 4\)"),
    ],
    ids=["images_missing", "axes_swapped", "gradient_missing", "gradient_of_another_shape", "two_axes"],
)
def test_what_a_layer_of_ones_own_returns_is_checked(methods: dict[str, Any], words: str) -> None:
    net = fv.Sequential(broken(**methods), fv.Flatten(), fv.Dense(3))

    def train() -> None:
        fv.Plan(net, SHAPE, BATCH, fv.SGD()).train_step(*images(), lr=0.1)

    with pytest.raises(fv.ShapeError, match=words):
        train()


def test_the_gradient_of_its_input_is_checked_too() -> None:
    layer = broken(backward=lambda s, dy, x, p, c: (dy[:, :1], {"a": np.ones((4, 1, 1))}))
    net = fv.Sequential(fv.Conv2d(4, 3), layer, fv.Flatten(), fv.Dense(3))
    with pytest.raises(fv.ShapeError, match=r"layer 1 Broken: backward gave dx of shape \(12, 1, 6, 6\)"):
        fv.Plan(net, SHAPE, BATCH, fv.SGD()).train_step(*images(), lr=0.1)


def test_random_numbers_of_ones_own_layer_are_not_those_of_dropout() -> None:
    draws = [LayerRandom(1, 2, 3, 0, kind).uniform((2, 16, 3, 3)) for kind in ("Dropout", "Noise", "Other")]
    assert all((a != b).mean() > 0.99 for a, b in ((draws[0], draws[1]), (draws[1], draws[2])))
