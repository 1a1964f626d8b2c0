"""AdamW: Adam with decoupled weight decay."""

from foveal.optim.adam import Adam
from foveal.optim.base import Vector, optimizer


@optimizer
class AdamW(Adam):
    """w ← w - lr · weight_decay · w, then Adam's rule with the gradient as it is.

    The decay is not divided by √v̂, as it is where it is added to the gradient (Adam). Loshchilov and Hutter 2017 (arXiv
    1711.05101, algorithm 2); the form is PyTorch's: the decay is multiplied by lr, and done first. PyTorch's default
    weight_decay is 0.01, ours 0 as everywhere.
    """

    name = "adamw"

    def decay(self, w: Vector, g: Vector, lr: float, share: float) -> Vector:
        if share:
            w -= (lr * share) * w
        return g
