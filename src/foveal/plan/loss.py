"""The loss as a step: class scores and labels → mean loss, number of correct answers, and the scores' gradient."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from foveal.errors import ShapeError
from foveal.kernels import REFERENCE
from foveal.layers import SoftmaxCrossEntropy
from foveal.plan.inout import InputOutput
from foveal.plan.lower import logical, new_value, plain, reordered, store
from foveal.plan.program import Arrays, Buffer, Builder, Gradient, RunInfo, Value

PLAIN = SoftmaxCrossEntropy()


def lower_scores(logits: Value, b: Builder) -> tuple[Value, Callable[[Gradient], Gradient]]:
    """The class scores in their order, and the way back for their gradient: a flattened image of several pixels lies
    pixel by pixel."""
    logits = plain(logits)
    if logits.pixels == 1:
        return logits, lambda dy: dy
    y = new_value(b, "scores", logits.shape)
    y = replace(y, buffer=reordered(logits.buffer, logits, y, b))
    return y, lambda dy: Gradient(reordered(dy.buffer, y, logits, b))


def lower_loss(
    logits: Value, dlogits: Buffer | None, io: InputOutput, b: Builder, spec: SoftmaxCrossEntropy = PLAIN
) -> None:
    """Emit the loss; where nobody needs their gradient, the logits outlive the arena to be read."""
    weights = spec.class_weights
    if weights is not None and len(weights) != logits.channels:
        raise ShapeError(f"class_weights needs one for each of the {logits.channels} classes, not {len(weights)}")
    if dlogits is None:
        logits.buffer.region = "fixed"
    if b.isa != REFERENCE:
        b.emit(
            "softmax_cross_entropy", logits=logits.buffer, labels=io.labels, losses=io.losses, dlogits=dlogits,
            class_weights=b.fixed("class weights", np.array(weights, np.float32)) if weights else None,
            result=io.result, classes=logits.channels, stride=logits.stored, label_smoothing=spec.label_smoothing,
        )  # fmt: skip
        return

    def loss(at: Arrays, run: RunInfo) -> None:
        scores, labels = logical(logits, at(logits.buffer), run.batch), at(io.labels)[: run.batch]
        mean, saved = spec.forward(scores, labels)
        at(io.losses)[: run.batch] = spec.losses(saved, labels)
        at(io.result)[:] = mean, np.count_nonzero(scores.argmax(axis=1) == labels)
        if dlogits is not None:
            store(logits, at(dlogits), spec.backward(saved, labels))

    touched = [logits.buffer, io.labels, io.losses, io.result, *([dlogits] if dlogits else [])]
    b.python("SoftmaxCrossEntropy", loss, touched)
