"""Decoded images bound to a plan."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveal.errors import ShapeError, UsageError
from foveal.kernels.reference import MOVE
from foveal.plan.bound import BoundProgram
from foveal.plan.memory import Memory

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Source:
    """Images bound to a plan: uint8 pixels (M, H, W, C), labels (M,), and the programs that begin by gathering them.

    memory: the plan's, which tells whose they are.
    """

    memory: Memory
    pixels: NDArray[np.uint8]
    labels: NDArray[np.int32]
    scale: Floats
    shift: Floats
    training: BoundProgram | None
    inference: BoundProgram

    def check(self, index: NDArray[np.int64], moves: NDArray[np.int32], most: int) -> None:
        """Raise ShapeError or UsageError for what would lead native code, which trusts it, beyond the images.

        index (N,), moves (N, 7), N up to `most`.
        """
        count, (images, high, wide, _) = len(index), self.pixels.shape
        if index.shape != (count,) or index.dtype.kind not in "iu" or not 1 <= count <= most:
            raise ShapeError(f"index must be 1 to {most} integers, not {index.dtype} {index.shape}")
        if moves.shape != (count, len(MOVE)):
            raise ShapeError(f"moves must be ({count}, {len(MOVE)}), not {moves.shape}")
        if index.min() < 0 or index.max() >= images:
            raise UsageError(f"index must be from 0 to {images - 1}")
        most_moved = np.array([1, high - 1, wide - 1])
        shifts, (top, left, bottom, right) = moves[:, :3], moves[:, 3:].T
        if (shifts.max(axis=0) > most_moved).any() or (shifts.min(axis=0) < -most_moved).any():
            raise UsageError(f"moves must be 0 or 1, less than {high} rows and less than {wide} columns either way")
        inside = (top >= 0) & (top <= bottom) & (bottom <= high) & (left >= 0) & (left <= right) & (right <= wide)
        if not inside.all():
            raise UsageError(f"what moves cut out must lie within {high} rows and {wide} columns")
