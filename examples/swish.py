"""A layer of one's own: Swish with a learned β for each channel."""

import numpy as np

import foveal as fv
from foveal.params import ones


@fv.layer
class Swish(fv.Layer):
    """y = x σ(βx), σ(z) = 1 / (1 + e⁻ᶻ) (Ramachandran et al. 2017, arXiv 1710.05941); any shape, β (C,) learned."""

    def param_slots(self, in_shape):
        yield fv.ParamSlot("beta", (in_shape[0],), init=ones, decays=False)

    def forward(self, x, params, ctx):
        beta = params["beta"].reshape(-1, *[1] * (x.ndim - 2))
        gate = (np.tanh(beta * x / 2) + 1) / 2
        return x * gate, (x, beta, gate)

    def backward(self, dy, saved, params, ctx):
        x, beta, gate = saved
        slope = dy * x * gate * (1 - gate)
        sum_over = (0, *range(2, x.ndim))
        return dy * gate + beta * slope, {"beta": (slope * x).sum(axis=sum_over)}
