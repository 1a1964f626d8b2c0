"""Every layer's backward against finite differences; cases are named by the edge they hit."""

import numpy as np
import pytest
from finite_differences import check_gradients, distinct

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

CONVOLUTIONS = {
    "one_pixel_kernel": (Conv2d(3, 1), (2, 2, 3, 4)),
    "one_pixel_strided": (Conv2d(2, 1, stride=2), (1, 3, 5, 4)),
    "stride_leaves_a_rest": (Conv2d(2, 2, stride=3), (1, 2, 6, 7)),
    "stride_beyond_kernel": (Conv2d(2, 1, stride=(3, 2)), (1, 1, 7, 5)),
    "three_by_three_same": (Conv2d(2, 3, padding="same"), (2, 3, 4, 5)),
    "three_by_three_valid": (Conv2d(2, 3, padding="valid"), (2, 2, 5, 4)),
    "even_kernel_same_pads_after": (Conv2d(2, 2, padding="same"), (1, 2, 3, 4)),
    "same_with_stride": (Conv2d(2, 3, stride=2, padding="same"), (1, 2, 5, 6)),
    "four_different_sides": (Conv2d(2, 3, padding=(0, 1, 2, 3)), (1, 2, 4, 3)),
    "padding_as_a_number": (Conv2d(2, 3, stride=2, padding=2), (1, 1, 4, 4)),
    "padding_beyond_kernel": (Conv2d(1, 2, padding=3), (1, 1, 2, 2)),
    "kernel_larger_than_image": (Conv2d(2, 5, padding="same"), (1, 2, 2, 3)),
    "kernel_covers_all": (Conv2d(3, (4, 3)), (2, 2, 4, 3)),
    "flat_kernel": (Conv2d(2, (1, 3), padding="same"), (1, 2, 3, 5)),
    "tall_kernel_wide_stride": (Conv2d(2, (3, 1), stride=(1, 2)), (1, 2, 5, 5)),
    "one_pixel_image": (Conv2d(2, 3, padding="same"), (2, 2, 1, 1)),
    "one_row": (Conv2d(2, 3, padding=1), (1, 2, 1, 6)),
    "no_bias": (Conv2d(2, 3, padding=1, bias=False), (2, 2, 3, 3)),
    "single_channel_and_filter": (Conv2d(1, 3), (1, 1, 4, 4)),
    "dilated": (Conv2d(2, 3, padding=2, dilation=2), (1, 2, 5, 4)),
    "dilated_unevenly_strided": (Conv2d(2, (2, 3), (2, 1), (1, 0, 2, 1), dilation=(3, 2)), (1, 2, 5, 6)),
    "dilated_same": (Conv2d(1, 3, stride=2, padding="same", dilation=2), (1, 1, 4, 5)),
    "groups": (Conv2d(4, 3, padding=1, groups=2), (2, 6, 3, 4)),
    "groups_with_more_filters": (Conv2d(6, 2, groups=3), (1, 3, 3, 4)),
    "depthwise": (Conv2d(3, 3, stride=2, padding=1, groups=3), (2, 3, 4, 5)),
    "depthwise_dilated": (Conv2d(2, 2, padding="same", dilation=2, groups=2), (1, 2, 4, 3)),
}

MAXIMA = {
    "divides": (MaxPool2d(2), (2, 2, 4, 6)),
    "rest_is_dropped": (MaxPool2d(2), (1, 2, 5, 3)),
    "rest_kept_by_ceil": (MaxPool2d(2, ceil_mode=True), (1, 2, 5, 3)),
    "overlapping": (MaxPool2d(3, 1), (1, 2, 4, 5)),
    "overlapping_ceil": (MaxPool2d(3, 2, ceil_mode=True), (1, 2, 8, 6)),
    "gaps_between_windows": (MaxPool2d(2, 3), (1, 2, 7, 8)),
    "padded": (MaxPool2d(3, 2, padding=1), (1, 2, 5, 4)),
    "padded_one_axis": (MaxPool2d((3, 2), (2, 1), padding=(1, 0)), (2, 1, 5, 4)),
    "ceil_window_would_start_outside": (MaxPool2d(2, 3, padding=1, ceil_mode=True), (1, 1, 4, 5)),
    "window_covers_all": (MaxPool2d((4, 3)), (2, 3, 4, 3)),
    "window_of_one": (MaxPool2d(1), (1, 2, 3, 2)),
    "one_pixel_image": (MaxPool2d(2, padding=1), (1, 2, 1, 1)),
}

