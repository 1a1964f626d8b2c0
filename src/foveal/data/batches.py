"""Batches: the order of an epoch and where it is cut."""

import numpy as np
from numpy.typing import NDArray

from foveal import rng


def epoch_order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """The order of `count` training images in an epoch: a permutation computed from (seed, epoch)."""
    return rng.permutation(rng.stream_key(seed, "order", epoch), count)


def batch_bounds(count: int, batch_size: int, *, drop_single: bool) -> list[tuple[int, int]]:
    """(begin, end) of each batch. The last, smaller one is kept; one of a single image is dropped if `drop_single`.

    (Batch norm cannot train on one value a channel.) A set of one image is never dropped.
    """
    bounds = [(start, min(start + batch_size, count)) for start in range(0, count, batch_size)]
    if drop_single and len(bounds) > 1 and bounds[-1][1] - bounds[-1][0] == 1:
        bounds.pop()
    return bounds
