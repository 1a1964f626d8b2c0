"""Prodigy, an optimizer that is to need no learning rate, as a rival of the search: Mishchenko and Defazio 2023 (arXiv
2306.06101), algorithm 4 (Adam's form), with the settings of its authors' package: d₀ 1e-6, growth not limited, no
bias correction, and lr 1 times the schedule. Not among foveal's optimizers: it is written as any user's own would be.
"""

import math
from dataclasses import field
from typing import Any

import numpy as np

from foveal.optim import Optimizer, optimizer
from foveal.optim.base import State, Vector


@optimizer
class Prodigy(Optimizer):
    """w ← w - lr · d · m / (√v + d · eps), with d, the distance to the answer, estimated as it goes.

    d is of all weights, but a rule is called for the decayed ones and the others in turn. So what the calls of a step
    sum up is kept here, and d follows from it at the first call of the next one: where the authors change it too, but
    for eps.
    """

    name = "prodigy"
    default_lr = 1.0
    state = ("m", "v", "s", "first")

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    d0: float = 1e-6
    weight_decay: float = 0.0
    memory: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def update(self, w: Vector, g: Vector, state: State, lr: float, t: int) -> None:
        memory, beta3 = self.memory, math.sqrt(self.beta2)
        if t == 1:
            memory.clear()
            state["first"][:] = w
        if memory.get("t") != t:
            self._next_step(t, beta3)
        d = memory["d"]
        share = d / self.d0 * d * lr
        m, v, s = state["m"], state["v"], state["s"]
        memory["numerator"] += share * float(np.dot(g.astype(np.float64), state["first"] - w))
        m[:] = self.beta1 * m + d * (1 - self.beta1) * g
        v[:] = self.beta2 * v + d * d * (1 - self.beta2) * (g * g)
        s[:] = beta3 * s + share * g
        memory["denominator"] += float(np.abs(s).sum(dtype=np.float64))
        w -= d * lr * (m / (np.sqrt(v) + d * self.eps))

    def _next_step(self, t: int, beta3: float) -> None:
        """d from the sums of the step before."""
        memory = self.memory
        if not memory:
            memory |= {"d": self.d0, "numerator": 0.0}
        elif memory["denominator"] > 0:
            memory["d"] = max(memory["d"], memory["numerator"] / memory["denominator"])
        memory["t"], memory["denominator"] = t, 0.0
        memory["numerator"] *= beta3
