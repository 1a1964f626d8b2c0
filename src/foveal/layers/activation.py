"""Activations: elementwise, any shape in, the same shape out."""

import numpy as np

from foveal.layers.base import Context, Layer, Params, Tensor, layer


@layer
class ReLU(Layer):
    """Rectified linear unit: y = max(x, 0). The derivative at 0 is taken as 0."""

    def forward(self, x: Tensor, params: Params, ctx: Context) -> tuple[Tensor, Tensor]:
        y = np.maximum(x, 0)
        return y, y

    def backward(self, dy: Tensor, saved: Tensor, params: Params, ctx: Context) -> tuple[Tensor, dict[str, Tensor]]:
        return np.where(saved > 0, dy, 0), {}
