"""Test-time augmentation: what a network says of an image is its mean answer to several views of it.

Krizhevsky et al. 2012 ("ImageNet Classification with Deep Convolutional Neural Networks", section 4.1) averaged the
answers to five cuttings and their mirror images; the mirror image alone brings most of it where all of the image is
looked at.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from foveal.plan import EvaluationResult, Plan, Source


def judge(plan: Plan, source: Source, tta: str, index: NDArray[np.int64] | None = None) -> EvaluationResult:
    """What the network says of the images at `index` (all when None).

    tta "none": of each as it is. "flip": the mean of its logits and of its mirror image's, which stands for the
    geometric mean of their probabilities; the loss is that of the mean.
    """
    plain = plan.evaluate_on(source, index)
    if tta == "none":
        return plain
    logits = (plain.logits + plan.evaluate_on(source, index, mirrored=True).logits) * np.float32(0.5)
    labels = source.labels if index is None else source.labels[index]
    losses = [cross_entropy(row, label) for row, label in zip(logits.tolist(), labels.tolist(), strict=True)]
    return EvaluationResult(math.fsum(losses) / max(len(losses), 1), np.array(losses, np.float32), logits)


def softmax(logits: Sequence[float]) -> list[float]:
    """Probabilities (K,) of scores (K,), one by one, so that neighbours in an array cannot change a bit."""
    highest = max(logits)
    exponentials = [math.exp(score - highest) for score in logits]
    total = math.fsum(exponentials)
    return [value / total for value in exponentials]


def cross_entropy(logits: Sequence[float], label: int) -> float:
    """-log softmax(logits)[label], one by one as well."""
    highest = max(logits)
    return math.log(math.fsum(math.exp(score - highest) for score in logits)) + highest - logits[label]
