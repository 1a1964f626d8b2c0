"""Activations: elementwise, any shape in, the same shape out.

In `flops` a transcendental function counts as one operation.
"""

import math

import numpy as np

from foveal.checks import LARGEST, SMALLEST, real, settle
from foveal.layers.base import Context, Layer, Params, Shape, Tensor, layer

Gradients = tuple[Tensor, dict[str, Tensor]]


@layer
class ReLU(Layer):
    """Rectified linear unit: y = max(x, 0). The derivative at 0 is taken as 0."""

    def forward(self, x: Tensor, params: Params, ctx: Context) -> tuple[Tensor, Tensor]:
        y = np.maximum(x, 0)
        return y, y

    def backward(self, dy: Tensor, saved: Tensor, params: Params, ctx: Context) -> Gradients:
        return np.where(saved > 0, dy, 0), {}


@layer
class LeakyReLU(Layer):
    """A ReLU that is never quite off: y = x where x > 0, slope · x elsewhere; slope is above 0.

    The derivative at 0 is taken as slope, as in PyTorch. Maas, Hannun and Ng, "Rectifier nonlinearities improve neural
    network acoustic models", ICML 2013 workshop, equation 2; their slope, 0.01, is the default.
    """

    slope: float = 0.01

    def __post_init__(self) -> None:
        settle(self, "slope", real, SMALLEST, high=LARGEST)

    def forward(self, x: Tensor, params: Params, ctx: Context) -> tuple[Tensor, Tensor]:
        y = np.where(x > 0, x, x.dtype.type(self.slope) * x)
        return y, y

    def backward(self, dy: Tensor, saved: Tensor, params: Params, ctx: Context) -> Gradients:
        return np.where(saved > 0, dy, dy.dtype.type(self.slope) * dy), {}

    def flops(self, in_shape: Shape) -> int:
        return math.prod(in_shape)


@layer
class GELU(Layer):
    """Gaussian error linear unit: y = x Φ(x), with Φ the normal distribution: y' = Φ(x) + x φ(x).

    Φ(x) = erfc(-x / √2) / 2, φ(x) = e^(-x²/2) / √(2π): the exact form, PyTorch's approximate="none". At -∞, y is 0.
    Hendrycks and Gimpel 2016 (arXiv 1606.08415), section 2.
    """

    def forward(self, x: Tensor, params: Params, ctx: Context) -> tuple[Tensor, Tensor]:
        bounded = np.clip(x.astype(np.float64), -40, None)  # where Φ is 0 in any float: -∞ · 0 would be no number
        return (bounded * _normal_distribution(bounded)).astype(x.dtype), x

    def backward(self, dy: Tensor, saved: Tensor, params: Params, ctx: Context) -> Gradients:
        x = np.clip(saved.astype(np.float64), -40, 40)
        density = np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
        return dy * (_normal_distribution(x) + x * density).astype(dy.dtype), {}

    def flops(self, in_shape: Shape) -> int:
        return 4 * math.prod(in_shape)


def _normal_distribution(x: Tensor) -> Tensor:
    """Φ(x), elementwise in float64, also where it is small."""
    return np.array([0.5 * math.erfc(-value / math.sqrt(2)) for value in x.ravel().tolist()]).reshape(x.shape)


@layer
class Sigmoid(Layer):
    """Logistic function: y = 1 / (1 + e⁻ˣ), from 0 to 1; y' = y (1 - y)."""

    def forward(self, x: Tensor, params: Params, ctx: Context) -> tuple[Tensor, Tensor]:
        e = np.exp(-np.abs(x))  # at most 1: nothing overflows
        y = np.where(x < 0, e, 1) / (1 + e)
        return y, y

    def backward(self, dy: Tensor, saved: Tensor, params: Params, ctx: Context) -> Gradients:
        return dy * (saved * (1 - saved)), {}

    def flops(self, in_shape: Shape) -> int:
        return 3 * math.prod(in_shape)


@layer
class Tanh(Layer):
    """Hyperbolic tangent: y = (eˣ - e⁻ˣ) / (eˣ + e⁻ˣ), from -1 to 1; y' = 1 - y² = (1 - y) (1 + y)."""

    def forward(self, x: Tensor, params: Params, ctx: Context) -> tuple[Tensor, Tensor]:
        y = np.tanh(x)
        return y, y

    def backward(self, dy: Tensor, saved: Tensor, params: Params, ctx: Context) -> Gradients:
        return dy * ((1 - saved) * (1 + saved)), {}

    def flops(self, in_shape: Shape) -> int:
        return math.prod(in_shape)
