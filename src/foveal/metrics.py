"""Metrics of a classifier: accuracy, and per class precision, recall, F1 and the confusion matrix.

N images, K classes. All are fractions, from integer counts.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foveal.errors import DataError, DivergedError, ShapeError


@dataclass(frozen=True)
class ClassScores:
    """One class. precision: of the images predicted as it, those that are; recall: of its images, those predicted so;
    f1: their harmonic mean; count: its images. A fraction of nothing is 0."""

    name: str
    precision: float
    recall: float
    f1: float
    count: int


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How well predictions match labels.

    accuracy: correct of all. balanced_accuracy: mean recall of the classes that have images. macro_f1: mean F1 of the
    classes that have images or were predicted (for the others it is not defined). These are scikit-learn's definitions.
    loss: mean over the images, None if it was not given. confusion: int64 (K, K), rows are labels, columns predictions.
    """

    accuracy: float
    balanced_accuracy: float
    loss: float | None
    count: int
    class_names: tuple[str, ...]
    per_class: tuple[ClassScores, ...]
    confusion: NDArray[np.int64]

    @property
    def macro_f1(self) -> float:
        predicted = self.confusion.sum(axis=0).tolist()
        return _mean([s.f1 for s, times in zip(self.per_class, predicted, strict=True) if s.count or times])

    def confused(self) -> list[tuple[int, int, int]]:
        """(true class, predicted class, how often) of every mistake, the most frequent first."""
        pairs = np.argwhere(self.confusion).tolist()
        mistakes = [(i, j, int(self.confusion[i, j])) for i, j in pairs if i != j]
        return sorted(mistakes, key=lambda mistake: (-mistake[2], mistake[:2]))

    def to_json(self) -> dict[str, Any]:
        """As `foveal evaluate --json` prints it."""
        return {
            "accuracy": self.accuracy,
            "balanced_accuracy": self.balanced_accuracy,
            "macro_f1": self.macro_f1,
            "loss": self.loss if self.loss is not None and math.isfinite(self.loss) else None,
            "count": self.count,
            "class_names": list(self.class_names),
            "per_class": [asdict(scores) for scores in self.per_class],
            "confusion": self.confusion.tolist(),
        }


def evaluate_predictions(
    predictions: ArrayLike, labels: ArrayLike, class_names: Sequence[str], *, loss: float | None = None
) -> Evaluation:
    """Compare predictions, scores (N, K) or classes (N,), with labels (N,); both as positions in `class_names`.

    The predicted class is the one with the highest score, the first of equal ones. Raises ShapeError for arrays that do
    not fit, DataError for no images or an unknown class, DivergedError for scores that are NaN.
    """
    true, predicted = np.asarray(labels), _classes(np.asarray(predictions), len(class_names))
    if true.ndim != 1 or true.shape != predicted.shape:
        raise ShapeError(f"{predicted.shape} predictions do not fit {true.shape} labels")
    if not len(true):
        raise DataError("there are no images to evaluate")
    for name, values in (("labels", true), ("predictions", predicted)):
        if values.dtype.kind not in "iu" or values.min() < 0 or values.max() >= len(class_names):
            raise DataError(f"{name} must be integers from 0 to {len(class_names) - 1}")
    confusion = np.zeros((len(class_names), len(class_names)), np.int64)
    np.add.at(confusion, (true, predicted), 1)
    per_class = tuple(_scores(name, confusion, k) for k, name in enumerate(class_names))
    accuracy = int(confusion.trace()) / len(true)
    balanced = _mean([scores.recall for scores in per_class if scores.count])
    return Evaluation(accuracy, balanced, loss, len(true), tuple(class_names), per_class, confusion)


def _classes(predictions: NDArray[Any], classes: int) -> NDArray[Any]:
    if predictions.ndim != 2:
        return predictions
    if predictions.shape[1] != classes:
        raise ShapeError(f"scores of {predictions.shape[1]} classes do not fit {classes} class names")
    if np.isnan(predictions).any():
        raise DivergedError("the network's scores are not numbers (NaN)")
    chosen: NDArray[np.int64] = predictions.argmax(axis=1)
    return chosen


def _scores(name: str, confusion: NDArray[np.int64], k: int) -> ClassScores:
    hits, predicted, count = int(confusion[k, k]), int(confusion[:, k].sum()), int(confusion[k].sum())
    f1 = 2 * hits / (predicted + count) if predicted + count else 0.0
    return ClassScores(name, hits / predicted if predicted else 0.0, hits / count if count else 0.0, f1, count)


def calibrated_loss(logits: NDArray[np.float32], labels: NDArray[np.integer[Any]], loss: float) -> float:
    """Mean cross-entropy of softmax(logits / T), at the temperature T >= 1 where it is least (temperature scaling: Guo
    et al. 2017, "On Calibration of Modern Neural Networks", section 4.2). It says how good answers are, however sure
    of them the network is. logits: (N, K), finite; loss: that at T = 1, which is what comes back where T = 1 is best.
    """
    z = logits.astype(np.float64)
    z -= z.max(axis=1, keepdims=True)
    own = z[np.arange(len(z)), labels]

    def slope(scale: float) -> float:
        """Of the cross-entropy, which is convex in scale = 1 / T."""
        p = np.exp(scale * z)
        return float(((p * z).sum(axis=1) / p.sum(axis=1) - own).sum())

    if slope(1.0) <= 0:
        return loss
    low, high = -16.0, 0.0  # log2 of the scale
    for _ in range(16):
        middle = (low + high) / 2
        low, high = (low, middle) if slope(2.0**middle) > 0 else (middle, high)
    p = np.exp(2.0**low * z)
    return float((np.log(p.sum(axis=1)) - 2.0**low * own).mean())


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