MEANS = {
    "divides": (AvgPool2d(2), (2, 2, 4, 6)),
    "rest_is_dropped": (AvgPool2d(2), (1, 2, 5, 3)),
    "rest_kept_by_ceil": (AvgPool2d(2, ceil_mode=True), (1, 2, 5, 3)),
    "overlapping_ceil": (AvgPool2d(3, 2, ceil_mode=True), (1, 2, 8, 6)),
    "gaps_between_windows": (AvgPool2d(2, 3), (1, 2, 7, 8)),
    "padding_not_counted": (AvgPool2d(3, 2, padding=1), (1, 2, 5, 4)),
    "padding_counted": (AvgPool2d(3, 2, padding=1, count_padding=True), (1, 2, 5, 4)),
    "padding_counted_ceil": (AvgPool2d(3, 2, padding=1, ceil_mode=True, count_padding=True), (1, 1, 6, 5)),
    "padded_one_axis": (AvgPool2d((3, 2), (2, 1), padding=(1, 0)), (2, 1, 5, 4)),
    "window_covers_all": (AvgPool2d((4, 3)), (2, 3, 4, 3)),
    "one_pixel_image": (AvgPool2d(2, padding=1), (1, 2, 1, 1)),
}


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_conv2d(case: str) -> None:
    layer, shape = CONVOLUTIONS[case]
    check_gradients(layer, np.random.default_rng(0).standard_normal(shape))


@pytest.mark.parametrize("case", MAXIMA)
def test_max_pool(case: str) -> None:
    layer, shape = MAXIMA[case]
    check_gradients(layer, distinct(shape))


@pytest.mark.parametrize("case", MEANS)
def test_avg_pool(case: str) -> None:
    layer, shape = MEANS[case]
    check_gradients(layer, np.random.default_rng(0).standard_normal(shape))


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 2, 1, 1), (3, 1, 1, 7)], ids=["image", "one_pixel", "one_row"])
def test_global_avg_pool(shape: tuple[int, ...]) -> None:
    check_gradients(GlobalAvgPool(), np.random.default_rng(0).standard_normal(shape))


@pytest.mark.parametrize("training", [True, False], ids=["training", "inference"])
@pytest.mark.parametrize(
    "shape",
    [(3, 2, 2, 3), (4, 3), (2, 2, 1, 1), (1, 3, 1, 2), (2, 1)],
    ids=["images", "vectors", "one_pixel_images", "one_image", "two_values_one_feature"],
)
def test_batch_norm(shape: tuple[int, ...], training: bool) -> None:
    x = 3 + 2 * np.random.default_rng(0).standard_normal(shape)
    check_gradients(BatchNorm(eps=0.1), x, Context(training=training))


@pytest.mark.parametrize("layer", [Dense(3), Dense(1), Dense(4, bias=False)], ids=["three", "one_unit", "no_bias"])
@pytest.mark.parametrize("shape", [(2, 5), (1, 1)], ids=["batch", "one_number"])
def test_dense(layer: Dense, shape: tuple[int, ...]) -> None:
    check_gradients(layer, np.random.default_rng(0).standard_normal(shape))


@pytest.mark.parametrize("shape", [(2, 3, 2, 3), (2, 7)], ids=["images", "vectors"])
def test_relu(shape: tuple[int, ...]) -> None:
    check_gradients(ReLU(), distinct(shape))


@pytest.mark.parametrize("shape", [(2, 3, 2, 3), (2, 7)], ids=["images", "vectors"])
@pytest.mark.parametrize("slope", [0.01, 0.5, 2.0])
def test_leaky_relu(shape: tuple[int, ...], slope: float) -> None:
    check_gradients(LeakyReLU(slope), distinct(shape))


