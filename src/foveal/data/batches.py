"""Batches: the order of an epoch, where its batches begin and end, and what assembling one means.

`assemble(pixels, labels, index, moves, scale, shift)` is the definition, in NumPy, of the native batch assembler,
which is tested against it: output pixel (h, w) takes source pixel (reflect(h + dy), reflect(w' + dx)), where w' = w,
or W − 1 − w in a flipped image (so the flip comes first, on the output), and reflect mirrors at both ends without
repeating the edge, as numpy.pad's mode "reflect" does. The value is pixel · scale + shift of its channel, or 0,
which is the mean, in a rectangle of the output that is cut out.
"""

import numpy as np
from numpy.typing import NDArray

from foveal.checks import integer
from foveal.kernels.reference import assemble
from foveal.rng import permutation, stream_key

__all__ = ["assemble", "batch_bounds", "epoch_order"]


def epoch_order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """The order (count,) in which epoch 0, 1, … goes through `count` training images."""
    return permutation(stream_key(seed, "order", epoch), count).astype(np.int64)


def batch_bounds(count: int, batch_size: int, drop_single: bool = False) -> tuple[tuple[int, int], ...]:
    """(start, stop) of each batch of an epoch of `count` images.

    The last batch is smaller where batch_size does not divide count. drop_single leaves out a batch of one image: batch
    normalization needs two values to have a variance. Raises UsageError for a batch_size below 1.
    """
    integer(batch_size, "batch_size", 1)
    bounds = [(start, min(start + batch_size, count)) for start in range(0, count, batch_size)]
    return tuple((start, stop) for start, stop in bounds if not (drop_single and stop - start == 1))
