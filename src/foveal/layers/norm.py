"""Batch normalisation."""

from collections.abc import Iterator

import numpy as np

from foveal.checks import real, settle
from foveal.errors import ShapeError
from foveal.layers.base import Context, Layer, Params, Shape, Tensor, layer
from foveal.params import ParamSlot, ones, zeros

Saved = tuple[Tensor, Tensor]


@layer
class BatchNorm(Layer):
    """Standardise each channel over the batch, then scale and shift: y = γ x̂ + β, x̂ = (x - mean) / √(var + eps).

    x (N, C, H, W), per channel over N, H, W; or (N, F), per feature over N.  weight γ (C,), bias β (C,).
    In training, mean and (biased) variance are the batch's, and the running ones move towards them by `momentum`, the
    weight of the new value; the running variance takes the unbiased one. Otherwise the running ones are used, which
    are constants to the backward pass. Raises ShapeError when training sees fewer than 2 values per channel.
    Ioffe and Szegedy 2015 (arXiv 1502.03167), algorithms 1 and 2; defaults and running values as in PyTorch.
    """

    eps: float = 1e-5
    momentum: float = 0.1

    def __post_init__(self) -> None:
        settle(self, "eps", real, above=0)
        settle(self, "momentum", real, above=0, high=1)

    def param_slots(self, in_shape: Shape) -> Iterator[ParamSlot]:
        shape = (in_shape[0],)
        yield ParamSlot("weight", shape, init=ones, decays=False)
        yield ParamSlot("bias", shape, init=zeros, decays=False)
        yield ParamSlot("running_mean", shape, init=zeros, kind="running")
        yield ParamSlot("running_var", shape, init=ones, kind="running")

    def forward(self, x: Tensor, params: Params, ctx: Context) -> tuple[Tensor, Saved]:
        axes, wide = _axes(x)
        mean, var = params["running_mean"], params["running_var"]
        if ctx.training:
            count = x.size // x.shape[1]
            if count < 2:
                raise ShapeError("BatchNorm needs at least 2 values per channel to train; give it a larger batch")
            mean, var = x.mean(axis=axes), x.var(axis=axes)
            params["running_mean"][:] = (1 - self.momentum) * params["running_mean"] + self.momentum * mean
            unbiased = var * (count / (count - 1))
            params["running_var"][:] = (1 - self.momentum) * params["running_var"] + self.momentum * unbiased
        inverse = 1 / np.sqrt(var + self.eps)
        normal = (x - mean.reshape(wide)) * inverse.reshape(wide)
        return params["weight"].reshape(wide) * normal + params["bias"].reshape(wide), (normal, inverse)

    def backward(self, dy: Tensor, saved: Saved, params: Params, ctx: Context) -> tuple[Tensor, dict[str, Tensor]]:
        normal, inverse = saved
        axes, wide = _axes(dy)
        dweight, dbias = (dy * normal).sum(axis=axes), dy.sum(axis=axes)
        if ctx.training:  # the batch's mean and variance depend on x too
            dy = dy - (dbias.reshape(wide) + normal * dweight.reshape(wide)) / (dy.size // dy.shape[1])
        return (params["weight"] * inverse).reshape(wide) * dy, {"weight": dweight, "bias": dbias}

    def flops(self, in_shape: Shape) -> int:
        return 2 * int(np.prod(in_shape))


def _axes(x: Tensor) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(axes of the statistics, shape in which per-channel values broadcast against x)."""
    return ((0, 2, 3), (1, -1, 1, 1)) if x.ndim == 4 else ((0,), (1, -1))
