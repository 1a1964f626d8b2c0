"""What layers compute, by hand: values, ties, divisors, running statistics, masks, and the type of the result."""

from typing import Any

import numpy as np
import pytest
from finite_differences import draw_params

from foveal.errors import ShapeError, UsageError
from foveal.layers import (
    GELU,
    AvgPool2d,
    BatchNorm,
    Context,
    Conv2d,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Layer,
    LayerRandom,
    LeakyReLU,
    MaxPool2d,
    ReLU,
    Residual,
    Sequential,
    Sigmoid,
    SoftmaxCrossEntropy,
    Tanh,
)
from foveal.params import ParamSlot

TRAIN, USE = Context(training=True), Context()


def image(*rows: list[float]) -> np.ndarray:
    return np.array([[rows]], np.float64)


def test_convolution_does_not_flip_the_kernel() -> None:
    x = image([0, 0, 0], [0, 1, 0], [0, 0, 0])
    weight = np.arange(9.0).reshape(1, 1, 3, 3)
    y, _ = Conv2d(1, 3, padding=1, bias=False).forward(x, {"weight": weight}, USE)
    assert y[0, 0].tolist() == weight[0, 0, ::-1, ::-1].tolist()  # an impulse shows the kernel turned round


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (Conv2d(3, 3, padding=1), (2, 2, 4, 5)),
        (Conv2d(2, (2, 3), stride=(2, 1), padding=(1, 0, 2, 1)), (1, 3, 5, 4)),
        (Conv2d(2, 2, stride=3), (2, 2, 7, 8)),
        (Conv2d(2, 5, padding="same"), (1, 2, 2, 3)),
        (Conv2d(2, (2, 3), stride=(2, 1), padding=(1, 0, 2, 1), dilation=(3, 2)), (1, 3, 5, 4)),
        (Conv2d(6, 2, stride=2, groups=2), (2, 4, 5, 4)),
        (Conv2d(6, 3, padding="same", dilation=2, groups=3), (1, 3, 4, 5)),
    ],
    ids=["same", "uneven", "stride_leaves_a_rest", "kernel_larger_than_image", "dilated", "groups", "multiplied"],
)
def test_convolution_is_the_sum_in_its_docstring(layer: Conv2d, shape: tuple[int, ...]) -> None:
    x, params = np.random.default_rng(0).standard_normal(shape), draw_params(layer, shape[1:])
    (top, _, left, _), (rows, columns) = layer.geometry(shape[1:])
    expected = np.zeros((shape[0], layer.filters, rows, columns))
    for n, o, y, c in np.ndindex(expected.shape):
        total = params["bias"][o]
        seen = shape[1] // layer.groups
        first = o // (layer.filters // layer.groups) * seen
        for i, kh, kw in np.ndindex(seen, *layer.kernel):
            h = y * layer.strides[0] + kh * layer.dilations[0] - top
            w = c * layer.strides[1] + kw * layer.dilations[1] - left
            if 0 <= h < shape[2] and 0 <= w < shape[3]:
                total += params["weight"][o, i, kh, kw] * x[n, first + i, h, w]
        expected[n, o, y, c] = total
    np.testing.assert_allclose(layer.forward(x, params, USE)[0], expected, rtol=1e-12, atol=1e-12)


def test_a_dilated_kernel_skips_pixels() -> None:
    x = np.arange(25.0).reshape(1, 1, 5, 5)
    y, _ = Conv2d(1, 2, dilation=3, bias=False).forward(x, {"weight": np.array([[[[1.0, 10], [100, 1000]]]])}, USE)
    assert y[0, 0, 0].tolist() == [0 + 30 + 1500 + 18000, 1 + 40 + 1600 + 19000]


