"""Stochastic gradient descent with momentum."""

from foveal.checks import real, settle, switch
from foveal.errors import UsageError
from foveal.optim.base import Optimizer, State, Vector, optimizer


@optimizer
class Momentum(Optimizer):
    """v ← momentum · v + (1 - dampening) · g;  w ← w - lr · v.  The first step takes v = g.

    nesterov: w ← w - lr · (g + momentum · v), which needs dampening 0. Polyak 1964; Sutskever et al. 2013, section 2;
    the form is PyTorch's: the rate is outside v, so changing it acts at once.
    """

    name = "momentum"
    default_lr = 0.02
    state = ("velocity",)

    momentum: float = 0.9
    nesterov: bool = False
    dampening: float = 0.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        settle(self, "momentum", real, 0, 1)
        settle(self, "nesterov", switch)
        settle(self, "dampening", real, 0, 1)
        settle(self, "weight_decay", real, 0)
        if self.nesterov and (self.dampening or not self.momentum):
            raise UsageError("Momentum(nesterov=True) needs a momentum above 0 and dampening 0")

    def update(self, w: Vector, g: Vector, state: State, lr: float, t: int) -> None:
        v = state["velocity"]
        v[:] = g if t == 1 else self.momentum * v + (1 - self.dampening) * g
        w -= lr * (g + self.momentum * v if self.nesterov else v)
