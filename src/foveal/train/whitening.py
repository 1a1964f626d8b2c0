"""Whitening as an initialisation: first filters that make the values of neighbouring pixels uncorrelated.

For Conv2d(init="whitening"), after Jordan 2024 (arXiv 2404.00498, section 3.2) and tysam-code's hlb-CIFAR10. N images,
D = I · KH · KW values of a patch in the order of a filter's weights (I, KH, KW).
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from foveal.data import Preprocess
from foveal.errors import ShapeError
from foveal.layers import Conv2d
from foveal.models import places
from foveal.params import Array
from foveal.plan import Plan

EPSILON: Final = 5e-4  # of the variance: patches hardly differ in some directions, and noise should not fill them
_PATCHES: Final = 5_000_000  # of images evenly spread, and no more: enough for the covariance of so few values
_VALUES_AT_ONCE: Final = 1 << 22
_SWEEPS: Final = 30  # Jacobi's method converges quadratically: ten are enough for hundreds of values

Matrix = NDArray[np.float64]


def whiten(plan: Plan, pixels: NDArray[np.uint8], preprocess: Preprocess) -> None:
    """Write the initial weights of the convolution that asks for it, if any, from training pixels (N, H, W, I).

    Raises ShapeError for a layer that is not the first, has groups, or is larger than the images.
    """
    for position, (place, layer) in enumerate(places(plan.net)):
        if not (isinstance(layer, Conv2d) and layer.init == "whitening"):
            continue
        if position or layer.groups > 1:
            why = f"has groups={layer.groups}" if layer.groups > 1 else "is not the first"
            raise ShapeError(
                f'layer {place} (Conv2d): init="whitening" is for a first layer without groups; this {why}'
            )
        name = f"{place}.weight"
        plan.params[name] = whitened(plan.params[name], layer, pixels, preprocess)


def whitened(weight: Array, layer: Conv2d, pixels: NDArray[np.uint8], preprocess: Preprocess) -> Array:
    """weight (O, I, KH, KW) with the first filters replaced by the D whitening ones, from the largest variance on, and
    then by their negatives, so that a ReLU loses nothing; with O < 2 D, by the first O / 2 of each."""
    rows = whitening(covariance(pixels, preprocess, layer))
    count = min(len(rows), layer.filters // 2)
    first = rows[:count].reshape(count, *weight.shape[1:]).astype(np.float32)
    return np.concatenate([first, -first, weight[2 * count :]])


def covariance(pixels: NDArray[np.uint8], preprocess: Preprocess, layer: Conv2d) -> Matrix:
    """(D, D), over all of a layer's patches within the images, of their normalised values.

    From sums of integers below 2^53, which float64 adds exactly in any order: the same on every machine.
    """
    (high, wide), (down, across) = layer.kernel, layer.dilations
    rows, columns = pixels.shape[1] - layer.extent[0] + 1, pixels.shape[2] - layer.extent[1] + 1
    if min(rows, columns) < 1:
        raise ShapeError(f'init="whitening": images of {pixels.shape[2]}×{pixels.shape[1]} are smaller than its kernel')
    pixels = pixels[:: -(-len(pixels) // max(1, _PATCHES // (rows * columns)))]
    size = pixels.shape[3] * high * wide
    at_once = max(1, _VALUES_AT_ONCE // (rows * columns * size))
    sums, products = np.zeros(size), np.zeros((size, size))
    for start in range(0, len(pixels), at_once):
        part = pixels[start : start + at_once]
        corners = ((y * down, x * across) for y, x in np.ndindex(high, wide))
        taps = [part[:, y : y + rows, x : x + columns] for y, x in corners]
        patches = np.stack(taps, axis=-1).astype(np.float64).reshape(-1, size)
        sums += patches.sum(axis=0)
        products += patches.T @ patches
    count = len(pixels) * rows * columns
    scale = np.repeat(preprocess.scale.astype(np.float64), high * wide)
    of_pixels: Matrix = products / count - np.outer(sums / count, sums / count)
    return of_pixels * np.outer(scale, scale)


def whitening(covariance: Matrix) -> Matrix:
    """(D, D): row k is the eigenvector of the k-th largest variance λ, divided by √(λ + ε)."""
    variances, vectors = eigen(covariance)
    return vectors.T / np.sqrt(variances + EPSILON)[:, None]


def eigen(symmetric: Matrix) -> tuple[Matrix, Matrix]:
    """(values (D,) from the largest on, vectors (D, D) in columns) of a symmetric matrix, by cyclic Jacobi rotations.

    Golub and Van Loan, "Matrix Computations" (4th edition 2013), section 8.5. LAPACK's would be faster, but its last
    bits differ between machines.
    """
    a, v = symmetric.copy(), np.eye(len(symmetric))
    for _ in range(_SWEEPS):
        if float(np.abs(a - np.diag(np.diag(a))).max()) <= 1e-15 * float(np.abs(a).max()):
            break
        for p, q in zip(*np.triu_indices(len(a), 1), strict=True):
            if a[p, q] == 0:
                continue
            ratio = float(a[q, q] - a[p, p]) / (2 * float(a[p, q]))
            t = math.copysign(1 / (abs(ratio) + math.sqrt(1 + ratio * ratio)), ratio)
            c = 1 / math.sqrt(1 + t * t)
            s = t * c
            a[[p, q]] = c * a[p] - s * a[q], s * a[p] + c * a[q]
            a[:, [p, q]] = np.stack([c * a[:, p] - s * a[:, q], s * a[:, p] + c * a[:, q]], axis=1)
            v[:, [p, q]] = np.stack([c * v[:, p] - s * v[:, q], s * v[:, p] + c * v[:, q]], axis=1)
    order = np.argsort(-np.diag(a), kind="stable")
    return np.diag(a)[order], v[:, order]