def test_groups_see_their_own_channels() -> None:
    x = np.array([1.0, 10, 100, 1000]).reshape(1, 4, 1, 1)
    two, depthwise = np.array([[1.0, 2], [3, 4]]).reshape(2, 2, 1, 1), np.array([1.0, 2, 3, 4]).reshape(4, 1, 1, 1)
    assert Conv2d(2, 1, groups=2, bias=False).forward(x, {"weight": two}, USE)[0].ravel().tolist() == [21, 4300]
    alone = Conv2d(4, 1, groups=4, bias=False).forward(x, {"weight": depthwise}, USE)[0]
    assert alone.ravel().tolist() == [1, 20, 300, 4000]


def test_a_group_is_a_convolution_of_its_own() -> None:
    x, random = np.random.default_rng(0).standard_normal((2, 6, 5, 5)), np.random.default_rng(1)
    weight = random.standard_normal((4, 3, 3, 3))
    whole, _ = Conv2d(4, 3, padding=1, bias=False, groups=2).forward(x, {"weight": weight}, USE)
    for g in (0, 1):
        own = Conv2d(2, 3, padding=1, bias=False).forward(x[:, 3 * g : 3 * g + 3], {"weight": weight[2 * g :][:2]}, USE)
        assert np.array_equal(whole[:, 2 * g : 2 * g + 2], own[0])


def test_convolution_adjoint_identity() -> None:
    layer, random = Conv2d(4, 3, stride=2, padding=(1, 0, 2, 1), bias=False), np.random.default_rng(0)
    x, weight = random.standard_normal((2, 3, 6, 7)), random.standard_normal((4, 3, 3, 3))
    y, saved = layer.forward(x, {"weight": weight}, TRAIN)
    g = random.standard_normal(y.shape)
    dx, dparams = layer.backward(g, saved, {"weight": weight}, TRAIN)
    assert (y * g).sum() == pytest.approx((x * dx).sum(), rel=1e-12)
    assert (y * g).sum() == pytest.approx((weight * dparams["weight"]).sum(), rel=1e-12)


def test_first_maximum_in_row_order_takes_the_gradient() -> None:
    pool = MaxPool2d(2)
    x = image([5, 5, 1, 2], [5, 5, 2, 2])
    y, saved = pool.forward(x, {}, TRAIN)
    assert y.tolist() == [[[[5, 2]]]]
    dx, _ = pool.backward(np.array([[[[10.0, 20.0]]]]), saved, {}, TRAIN)
    assert dx[0, 0].tolist() == [[10, 0, 0, 20], [0, 0, 0, 0]]


def test_overlapping_windows_add_their_gradients() -> None:
    pool = MaxPool2d(2, 1)
    x = image([0, 0, 0], [0, 9, 0], [0, 0, 0])
    _, saved = pool.forward(x, {}, TRAIN)
    dx, _ = pool.backward(np.array([[[[1.0, 2], [4, 8]]]]), saved, {}, TRAIN)
    assert dx[0, 0].tolist() == [[0, 0, 0], [0, 15, 0], [0, 0, 0]]


def test_border_never_wins_the_maximum() -> None:
    y, _ = MaxPool2d(3, 2, padding=1, ceil_mode=True).forward(-np.ones((1, 1, 4, 4)), {}, USE)
    assert (y == -1).all()


@pytest.mark.parametrize(
    ("pool", "divisors"),
    [
        (AvgPool2d(3, 2, padding=1), [[4, 6, 4], [6, 9, 6], [4, 6, 4]]),
        (AvgPool2d(3, 2, padding=1, count_padding=True), [[9] * 3] * 3),
        (AvgPool2d(2, 2), [[4, 4], [4, 4]]),
        (AvgPool2d(2, 2, ceil_mode=True), [[4, 4, 2], [4, 4, 2], [2, 2, 1]]),
        # windows start at -1 and 2; one more, of ceil_mode, would start at 5, outside
        (AvgPool2d(3, 3, padding=1, ceil_mode=True, count_padding=True), [[9, 9], [9, 9]]),
        (AvgPool2d(4, 3, padding=1, ceil_mode=True, count_padding=True), [[16, 16], [16, 16]]),
        (AvgPool2d(4, 4, padding=1, ceil_mode=True, count_padding=True), [[16, 12], [12, 9]]),
        (AvgPool2d(4, 4, padding=1, ceil_mode=True), [[9, 6], [6, 4]]),
    ],
    ids=[
        "padding_not_counted", "padding_counted", "rest_dropped", "hanging_window", "next_would_start_outside",
        "just_fits", "hanging_beyond_counted_padding", "hanging_beyond_padding",
    ],
)  # fmt: skip
def test_average_divisors(pool: AvgPool2d, divisors: list[list[int]]) -> None:
    assert pool.divisors((1, 5, 5)).tolist() == divisors


