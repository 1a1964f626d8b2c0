"""Definitions in NumPy of the compute kernels that are no layer, loss or optimizer."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

# what is done to an image of a batch, one int32 each; all 0: nothing
MOVE: Final = ("flip", "dy", "dx", "top", "left", "bottom", "right")


def reflect(i: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Positions mirrored at both ends of 0 … size - 1 without repeating the ends; |i| beyond by less than size."""
    if size == 1:
        return np.zeros_like(i)
    i = np.abs(i)
    return np.where(i < size, i, 2 * (size - 1) - i)


def assemble(
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int32],
    index: NDArray[np.int64],
    moves: NDArray[np.int32],
    scale: NDArray[np.float32],
    shift: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """A batch: images gathered by index, moved and normalised.

    pixels (M, H, W, C), labels (M,), index (N,), moves (N, 7) [flip 0 or 1, dy, dx, top, left, bottom, right], scale
    and shift (C,) → x (N, C, H, W), y (N,).  x[h, w] = 0 where top ≤ h < bottom and left ≤ w < right; elsewhere
    pixel[reflect(h + dy), reflect(w' + dx)] · scale + shift with w' = w, or W - 1 - w where flipped. The product of
    an integer below 256 and a float32 is exact in float64, so this rounds as one fused multiply-add does (but for
    double rounding, once in about 2²⁹).
    """
    _, high, wide, _ = pixels.shape
    flip, dy, dx, top, left, bottom, right = moves.astype(np.int64).T[:, :, None]
    down, across = np.arange(high), np.arange(wide)
    rows = reflect(down + dy, high)
    columns = reflect(np.where(flip != 0, wide - 1 - across, across) + dx, wide)
    images = pixels[index[:, None, None], rows[:, :, None], columns[:, None, :]].astype(np.float64)
    x = (images * scale.astype(np.float64) + shift.astype(np.float64)).astype(np.float32)
    x[((top <= down) & (down < bottom))[:, :, None] & ((left <= across) & (across < right))[:, None, :]] = 0
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2)), labels[index]
