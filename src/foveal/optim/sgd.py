"""Stochastic gradient descent, plain."""

from foveal.checks import real, settle
from foveal.optim.base import Optimizer, State, Vector, optimizer


@optimizer
class SGD(Optimizer):
    """w ← w - lr · g."""

    name = "sgd"
    default_lr = 0.1
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        settle(self, "weight_decay", real, 0)

    def update(self, w: Vector, g: Vector, state: State, lr: float, t: int) -> None:
        w -= lr * g
