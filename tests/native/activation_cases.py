"""Activations: value by value, over the whole range of float32.

Errors are in units in the last place (EPS): of the value itself, or for GELU's slope of the terms it is the sum of.
"""

import numpy as np
from kernel_case import TINY, Case, Out, Want, register, tolerance
from layout import floats, gate, stored

from foveal.layers import GELU, Context, Layer, LeakyReLU, ReLU, Sigmoid, Tanh
from foveal.layers.activation import _normal_distribution

TRAIN = Context(training=True)
PIECE = 1 << 14  # floats of one work item, parallel.inl.h
SPECIAL = [0.0, -0.0, 1.2e-38, -1.2e-38, np.inf, -np.inf, np.nan, 3e38, -3e38]


def of_all_sizes() -> np.ndarray:
    """(1, 8192): both signs, every exponent, 16 random mantissas each; denormals, infinities and NaN too."""
    exponents = np.arange(256, dtype=np.uint32)[:, None] << 23
    mantissas = np.random.default_rng(4).integers(0, 1 << 23, (256, 16), dtype=np.uint32)
    mantissas[255] = 0  # infinity
    mantissas[255, :3] = 1 << 22  # NaN
    x = (exponents | mantissas).view(np.float32).reshape(-1)
    return np.concatenate([x, -x])[None]


def where_it_bends() -> np.ndarray:
    """(1, 8192): from where a function is 0 or 1 in float to where it is that on the other side."""
    return np.linspace(-110, 110, 8192, dtype=np.float32)[None] ** 3 / np.float32(110**2)


def normal_numbers(values: list[float]) -> np.ndarray:
    return np.array([(values * 16)[:16]], np.float32)


def flushed(x: np.ndarray) -> np.ndarray:
    """In float64, with denormals as zeros."""
    return np.where(np.abs(x) < TINY, 0, x.astype(np.float64))


def within(ulps: int, size: np.ndarray) -> np.ndarray:
    """So many units in the last place; an infinity or NaN must be met."""
    return tolerance(ulps, np.where(np.isfinite(size), size, 0))


def forward(spec: Layer, kernel: str, x: np.ndarray, ulps: int, batch: int | None = None, **settings: float) -> Case:
    """x (N, count)."""
    n = len(x) if batch is None else batch
    with np.errstate(over="ignore", invalid="ignore"):
        y, _ = spec.forward(flushed(x[:n]), {}, TRAIN)
    if kernel == "sigmoid_forward":
        sizes = {"pixels": x.shape[1] // 16, "channels": 16, "used": 16}
    else:
        sizes = {"count": x.shape[1]}
    return Case(kernel, {"x": x, "y": Out(x.size), **sizes, **settings}, {"y": Want(y, within(ulps, np.abs(y)))}, n)


def backward(
    spec: Layer, kernel: str, saved: np.ndarray, ulps: int, batch: int | None = None, **settings: float
) -> Case:
    """saved (N, count): the output, or the input of GELU."""
    n = len(saved) if batch is None else batch
    dy, given = floats(2, *saved.shape), flushed(saved[:n])
    with np.errstate(over="ignore", invalid="ignore"):
        slope, _ = spec.backward(np.ones_like(given), given, {}, TRAIN)
    dx, terms = dy[:n] * slope, np.abs(slope)
    if isinstance(spec, GELU):  # Φ(x) + x φ(x) may cancel
        below = _normal_distribution(np.clip(given, -40, 40))
        terms = below + np.abs(slope - below)
    args = {"x" if isinstance(spec, GELU) else "y": saved, "dy": dy, "dx": Out(dy.size), "count": saved.shape[1]}
    return Case(kernel, {**args, **settings}, {"dx": Want(dx, within(ulps, np.abs(dy[:n]) * terms))}, n)


def probabilities() -> np.ndarray:
    """(1, 8192): outputs of Sigmoid or, with a sign, of Tanh, also close to 0 and 1."""
    x = floats(6, 1, 8192)
    return (x / np.sqrt(1 + x * x) * np.float32(0.9999999)).astype(np.float32)


def sigmoid_of_padded(channels: int, pixels: int) -> Case:
    """The stored channels beyond `channels` come out as zeros."""
    x = floats(1, 3, channels, pixels, 1)
    y, _ = Sigmoid().forward(x.astype(np.float64), {}, TRAIN)
    args = {"x": stored(x), "y": Out(stored(x).size), "pixels": pixels, "channels": stored(x).shape[-1]}
    return Case("sigmoid_forward", {**args, "used": channels}, {"y": Want(stored(y), within(2, stored(y)))}, 3)


def _leaky(slope: float) -> Case:
    return forward(LeakyReLU(slope), "leaky_relu_forward", gate(1, 2, 48), 2, slope=slope)


def _slope_of(spec: Layer, y: np.ndarray) -> Case:
    return backward(spec, f"{spec.kind.lower()}_backward", y, 2)


SPECS: dict[str, tuple[Layer, int, int, dict[str, float]]] = {  # and the errors of value and slope in EPS
    "relu": (ReLU(), 0, 0, {}),
    "leaky_relu": (LeakyReLU(0.1), 2, 2, {"slope": 0.1}),
    "gelu": (GELU(), 4, 5, {}),
    "sigmoid": (Sigmoid(), 2, 2, {}),
    "tanh": (Tanh(), 2, 2, {}),
}
SHAPES = {"one_register": (1, 16, 1), "count_tail": (3, PIECE + 48, 3), "batch_prefix": (5, 48, 3)}
VALUES = {
    "special_values": lambda: normal_numbers(SPECIAL),
    "of_all_sizes": of_all_sizes,
    "where_it_bends": where_it_bends,
}


def add_cases(name: str) -> None:
    spec, of_value, of_slope, settings = SPECS[name]
    forth, back = f"{name}_forward", f"{name}_backward"
    for edge, (images, count, batch) in SHAPES.items():
        x = gate(1, images, count)
        register(forth, edge, lambda x=x, n=batch: forward(spec, forth, x, of_value, n, **settings))
        saved = np.tanh(x) if name in ("sigmoid", "tanh") else x
        register(back, edge, lambda y=saved, n=batch: backward(spec, back, y, of_slope, n, **settings))
    for edge, values in VALUES.items():
        if edge == "special_values" or name != "relu":  # a ReLU lets denormals through as they are
            register(forth, edge, lambda v=values: forward(spec, forth, v(), of_value, **settings))
        if (name == "relu" and edge == "special_values") or name in ("leaky_relu", "gelu"):
            register(back, edge, lambda v=values: backward(spec, back, v(), of_slope, **settings))


for name in SPECS:
    add_cases(name)
register("leaky_relu_forward", "slope_above_1", lambda: _leaky(3.0))
register("sigmoid_backward", "close_to_0_and_1", lambda: _slope_of(Sigmoid(), np.abs(probabilities())))
register("tanh_backward", "close_to_1", lambda: _slope_of(Tanh(), probabilities()))
for channels, pixels in ((1, 5), (15, 2), (17, 3), (40, 500)):
    register("sigmoid_forward", f"{channels}_channels", lambda c=channels, p=pixels: sigmoid_of_padded(c, p))