def test_average_of_ones_is_one_unless_padding_counts() -> None:
    x = np.ones((1, 1, 5, 5))
    assert (AvgPool2d(3, 2, padding=1, ceil_mode=True).forward(x, {}, USE)[0] == 1).all()
    y, _ = AvgPool2d(3, 2, padding=1, count_padding=True).forward(x, {}, USE)
    assert y[0, 0, 0, 0] == pytest.approx(4 / 9)


def test_global_average() -> None:
    x = np.arange(12.0).reshape(1, 2, 2, 3)
    y, saved = GlobalAvgPool().forward(x, {}, USE)
    assert y.tolist() == [[2.5, 8.5]]
    dx, _ = GlobalAvgPool().backward(np.array([[6.0, 12.0]]), saved, {}, USE)
    assert dx[0, :, 0, 0].tolist() == [1, 2]


def bn_params(**values: list[float]) -> dict[str, np.ndarray]:
    start = {"weight": [1.0], "bias": [0.0], "running_mean": [0.0], "running_var": [1.0]} | values
    return {name: np.array(value) for name, value in start.items()}


def test_batch_norm_running_values_by_hand() -> None:
    params = bn_params(running_mean=[10.0], running_var=[2.0])
    x = np.array([[1.0], [2.0], [3.0], [6.0]])  # mean 3; squares 4 1 0 9: biased 3.5, unbiased 14/3
    y, _ = BatchNorm(eps=0.5, momentum=0.25).forward(x, params, TRAIN)
    assert y[:, 0] == pytest.approx([-1, -0.5, 0, 1.5])  # √(3.5 + 0.5) = 2: the biased one normalises
    assert params["running_mean"] == pytest.approx(0.75 * 10 + 0.25 * 3)
    assert params["running_var"] == pytest.approx(0.75 * 2 + 0.25 * 14 / 3)


def test_batch_norm_takes_images_per_channel() -> None:
    x = np.array([[[[1.0, 2.0]], [[10.0, 10.0]]], [[[3.0, 6.0]], [[30.0, 30.0]]]])
    params = {name: np.repeat(value, 2) for name, value in bn_params().items()}
    y, _ = BatchNorm(eps=0.5).forward(x, params, TRAIN)
    assert y[:, 0].ravel() == pytest.approx([-1, -0.5, 0, 1.5])
    assert params["running_mean"] == pytest.approx([0.3, 2.0])
    assert params["running_var"] == pytest.approx([0.9 + 0.1 * 14 / 3, 0.9 + 0.1 * 400 / 3])


def test_batch_norm_in_use_takes_running_values_and_leaves_them() -> None:
    params = bn_params(weight=[3.0], bias=[7.0], running_mean=[1.0], running_var=[3.5])
    before = {name: value.copy() for name, value in params.items()}
    y, _ = BatchNorm(eps=0.5).forward(np.array([[5.0]]), params, USE)  # one value is enough here
    assert y[0, 0] == pytest.approx(3 * (5 - 1) / 2 + 7)
    assert params == before


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1, 1)], ids=["vector", "one_pixel"])
def test_batch_norm_needs_two_values_to_train(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="at least 2 values per channel"):
        BatchNorm().forward(np.zeros(shape), draw_params(BatchNorm(), shape[1:]), TRAIN)


