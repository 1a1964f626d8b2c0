"""Adam."""

import math

import numpy as np

from foveal.checks import SMALLEST, real, settle, switch
from foveal.optim.base import Optimizer, State, Vector, optimizer


def power(beta: float, t: int) -> float:
    """beta^t by repeated squaring: the same bits everywhere, which a library's pow does not promise."""
    result = 1.0
    while t > 0:
        if t & 1:
            result *= beta
        beta *= beta
        t >>= 1
    return result


@optimizer
class Adam(Optimizer):
    """m ← β₁ m + (1 - β₁) g;  v ← β₂ v + (1 - β₂) g²;  w ← w - lr · m̂ / (√v̂ + eps).

    m̂ = m / (1 - β₁ᵗ), v̂ = v / (1 - β₂ᵗ); with bias_correction=False m and v are used as they are. Kingma and Ba 2014
    (arXiv 1412.6980), algorithm 1; eps outside the root, on the corrected v, as there and in PyTorch. The compute
    kernel does the same operations in the same order; lr / (1 - β₁ᵗ) and √(1 - β₂ᵗ) are made in float64.
    """

    name = "adam"
    default_lr = 1e-3
    state = ("m", "v")

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    bias_correction: bool = True
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        settle(self, "beta1", real, 0, 1)
        settle(self, "beta2", real, 0, 1)
        settle(self, "eps", real, SMALLEST)  # below, it would count as zero
        settle(self, "bias_correction", switch)
        settle(self, "weight_decay", real, 0)

    def update(self, w: Vector, g: Vector, state: State, lr: float, t: int) -> None:
        m, v = state["m"], state["v"]
        m[:] = self.beta1 * m + (1 - self.beta1) * g
        v[:] = self.beta2 * v + (1 - self.beta2) * (g * g)
        correct1 = 1 - power(self.beta1, t) if self.bias_correction else 1.0
        correct2 = 1 - power(self.beta2, t) if self.bias_correction else 1.0
        w -= (lr / correct1) * (m / (np.sqrt(v) / math.sqrt(correct2) + self.eps))
