"""The loop that measures what a processor can do at most: halves and small numbers, so that nothing is rounded."""

import numpy as np
from kernel_case import Case, Want, register


def peak(items: int, count: int, batch: int) -> Case:
    y = np.random.default_rng(1).integers(-8, 9, items * 192).astype(np.float32)
    used = y[: batch * 192].astype(np.float64)
    want = used / 2.0**count + (2 - 2.0 ** (1 - count))
    args = {"y": y, "width": 192, "count": count, "factor": 0.5, "term": 1.0}
    return Case("fma_peak", args, {"y": Want(want)}, batch)


register("fma_peak", "once", lambda: peak(1, 1, 1))
register("fma_peak", "batch_prefix", lambda: peak(5, 9, 3))