def test_batch_norm_slots() -> None:
    slots = list(BatchNorm().param_slots((4, 8, 8)))
    assert {slot.shape for slot in slots} == {(4,)}
    assert [(slot.name, slot.kind, slot.init.constant) for slot in slots] == [
        ("weight", "trainable", 1.0), ("bias", "trainable", 0.0), ("running_mean", "running", 0.0),
        ("running_var", "running", 1.0),
    ]  # fmt: skip
    assert not any(slot.decays for slot in slots if slot.kind == "trainable")


def test_weights_decay_and_biases_do_not() -> None:
    for layer, shape in ((Conv2d(4, 3), (2, 8, 8)), (Dense(4), (18,))):
        weight, bias = layer.param_slots(shape)
        assert (weight.decays, bias.decays) == (True, False)
        assert weight.init.deviation == pytest.approx((2 / 18) ** 0.5)  # fan-in of both: 18
        assert (bias.init.constant, bias.init.deviation) == (0.0, 0.0)


def test_dropout_keeps_what_the_random_numbers_say() -> None:
    ctx = Context(training=True, rng=LayerRandom(3, 1, 4, 1), step=4)
    x = np.random.default_rng(0).standard_normal((4, 5, 6, 7)).astype(np.float32)
    y, saved = Dropout(0.3).forward(x, {}, ctx)
    kept = ctx.rng.uniform(x.shape) >= 0.3
    assert (y == np.where(kept, x * np.float32(1 / 0.7), 0)).all()
    dx, _ = Dropout(0.3).backward(np.ones_like(x), saved, {}, ctx)
    assert (dx == np.where(kept, np.float32(1 / 0.7), 0)).all()
    assert abs(kept.mean() - 0.7) < 4 * (0.21 / x.size) ** 0.5


def test_dropout_is_the_identity_in_use() -> None:
    x = np.ones((2, 3))
    assert Dropout(0.9).forward(x, {}, USE)[0] is x


def test_relu_at_zero_passes_no_gradient() -> None:
    y, saved = ReLU().forward(np.array([[-1.0, 0.0, 2.0]]), {}, USE)
    assert y.tolist() == [[0, 0, 2]]
    assert ReLU().backward(np.ones((1, 3)), saved, {}, USE)[0].tolist() == [[0, 0, 1]]


def test_leaky_relu_at_zero_has_the_slope() -> None:
    y, saved = LeakyReLU(0.25).forward(np.array([[-2.0, 0.0, 3.0]]), {}, USE)
    assert y.tolist() == [[-0.5, 0, 3]]
    assert LeakyReLU(0.25).backward(np.ones((1, 3)), saved, {}, USE)[0].tolist() == [[0.25, 0.25, 1]]


