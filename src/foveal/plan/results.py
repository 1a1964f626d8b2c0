"""What a plan answers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class BatchResult:
    """What one training step saw, before its update.

    loss: the one that is trained on; correct: number of right answers; count: number of images.
    """

    loss: float
    correct: int
    count: int


@dataclass(frozen=True, eq=False)
class EvaluationResult:
    """What the network says of a set of images: the plain cross-entropy, mean and of each (N,), and logits (N, K)."""

    loss: float
    losses: Floats
    logits: Floats
