"""The loss: softmax and cross-entropy together."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.layers.base import Tensor

Labels = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class SoftmaxCrossEntropy:
    """Mean over the batch of -log softmax(logits)[label].

    logits (N, K), labels (N,) in 0 … K - 1 → loss, a number; dlogits (N, K) = (softmax - onehot) / N.
    """

    def forward(self, logits: Tensor, labels: Labels) -> tuple[float, Tensor]:
        shifted = logits - logits.max(axis=1, keepdims=True)
        log_softmax = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        return float(-log_softmax[np.arange(len(labels)), labels].mean()), log_softmax

    def backward(self, saved: Tensor, labels: Labels) -> Tensor:
        dlogits = np.exp(saved)
        dlogits[np.arange(len(labels)), labels] -= 1
        return dlogits / len(labels)
