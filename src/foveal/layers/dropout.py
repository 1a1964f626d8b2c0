"""Dropout."""

import numpy as np

from foveal.checks import real, settle
from foveal.layers.base import Context, Layer, Params, Tensor, layer


@layer
class Dropout(Layer):
    """In training, set each value to 0 with probability p and multiply the others by 1 / (1 - p); otherwise nothing.

    Any shape. What is dropped is computed from (seed, epoch, step, layer, place in the batch, channel, row, column).
    Hinton et al. 2012 (arXiv 1207.0580); scaled at training time ("inverted"), Srivastava et al. 2014, section 10.
    """

    p: float

    def __post_init__(self) -> None:
        settle(self, "p", real, 0, 1)

    def forward(self, x: Tensor, params: Params, ctx: Context) -> tuple[Tensor, Tensor | None]:
        if not ctx.training or self.p == 0:
            return x, None
        scale = np.where(ctx.rng.uniform(x.shape) >= self.p, np.float32(1 / (1 - self.p)), np.float32(0))
        return x * scale, scale

    def backward(
        self, dy: Tensor, saved: Tensor | None, params: Params, ctx: Context
    ) -> tuple[Tensor, dict[str, Tensor]]:
        return (dy if saved is None else dy * saved), {}
