"""The loss: softmax and cross-entropy together."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.checks import LARGEST, SMALLEST, real, settle
from foveal.errors import UsageError
from foveal.layers.base import Tensor

Labels = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class SoftmaxCrossEntropy:
    """Mean over the batch of the cross-entropy between the labels and p = softmax(logits).

    logits (N, K), labels y (N,) in 0 … K - 1 → loss, a number; dlogits (N, K). Plain: loss = Σₙ -log pₙ[yₙ] / N and
    dlogits = (p - onehot) / N. With weights w (K,), one for each class, and label smoothing ε, the label's probability
    1 becomes 1 - ε and the rest is shared among all classes:

        q[n, k] = (1 - ε) w[yₙ] [k = yₙ] + ε / K · w[k]
        loss = Σₙ Σₖ -q[n, k] log p[n, k] / Σₙ w[yₙ];   dlogits[n, k] = (p[n, k] Σⱼ q[n, j] - q[n, k]) / Σₙ w[yₙ]

    Szegedy et al. 2015 (arXiv 1512.00567, section 7); where weights and smoothing meet the form is PyTorch's.
    """

    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        settle(self, "label_smoothing", real, 0, 1)
        settle(self, "class_weights", _weights)

    @property
    def plain(self) -> bool:
        """Whether this is the plain cross-entropy."""
        return not self.label_smoothing and self.class_weights is None

    def forward(self, logits: Tensor, labels: Labels) -> tuple[float, Tensor]:
        shifted = logits - logits.max(axis=1, keepdims=True)
        log_softmax = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        return float(self.losses(log_softmax, labels).sum() / self._total(log_softmax, labels)), log_softmax

    def losses(self, saved: Tensor, labels: Labels) -> Tensor:
        """Σₖ -q[n, k] log p[n, k] of each image (N,)."""
        w, smooth = self._class_weights(saved), self.label_smoothing
        losses: Tensor = -(1 - smooth) * w[labels] * saved[np.arange(len(labels)), labels]
        if smooth:
            losses = losses - smooth / saved.shape[1] * (w * saved).sum(axis=1)
        return losses

    def backward(self, saved: Tensor, labels: Labels) -> Tensor:
        w, smooth = self._class_weights(saved), self.label_smoothing
        q = np.broadcast_to(smooth / saved.shape[1] * w, saved.shape).copy()
        q[np.arange(len(labels)), labels] += (1 - smooth) * w[labels]
        dlogits: Tensor = (np.exp(saved) * q.sum(axis=1, keepdims=True) - q) / self._total(saved, labels)
        return dlogits

    def _class_weights(self, like: Tensor) -> Tensor:
        weights = np.ones(like.shape[1]) if self.class_weights is None else np.array(self.class_weights)
        return weights.astype(like.dtype)

    def _total(self, saved: Tensor, labels: Labels) -> Any:
        return self._class_weights(saved)[labels].sum()


def _weights(value: Any, name: str) -> tuple[float, ...] | None:
    """Positive numbers that float32 holds, as a tuple; or None."""
    if value is None:
        return None
    if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        raise UsageError(f"{name} must be a number for each class, not {value!r}")
    return tuple(real(weight, f"{name}[{k}]", SMALLEST, high=LARGEST) for k, weight in enumerate(value))