@pytest.mark.parametrize("layer", [GELU(), Sigmoid(), Tanh()], ids=lambda layer: layer.kind)
@pytest.mark.parametrize("size", [0.1, 1.0, 5.0])
@pytest.mark.parametrize("shape", [(2, 3, 2, 3), (2, 7)], ids=["images", "vectors"])
def test_smooth_activations(layer: Layer, size: float, shape: tuple[int, ...]) -> None:
    check_gradients(layer, size * np.random.default_rng(0).standard_normal(shape))


def test_flatten() -> None:
    check_gradients(Flatten(), np.random.default_rng(0).standard_normal((2, 3, 2, 2)))


CONTAINERS = {
    "sequential": Sequential(Conv2d(3, 2), Tanh(), Sequential(Flatten(), Dense(4), GELU()), Dense(2)),
    "residual": Residual(Sequential(Conv2d(2, 3, padding=1), Tanh(), Conv2d(2, 1))),
    "residual_shortcut": Residual(Sequential(Conv2d(3, 3, 2, 1), Sigmoid()), Conv2d(3, 1, 2)),
    "residual_batch_norm": Residual(Sequential(BatchNorm(eps=0.1), Tanh()), BatchNorm(eps=0.1)),
    "residual_nested": Residual(Residual(Tanh(), Dropout(0.5)), Sequential(Residual(GELU()), Dropout(0.5))),
    "residual_of_nothing": Residual(Sequential()),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_containers(name: str) -> None:
    ctx = Context(training=True, rng=LayerRandom(7, 1, 2, 0), step=2)
    check_gradients(CONTAINERS[name], np.random.default_rng(0).standard_normal((2, 2, 3, 4)), ctx)


@pytest.mark.parametrize("training", [True, False], ids=["training", "inference"])
@pytest.mark.parametrize("p", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("shape", [(2, 5, 2, 3), (3, 7)], ids=["images", "vectors"])
def test_dropout(shape: tuple[int, ...], p: float, training: bool) -> None:
    ctx = Context(training=training, rng=LayerRandom(7, 1, 2, 0), step=2)
    check_gradients(Dropout(p), np.random.default_rng(0).standard_normal(shape), ctx)


@pytest.mark.parametrize("weights", [None, (0.5, 2.0, 7.0)], ids=["equal", "weighted"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_softmax_cross_entropy_with_smoothing_and_weights(smoothing: float, weights: tuple[float, ...] | None) -> None:
    random = np.random.default_rng(0)
    logits, labels = random.standard_normal((5, 3)), np.array([0, 2, 1, 1, 0])
    loss = SoftmaxCrossEntropy(smoothing, weights)
    gradient = loss.backward(loss.forward(logits, labels)[1], labels)
    for at in np.ndindex(logits.shape):
        shift = np.zeros_like(logits)
        shift[at] = 1e-5
        measured = (loss.forward(logits + shift, labels)[0] - loss.forward(logits - shift, labels)[0]) / 2e-5
        assert gradient[at] == pytest.approx(measured, abs=1e-8)
    np.testing.assert_allclose(gradient.sum(axis=1), 0, atol=1e-15)


@pytest.mark.parametrize(
    ("rows", "classes", "size"), [(4, 3, 1.0), (1, 2, 1.0), (3, 10, 30.0)], ids=["batch", "one_image", "confident"]
)
def test_softmax_cross_entropy(rows: int, classes: int, size: float) -> None:
    random = np.random.default_rng(0)
    logits, labels = size * random.standard_normal((rows, classes)), random.integers(0, classes, rows)
    loss = SoftmaxCrossEntropy()
    gradient = loss.backward(loss.forward(logits, labels)[1], labels)
    for at in np.ndindex(logits.shape):
        shift = np.zeros_like(logits)
        shift[at] = 1e-5
        measured = (loss.forward(logits + shift, labels)[0] - loss.forward(logits - shift, labels)[0]) / 2e-5
        assert gradient[at] == pytest.approx(measured, abs=1e-8)
    np.testing.assert_allclose(gradient.sum(axis=1), 0, atol=1e-15)  # probabilities and the label both sum to 1
