"""The loop that measures what a processor can do at most: halves and ones, so that nothing is rounded."""

import numpy as np
from kernel_case import Case, Out, Want, register


def peak(items: int, count: int, batch: int) -> Case:
    want = np.full(batch * 192, 2 - 2.0 ** (1 - count))
    args = {"y": Out(items * 192), "width": 192, "count": count, "factor": 0.5, "term": 1.0}
    return Case("fma_peak", args, {"y": Want(want)}, batch)


register("fma_peak", "once", lambda: peak(1, 1, 1))
register("fma_peak", "batch_prefix", lambda: peak(5, 9, 3))
