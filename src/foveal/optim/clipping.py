"""Limits on lengths: of the whole gradient before an update, and of each unit's weights after it."""

import math

import numpy as np

from foveal.optim.base import Vector


def clip_norm(gradient: Vector, most: float) -> float:
    """g ← g · min(1, most / (‖g‖ + 1e-6)), in place; returns ‖g‖ as it was.

    gradient: of all parameters, as one vector, before weight decay. Pascanu, Mikolov and Bengio 2012 (arXiv 1211.5063,
    algorithm 1); the form is PyTorch's `clip_grad_norm_`. The squares are summed in float64.
    """
    norm = math.sqrt(np.square(gradient, dtype=np.float64).sum())
    share = most / (norm + 1e-6)
    if not share >= 1:  # NaN must show
        gradient *= gradient.dtype.type(share)
    return norm


def limit_norms(weight: Vector, most: float) -> None:
    """w[o] ← w[o] · most / ‖w[o]‖ for every unit o whose incoming weights are longer than `most`, in place.

    weight (O, …): the weights of a dense layer (O, I) or the filters of a convolution (O, I, KH, KW). Hinton et al.
    2012 (arXiv 1207.0580); Srivastava et al. 2014 (JMLR 15, section 5.1), who call it max-norm. In float64.
    """
    rows = weight.reshape(len(weight), -1).astype(np.float64)
    norms = np.sqrt(np.square(rows).sum(axis=1))
    scale = np.where(norms > most, most / np.where(norms > most, norms, 1.0), 1.0).astype(weight.dtype)
    weight *= scale.reshape(-1, *[1] * (weight.ndim - 1))
