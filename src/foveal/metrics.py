"""Metrics of a classifier on a set of images."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ClassMetrics:
    """One class: precision, recall and F1 (0 where undefined), and its number of images."""

    name: str
    precision: float
    recall: float
    f1: float
    count: int


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Metrics over `count` images. confusion (K, K): rows are true classes, columns predictions.

    balanced_accuracy and macro_f1 are means over the classes that occur.
    """

    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    loss: float
    count: int
    class_names: tuple[str, ...]
    per_class: tuple[ClassMetrics, ...]
    confusion: NDArray[np.int64]

    def to_json(self) -> dict[str, Any]:
        return {
            "accuracy": self.accuracy,
            "balanced_accuracy": self.balanced_accuracy,
            "macro_f1": self.macro_f1,
            "loss": self.loss,
            "count": self.count,
            "class_names": list(self.class_names),
            "per_class": [asdict(metrics) for metrics in self.per_class],
            "confusion": self.confusion.tolist(),
        }


def evaluate_predictions(
    predicted: NDArray[np.integer[Any]], labels: NDArray[np.integer[Any]], loss: float, class_names: tuple[str, ...]
) -> Evaluation:
    """Metrics of predicted classes (N,) against labels (N,), both from 0 to K - 1."""
    k = len(class_names)
    confusion = np.bincount(labels.astype(np.int64) * k + predicted, minlength=k * k).reshape(k, k)
    right, true, said = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    per_class = tuple(
        ClassMetrics(
            name, _ratio(right[i], said[i]), _ratio(right[i], true[i]), _ratio(2 * right[i], said[i] + true[i]), int(true[i])
        )
        for i, name in enumerate(class_names)
    )
    occurring = [metrics for metrics in per_class if metrics.count]
    balanced = sum(metrics.recall for metrics in occurring) / max(len(occurring), 1)
    macro_f1 = sum(metrics.f1 for metrics in occurring) / max(len(occurring), 1)
    accuracy = _ratio(right.sum(), len(labels))
    return Evaluation(accuracy, balanced, macro_f1, loss, len(labels), class_names, per_class, confusion)


def _ratio(part: Any, whole: Any) -> float:
    return float(part) / float(whole) if whole else 0.0
