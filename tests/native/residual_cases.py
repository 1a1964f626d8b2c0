"""Residual blocks: the sum of two branches, and values put in another order. An addition rounds once."""

import numpy as np
from kernel_case import Case, Out, Want, register, tolerance
from layout import floats, gate

PIECE = 1 << 14  # floats of one work item, parallel.inl.h


def forward(images: int, count: int, batch: int, *, relu: bool = False) -> Case:
    body, shortcut = floats(1, images, count), floats(2, images, count)
    y = body[:batch].astype(np.float64) + shortcut[:batch]
    args = {"body": body, "shortcut": shortcut, "y": Out(body.size), "count": count, "relu": int(relu)}
    want = Want(np.maximum(y, 0) if relu else y, tolerance(1, np.abs(y)))
    return Case("residual_forward", args, {"y": want}, batch)


def backward(images: int, count: int, batch: int, *, mask: bool = False) -> Case:
    body, shortcut, x = floats(1, images, count), floats(2, images, count), gate(3, images, count)
    dx = body[:batch].astype(np.float64) + shortcut[:batch]
    dx = np.where(x[:batch] > 0, dx, 0) if mask else dx
    args = {
        "body": body, "shortcut": shortcut, "mask": x if mask else None, "dx": Out(body.size), "count": count,
    }  # fmt: skip
    return Case("residual_backward", args, {"dx": Want(dx, tolerance(1, np.abs(dx)))}, batch)


def reorder(images: int, inputs: int, outputs: int, batch: int) -> Case:
    """A permutation with gaps: places that nothing comes to are zeros."""
    x, index = floats(1, images, inputs), np.full(outputs, -1, np.int32)
    places = np.random.default_rng(2).permutation(min(inputs, outputs))[: min(inputs, outputs) - 3]
    index[places] = np.random.default_rng(3).permutation(inputs)[: len(places)]
    y = np.where(index < 0, 0, x[:batch, np.maximum(index, 0)])
    args = {"x": x, "index": index, "y": Out(images * outputs), "inputs": inputs, "outputs": outputs}
    return Case("reorder_values", args, {"y": Want(y)}, batch)


for edge, sizes in {"one_register": (1, 16, 1), "count_tail": (3, PIECE + 48, 3), "batch_prefix": (5, 48, 3)}.items():
    register("residual_forward", edge, lambda s=sizes: forward(*s))
    register("residual_forward", f"{edge}_relu", lambda s=sizes: forward(*s, relu=True))
    register("residual_backward", edge, lambda s=sizes: backward(*s))
    register("residual_backward", f"{edge}_mask", lambda s=sizes: backward(*s, mask=True))
register("reorder_values", "as_many", lambda: reorder(2, 48, 48, 2))
register("reorder_values", "fewer", lambda: reorder(3, 100, 32, 3))
register("reorder_values", "more", lambda: reorder(4, 16, 64, 2))
