"""Stochastic gradient descent, plain."""

from foveal.optim.base import Optimizer, State, Vector, check_fraction, optimizer


@optimizer
class SGD(Optimizer):
    """w ← w - lr · g."""

    name = "sgd"
    default_lr = 0.1
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        check_fraction("SGD", "weight_decay", self.weight_decay, below=float("inf"))

    def update(self, w: Vector, g: Vector, state: State, lr: float, t: int) -> None:
        w -= lr * g
