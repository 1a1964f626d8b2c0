"""Every layer's definition, forward and backward, against PyTorch's, in float64 (and once in float32)."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from foveal.layers import (
    GELU,
    AvgPool2d,
    BatchNorm,
    Context,
    Conv2d,
    Dense,
    Flatten,
    GlobalAvgPool,
    Layer,
    LeakyReLU,
    MaxPool2d,
    ReLU,
    Sigmoid,
    SoftmaxCrossEntropy,
    Tanh,
)

torch = pytest.importorskip("torch")
functional = torch.nn.functional
pytestmark = pytest.mark.peers

Function = Callable[..., Any]  # (x, parameters by name) → y, of torch tensors


def compare(layer: Layer, function: Function, shape: tuple[int, ...], *, dtype: Any = np.float64) -> None:
    """y, dx and all parameter gradients; the reduction lengths here are below 1000."""
    random, ctx = np.random.default_rng(0), Context(training=True)
    params = {slot.name: random.standard_normal(slot.shape).astype(dtype) for slot in layer.param_slots(shape[1:])}
    x = random.standard_normal(shape).astype(dtype)
    y, saved = layer.forward(x, params, ctx)
    theirs = {name: torch.tensor(value, requires_grad=True) for name, value in params.items()}
    their_x = torch.tensor(x, requires_grad=True)
    their_y = function(their_x, theirs)
    dy = random.standard_normal(their_y.shape).astype(dtype)
    their_y.backward(torch.tensor(dy))
    dx, dparams = layer.backward(dy, saved, params, ctx)
    bound = 1000 * float(np.finfo(dtype).eps)
    for ours, other in ((y, their_y.detach()), (dx, their_x.grad), *((dparams[n], theirs[n].grad) for n in dparams)):
        assert ours.shape == tuple(other.shape)
        np.testing.assert_allclose(ours, other.numpy(), rtol=bound, atol=bound)


CONVOLUTIONS = {
    "one_pixel": ((2, 3, 4, 5), 4, (1, 1), (1, 1), (0, 0)),
    "three_by_three": ((2, 3, 6, 5), 4, (3, 3), (1, 1), (1, 1)),
    "five_by_five": ((2, 2, 7, 7), 3, (5, 5), (1, 1), (2, 2)),
    "stride_leaves_a_rest": ((1, 2, 8, 7), 3, (2, 3), (3, 2), (0, 0)),
    "padding_beyond_kernel": ((1, 2, 3, 3), 2, (2, 2), (1, 1), (3, 3)),
    "kernel_covers_all": ((3, 2, 4, 3), 5, (4, 3), (1, 1), (0, 0)),
    "two_paddings": ((2, 2, 5, 6), 3, (3, 3), (2, 1), (1, 2)),
    "one_pixel_image": ((2, 3, 1, 1), 2, (3, 3), (1, 1), (1, 1)),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no_bias"])
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_conv2d(case: str, bias: bool, dtype: Any) -> None:
    shape, filters, kernel, stride, (down, across) = CONVOLUTIONS[case]
    layer = Conv2d(filters, kernel, stride, padding=(down, down, across, across), bias=bias)
    compare(
        layer,
        lambda x, p: functional.conv2d(x, p["weight"], p.get("bias"), stride, (down, across)),
        shape,
        dtype=dtype,
    )


SPARSE = {
    "dilated": ((2, 3, 9, 8), Conv2d(4, 3, padding=2, dilation=2)),
    "dilated_strided": ((1, 2, 9, 10), Conv2d(3, (2, 3), (2, 1), (1, 1, 2, 2), dilation=(3, 2))),
    "groups": ((2, 6, 5, 6), Conv2d(4, 3, padding=1, groups=2)),
    "groups_dilated": ((1, 4, 7, 7), Conv2d(8, 3, 2, 2, bias=False, dilation=2, groups=4)),
    "depthwise": ((2, 5, 6, 7), Conv2d(5, 3, 2, 1, groups=5)),
    "depthwise_multiplied": ((2, 3, 5, 5), Conv2d(6, 3, padding=1, dilation=1, groups=3)),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("case", SPARSE)
def test_conv2d_with_dilation_and_groups(case: str, dtype: Any) -> None:
    shape, layer = SPARSE[case]
    (top, _, left, _), _ = layer.geometry(shape[1:])
    more = (layer.strides, (top, left), layer.dilations, layer.groups)
    compare(layer, lambda x, p: functional.conv2d(x, p["weight"], p.get("bias"), *more), shape, dtype=dtype)


@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_same_padding_with_dilation_is_pytorchs(dilation: int) -> None:
    layer = Conv2d(4, 3, padding="same", dilation=dilation, groups=2)
    compare(
        layer,
        lambda x, p: functional.conv2d(x, p["weight"], p["bias"], padding="same", dilation=dilation, groups=2),
        (2, 2, 5, 6),
    )


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")  # PyTorch is slow there, not wrong
@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5])
def test_same_padding_is_pytorchs(kernel: int) -> None:
    compare(
        Conv2d(3, kernel, padding="same"),
        lambda x, p: functional.conv2d(x, p["weight"], p["bias"], padding="same"),
        (2, 2, 5, 6),
    )


def pooling_of(layer: MaxPool2d | AvgPool2d) -> Function:
    where: dict[str, Any] = {"stride": layer.stride, "padding": layer.padding, "ceil_mode": layer.ceil_mode}
    if isinstance(layer, MaxPool2d):
        return lambda x, p: functional.max_pool2d(x, layer.size, **where)
    return lambda x, p: functional.avg_pool2d(x, layer.size, **where, count_include_pad=layer.count_padding)


@pytest.mark.parametrize("kind", [MaxPool2d, AvgPool2d], ids=["max", "mean"])
@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("stride", [1, 2, 3, 5])
def test_pooling(kind: type[MaxPool2d] | type[AvgPool2d], size: int, stride: int) -> None:
    for side, padding, ceil in itertools.product((4, 5, 6, 7, 8), range(size // 2 + 1), (False, True)):
        for extra in ((),) if kind is MaxPool2d else ((False,), (True,)):
            layer = kind(size, stride, padding, ceil, *extra)
            compare(layer, pooling_of(layer), (1, 2, side, 5))


def test_first_of_equal_maxima_takes_the_gradient_there_too() -> None:
    x = torch.tensor(np.round(np.random.default_rng(0).standard_normal((2, 3, 6, 6))), requires_grad=True)
    functional.max_pool2d(x, 3, 2, 1).sum().backward()
    pool = MaxPool2d(3, 2, padding=1)
    y, saved = pool.forward(x.detach().numpy(), {}, Context())
    np.testing.assert_array_equal(pool.backward(np.ones_like(y), saved, {}, Context())[0], x.grad.numpy())


@pytest.mark.parametrize("training", [True, False], ids=["training", "inference"])
@pytest.mark.parametrize("shape", [(4, 3, 5, 6), (8, 5), (2, 3, 1, 1)], ids=["images", "vectors", "two_values"])
@pytest.mark.parametrize("momentum", [0.1, 0.7, 1.0])
def test_batch_norm(shape: tuple[int, ...], training: bool, momentum: float) -> None:
    random, ctx = np.random.default_rng(0), Context(training=training)
    theirs = (torch.nn.BatchNorm2d if len(shape) == 4 else torch.nn.BatchNorm1d)(shape[1], 1e-3, momentum).double()
    theirs.train(training)
    params = {name: random.uniform(0.5, 2.0, shape[1]) for name in ("weight", "bias", "running_mean", "running_var")}
    theirs.load_state_dict({name: torch.tensor(value) for name, value in params.items()}, strict=False)
    layer = BatchNorm(1e-3, momentum)
    for _ in range(3):  # the running values build up
        x, dy = 3 + 2 * random.standard_normal(shape), random.standard_normal(shape)
        theirs.zero_grad()
        their_x = torch.tensor(x, requires_grad=True)
        their_y = theirs(their_x)
        their_y.backward(torch.tensor(dy))
        y, saved = layer.forward(x, params, ctx)
        dx, dparams = layer.backward(dy, saved, params, ctx)
        pairs = [(y, their_y.detach()), (dx, their_x.grad)]
        pairs += [(dparams[name], getattr(theirs, name).grad) for name in ("weight", "bias")]
        pairs += [(params[name], getattr(theirs, name)) for name in ("running_mean", "running_var")]
        for ours, other in pairs:
            np.testing.assert_allclose(ours, other.numpy(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no_bias"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
def test_dense(bias: bool, dtype: Any) -> None:
    layer = Dense(4, bias)
    compare(layer, lambda x, p: functional.linear(x, p["weight"], p.get("bias")), (3, 6), dtype=dtype)


def test_layers_without_settings() -> None:
    compare(ReLU(), lambda x, p: functional.relu(x), (2, 3, 4, 5))
    compare(Flatten(), lambda x, p: torch.flatten(x, 1), (2, 3, 4, 5))
    compare(GlobalAvgPool(), lambda x, p: x.mean(dim=(2, 3)), (2, 3, 4, 5))


ACTIVATIONS: dict[str, tuple[Layer, Function]] = {
    "leaky_relu": (LeakyReLU(), lambda x, p: functional.leaky_relu(x)),
    "leaky_relu_slope": (LeakyReLU(0.3), lambda x, p: functional.leaky_relu(x, 0.3)),
    "gelu": (GELU(), lambda x, p: functional.gelu(x)),
    "sigmoid": (Sigmoid(), lambda x, p: torch.sigmoid(x)),
    "tanh": (Tanh(), lambda x, p: torch.tanh(x)),
}


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (4, 7)], ids=["images", "vectors"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name: str, shape: tuple[int, ...], dtype: Any) -> None:
    compare(*ACTIVATIONS[name], shape, dtype=dtype)


@pytest.mark.parametrize("layer", [ReLU(), LeakyReLU(0.3)], ids=lambda layer: layer.kind)
def test_slopes_at_zero_are_pytorchs(layer: ReLU | LeakyReLU) -> None:
    x = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    (functional.leaky_relu(x, layer.slope) if isinstance(layer, LeakyReLU) else functional.relu(x)).sum().backward()
    y, saved = layer.forward(np.zeros((1, 3)), {}, Context())
    np.testing.assert_array_equal(layer.backward(np.ones_like(y), saved, {}, Context())[0], x.grad.numpy())


@pytest.mark.parametrize("weights", [None, (0.5, 2.0, 1.0, 7.0)], ids=["equal", "weighted"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("size", [1.0, 100.0])
def test_loss_with_smoothing_and_weights(size: float, smoothing: float, weights: tuple[float, ...] | None) -> None:
    random = np.random.default_rng(0)
    logits, labels = size * random.standard_normal((6, 4)), random.integers(0, 4, 6)
    theirs = torch.tensor(logits, requires_grad=True)
    their_loss = functional.cross_entropy(
        theirs, torch.tensor(labels), torch.tensor(weights).double() if weights else None, label_smoothing=smoothing
    )
    their_loss.backward()
    loss = SoftmaxCrossEntropy(smoothing, weights)
    ours, saved = loss.forward(logits, labels)
    assert ours == pytest.approx(float(their_loss.detach()), rel=1e-12)
    np.testing.assert_allclose(loss.backward(saved, labels), theirs.grad.numpy(), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("size", [0.1, 1.0, 100.0])
def test_loss(size: float) -> None:
    random = np.random.default_rng(0)
    logits, labels = size * random.standard_normal((6, 10)), random.integers(0, 10, 6)
    theirs = torch.tensor(logits, requires_grad=True)
    their_loss = functional.cross_entropy(theirs, torch.tensor(labels))
    their_loss.backward()
    loss, saved = SoftmaxCrossEntropy().forward(logits, labels)
    assert loss == pytest.approx(float(their_loss.detach()), rel=1e-12)
    np.testing.assert_allclose(
        SoftmaxCrossEntropy().backward(saved, labels), theirs.grad.numpy(), rtol=1e-9, atol=1e-15
    )
