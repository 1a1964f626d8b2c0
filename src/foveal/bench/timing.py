"""Times of steps that run in turn, in bursts, within one process; and what the machine can do at most.

Machines are noisy and their clocks are not constant, so that only what ran in turn can be compared. A burst is a pause,
in which the threads that another side left waiting fall asleep, one step that is not timed, and some that are.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from foveal.kernels import native_program

PAUSE: Final = 0.02  # seconds
WIDTH: Final = 192  # of the peak loop's items, and so many of them a step
ITEMS: Final = 16
STREAM: Final = 1 << 24  # floats, 64 MB: more than any cache of a core


@dataclass(frozen=True)
class Timing:
    """Milliseconds a step: median, 10th and 90th percentile, and how many steps were timed."""

    median: float
    low: float
    high: float
    steps: int

    @classmethod
    def of(cls, seconds: list[float]) -> "Timing":
        low, high = (1e3 * float(q) for q in np.quantile(seconds, [0.1, 0.9]))
        return cls(1e3 * statistics.median(seconds), low, high, len(seconds))


def burst(step: Callable[[], Any], seconds: float) -> list[float]:
    """Seconds of each step of a burst: at least 4 steps, then as many as fit, up to 40."""
    time.sleep(PAUSE)
    step()
    times: list[float] = []
    while len(times) < 4 or (sum(times) < seconds and len(times) < 40):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return times


def in_turn(sides: Mapping[str, Callable[[], Any]], repeats: int, seconds: float = 0.25) -> dict[str, Timing]:
    """Each side's timing over `repeats` bursts of about so many seconds, the sides taking turns."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, step in sides.items():
            times[name] += burst(step, seconds)
    return {name: Timing.of(values) for name, values in times.items()}


def peak_loop(isa: str, threads: int) -> tuple[Callable[[], Any], float]:
    """A step of multiply-adds on registers alone, some milliseconds of it, and its GFLOP."""
    y, count = np.zeros(ITEMS * WIDTH, np.float32), 50_000
    args = {"y": y.ctypes.data, "width": WIDTH, "count": count, "factor": 0.5, "term": 1.0}
    program = native_program(isa, [("fma_peak", args)], y)
    return lambda: program.run(0, 1, threads, ITEMS, 0.0, 1, 0, 0, 0), 2e-9 * ITEMS * WIDTH * count


def stream_loop(isa: str, threads: int) -> tuple[Callable[[], Any], float]:
    """A step that reads 64 MB and writes 64 MB, and the GB that it moves."""
    x, y = np.ones(STREAM, np.float32), np.zeros(STREAM, np.float32)
    args = {"x": x.ctypes.data, "y": y.ctypes.data, "count": STREAM}
    program = native_program(isa, [("relu_forward", args)], (x, y))
    return lambda: program.run(0, 1, threads, 1, 0.0, 1, 0, 0, 0), 8e-9 * STREAM