# to 12 digits: Φ(1) = 0.841344746069, φ(1) = 0.241970724519
SMOOTH = {
    "gelu": (GELU(), [-0.158655253931, 0, 0.841344746069], [-0.083315470588, 0.5, 1.083315470588]),
    "sigmoid": (Sigmoid(), [0.268941421370, 0.5, 0.731058578630], [0.196611933241, 0.25, 0.196611933241]),
    "tanh": (Tanh(), [-0.761594155956, 0, 0.761594155956], [0.419974341614, 1, 0.419974341614]),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_activations_at_minus_one_zero_and_one(name: str) -> None:
    layer, values, slopes = SMOOTH[name]
    y, saved = layer.forward(np.array([[-1.0, 0.0, 1.0]]), {}, USE)
    assert y[0] == pytest.approx(values, abs=1e-12)
    assert layer.backward(np.ones((1, 3)), saved, {}, USE)[0][0] == pytest.approx(slopes, abs=1e-12)


@pytest.mark.parametrize(
    ("layer", "ends", "slopes"),
    [
        (LeakyReLU(0.5), (-np.inf, np.inf), (0.5, 1)), (GELU(), (0, np.inf), (0, 1)), (Sigmoid(), (0, 1), (0, 0)),
        (Tanh(), (-1, 1), (0, 0)),
    ],
    ids=lambda value: value.kind if isinstance(value, Layer) else "",
)  # fmt: skip
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_activations_far_out(layer: Layer, ends: tuple[float, float], slopes: tuple[float, float], dtype: type) -> None:
    largest = np.finfo(dtype).max
    with np.errstate(all="raise", under="ignore"):
        for x, y, slope in ((-np.inf, ends[0], slopes[0]), (np.inf, ends[1], slopes[1])):
            got, saved = layer.forward(np.array([[x]], dtype), {}, USE)
            assert got[0, 0] == y
            assert layer.backward(np.ones((1, 1), dtype), saved, {}, USE)[0][0, 0] == slope
        for x, y in ((-largest, ends[0]), (largest, ends[1])):
            got, _ = layer.forward(np.array([[x]], dtype), {}, USE)
            assert got[0, 0] == (y if np.isfinite(y) else layer.slope * x if x < 0 else x)  # type: ignore[attr-defined]
        assert np.isnan(layer.forward(np.array([[np.nan]], dtype), {}, USE)[0]).all()


def test_residual_adds_what_its_branches_give() -> None:
    x, dy = np.array([[1.0, -2.0]]), np.array([[10.0, 20.0]])
    y, saved = Residual(ReLU()).forward(x, {}, TRAIN)
    assert y.tolist() == [[2, -2]]
    assert Residual(ReLU()).backward(dy, saved, {}, TRAIN)[0].tolist() == [[20, 20]]
    layer = Residual(Sequential(ReLU(), Dense(1)), Dense(1, bias=False))
    params = {name: np.full(slot.shape, 3.0) for name, slot in slots_of(layer, (2,)).items()}
    y, saved = layer.forward(x, params, TRAIN)
    assert y.tolist() == [[(3 + 3) + (3 - 6)]]
    dx, dparams = layer.backward(np.ones((1, 1)), saved, params, TRAIN)
    assert dx.tolist() == [[6, 3]]
    assert {name: value.ravel().tolist() for name, value in dparams.items()} == {
        "body.1.weight": [1, 0], "body.1.bias": [1], "shortcut.0.weight": [1, -2],
    }  # fmt: skip


def slots_of(layer: Layer, in_shape: tuple[int, ...]) -> dict[str, ParamSlot]:
    return {slot.name: slot for slot in layer.param_slots(in_shape)}


def test_dropouts_of_a_network_draw_their_own_numbers() -> None:
    ctx, x = Context(training=True, rng=LayerRandom(3, 1, 4, 0), step=4), np.ones((1, 64))
    net = Sequential(Dropout(0.5), Residual(Dropout(0.5), Sequential(Sequential(Dropout(0.5)))), Dropout(0.5))
    y, _ = net.forward(x, {}, ctx)
    kept = [2 * (LayerRandom(3, 1, 4, k).uniform(x.shape) >= 0.5) for k in range(4)]
    assert (y == kept[0] * (kept[1] + kept[2]) * kept[3]).all()
    assert (y == net.forward(x, {}, ctx)[0]).all()


def test_softmax_cross_entropy_by_hand() -> None:
    loss, _ = SoftmaxCrossEntropy().forward(np.log(np.array([[1.0, 2, 5], [3, 3, 2]])), np.array([2, 0]))
    assert loss == pytest.approx(-(np.log(5 / 8) + np.log(3 / 8)) / 2)


def test_label_smoothing_by_hand() -> None:
    # p = 1/8, 2/8, 5/8; the label has 1 - 0.3 + 0.1, the others 0.1 each
    loss, saved = SoftmaxCrossEntropy(0.3).forward(np.log(np.array([[1.0, 2, 5]])), np.array([2]))
    assert loss == pytest.approx(-(0.1 * np.log(1 / 8) + 0.1 * np.log(2 / 8) + 0.8 * np.log(5 / 8)))
    gradient = SoftmaxCrossEntropy(0.3).backward(saved, np.array([2]))
    np.testing.assert_allclose(gradient, [[1 / 8 - 0.1, 2 / 8 - 0.1, 5 / 8 - 0.8]], atol=1e-15)


def test_class_weights_by_hand() -> None:
    # -log 5/8 weighs 4, -log 3/8 weighs 1: divided by the sum of the weights, not by the number of images
    scores, labels = np.log(np.array([[1.0, 2, 5], [3, 3, 2]])), np.array([2, 0])
    loss, saved = SoftmaxCrossEntropy(class_weights=(1, 9, 4)).forward(scores, labels)
    assert loss == pytest.approx(-(4 * np.log(5 / 8) + np.log(3 / 8)) / 5)
    gradient = SoftmaxCrossEntropy(class_weights=(1, 9, 4)).backward(saved, labels)
    np.testing.assert_allclose(gradient * 5, [[4 / 8, 8 / 8, 20 / 8 - 4], [3 / 8 - 1, 3 / 8, 2 / 8]], atol=1e-14)


def test_equal_weights_change_nothing_whatever_they_are() -> None:
    scores, labels = np.random.default_rng(0).standard_normal((4, 3)), np.array([2, 0, 1, 1])
    plain, heavy = (SoftmaxCrossEntropy(0.2, weights) for weights in (None, (7.0,) * 3))
    assert heavy.forward(scores, labels)[0] == pytest.approx(plain.forward(scores, labels)[0], rel=1e-14)
    saved = plain.forward(scores, labels)[1]
    np.testing.assert_allclose(heavy.backward(saved, labels), plain.backward(saved, labels), atol=1e-15)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((1.0,), r"SoftmaxCrossEntropy\(label_smoothing=...\) must be at least 0 and below 1, not 1"),
        ((-0.1,), "label_smoothing"),
        ((0.0, (1.0, 0.0)), r"SoftmaxCrossEntropy\(class_weights=...\)\[1\] must be at least"),
        ((0.0, (1.0, np.nan)), "must be a number"),
        ((0.0, 3.0), "must be a number for each class, not 3.0"),
        ((0.0, "balanced"), "must be a number for each class, not 'balanced'"),
    ],
    ids=str,
)
def test_a_loss_that_cannot_be_is_refused(arguments: tuple[Any, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        SoftmaxCrossEntropy(*arguments)


def test_softmax_cross_entropy_of_huge_scores_is_finite() -> None:
    loss, saved = SoftmaxCrossEntropy().forward(np.array([[1e4, -1e4]]), np.array([1]))
    assert loss == 2e4
    assert SoftmaxCrossEntropy().backward(saved, np.array([1])).tolist() == [[1, -1]]


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (Conv2d(3, 3, padding=1), (2, 2, 5, 5)), (Dense(3), (2, 5)), (BatchNorm(), (4, 3)), (BatchNorm(), (2, 3, 2, 2)),
        (MaxPool2d(2), (2, 3, 4, 4)), (AvgPool2d(3, 2, 1, ceil_mode=True), (2, 3, 4, 4)),
        (GlobalAvgPool(), (2, 3, 4, 4)), (Flatten(), (2, 3, 2, 2)), (ReLU(), (2, 3)),
        (LeakyReLU(), (2, 3)), (GELU(), (2, 3)), (Sigmoid(), (2, 3)), (Tanh(), (2, 3)), (Dropout(0.5), (2, 3, 2, 2)),
    ],
    ids=lambda value: value.kind if isinstance(value, Layer) else "",
)  # fmt: skip
def test_float32_stays_float32(layer: Layer, shape: tuple[int, ...]) -> None:
    params = {name: value.astype(np.float32) for name, value in draw_params(layer, shape[1:]).items()}
    y, saved = layer.forward(np.ones(shape, np.float32), params, TRAIN)
    dx, dparams = layer.backward(np.ones_like(y), saved, params, TRAIN)
    assert {array.dtype for array in (y, dx, *dparams.values(), *params.values())} == {np.dtype(np.float32)}
