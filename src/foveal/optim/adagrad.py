"""AdaGrad."""

import numpy as np

from foveal.checks import SMALLEST, real, settle
from foveal.optim.base import Optimizer, State, Vector, optimizer


@optimizer
class AdaGrad(Optimizer):
    """h ← h + g²;  w ← w - lr · g / (√h + eps).

    h starts at 0 and only grows, so every weight's rate lr / √h only falls, as 1/√t does under gradients of one size.
    Duchi, Hazan and Singer 2011 (JMLR 12, figure 1, diagonal form); the form is PyTorch's: eps outside the root.
    """

    name = "adagrad"
    default_lr = 2e-2
    state = ("sum",)

    eps: float = 1e-10
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        settle(self, "eps", real, SMALLEST)  # below, it would count as zero
        settle(self, "weight_decay", real, 0)

    def update(self, w: Vector, g: Vector, state: State, lr: float, t: int) -> None:
        h = state["sum"]
        h += g * g
        w -= lr * (g / (np.sqrt(h) + self.eps))
