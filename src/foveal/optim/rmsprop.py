"""RMSProp."""

import numpy as np

from foveal.checks import SMALLEST, real, settle
from foveal.optim.base import Optimizer, State, Vector, optimizer


@optimizer
class RMSProp(Optimizer):
    """v ← α v + (1 - α) g²;  w ← w - lr · g / (√v + eps).

    AdaGrad with a window of about 1 / (1 - α) updates instead of the whole past. v starts at 0 and is not corrected:
    the first step is lr / √(1 - α) long, 10 lr for the default α. Tieleman and Hinton 2012 (Coursera, lecture 6.5); the
    form is PyTorch's: eps outside the root, no momentum, not centred.
    """

    name = "rmsprop"
    default_lr = 1e-3
    state = ("v",)

    alpha: float = 0.99
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        settle(self, "alpha", real, 0, 1)
        settle(self, "eps", real, SMALLEST)
        settle(self, "weight_decay", real, 0)

    def update(self, w: Vector, g: Vector, state: State, lr: float, t: int) -> None:
        v = state["v"]
        v[:] = self.alpha * v + (1 - self.alpha) * (g * g)
        w -= lr * (g / (np.sqrt(v) + self.eps))
