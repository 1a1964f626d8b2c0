"""Learning-rate schedules: the rate of each update as a function of its number.

All values are float32, from basic operations only: cosine and exponential are our own, so no library can change a bit.
"""

import difflib
import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from foveal.checks import real, settle
from foveal.errors import UsageError

NAMES: Final = ("constant", "step", "exponential", "cosine", "linear", "one-cycle", "inverse-sqrt")

# one-cycle: start at lr / 25, peak lr after 30 % of the steps, end at lr / 10⁴ (momentum is not cycled)
_RISE, _START, _END = 0.3, 1 / 25, 1e-4
# step: a tenth after each of these parts of the training; exponential: a hundredth after the last step
_DROPS, _LEFT = (0.5, 0.75), (1.0, 0.1, 0.01)
_LOG_LAST = -4.605170185988091  # ln 1/100


@dataclass(frozen=True)
class Schedule:
    """How the rate changes over a training of a known number of steps.

    With t = step / total, 0 at the first step and 1 after the last:
    constant: lr.
    linear: lr (1 - t).
    cosine: lr (1 + cos πt) / 2 (Loshchilov and Hutter 2016, arXiv 1608.03983, equation 5).
    step: lr, lr / 10 from t = 1/2 on, lr / 100 from t = 3/4 on.
    exponential: lr / 100ᵗ, falling evenly to lr / 100.
    one-cycle: a cosine from lr / 25 to lr over the first 30 %, then one to lr / 10⁴ at the last step (Smith and Topin
    2017, arXiv 1708.07120).
    inverse-sqrt: lr √(W / s) with s = step + 1 and W = warmup · total + 1; so lr / √s without warmup, and with it lr
    min(s / W, √(W / s)) (Vaswani et al. 2017, arXiv 1706.03762, equation 3, whose highest rate is lr here).

    warmup: the fraction of all steps over which the rate rises linearly from 0 to what the schedule says; one-cycle has
    its own.
    """

    name: str = "constant"
    warmup: float = 0.0

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            near = difflib.get_close_matches(str(self.name), NAMES, 1, 0.5)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(NAMES)}"
            raise UsageError(f"no schedule is called {self.name!r}; {hint}")
        settle(self, "warmup", real, 0, 1)
        if self.warmup and self.name == "one-cycle":
            raise UsageError("one-cycle has its own warm-up; leave out warmup or choose another schedule")

    def rate(self, lr: float, step: int, total: int) -> float:
        """Rate of update `step` (0 … total - 1); exactly a float32."""
        if not 0 <= step < total:
            raise UsageError(f"step must be from 0 to {total - 1}, not {step}")
        last = total - 1 if self.name == "one-cycle" else total
        rising = self.warmup * total
        if self.name == "inverse-sqrt":
            rate = lr * math.sqrt((rising + 1) / (max(step, rising) + 1))
        else:
            rate = lr * _share(self.name, step / max(last, 1))
        if step < rising:
            rate *= (step + 1) / (rising + 1)
        return float(np.float32(rate))


def _share(name: str, t: float) -> float:
    """The rate as a share of lr at time t in [0, 1]."""
    if name == "cosine":
        return _cosine(1.0, 0.0, t)
    if name == "linear":
        return 1.0 - t
    if name == "step":
        return _LEFT[sum(t >= drop for drop in _DROPS)]
    if name == "exponential":
        return exponential(_LOG_LAST * t)
    if name == "one-cycle":
        return _cosine(_START, 1.0, t / _RISE) if t < _RISE else _cosine(1.0, _END, (t - _RISE) / (1 - _RISE))
    return 1.0


def _cosine(start: float, end: float, t: float) -> float:
    """From start to end along half a cosine."""
    return end + (start - end) * (1.0 + cos_pi(t)) / 2.0


def cos_pi(t: float) -> float:
    """cos(πt) for t in [0, 1], by its Taylor series around the nearest of 0 and 1 (and sin around ½)."""
    if t > 0.5:
        return -cos_pi(1.0 - t)
    x = 3.141592653589793 * (t if t <= 0.25 else 0.5 - t)
    term = total = 1.0 if t <= 0.25 else x
    first = 0 if t <= 0.25 else 1
    for k in range(first + 2, first + 20, 2):
        term *= -x * x / (k * (k - 1))
        total += term
    return total


def exponential(x: float) -> float:
    """e^x for x in [-8, 8]: the Taylor series of e^(x/64), squared six times."""
    x /= 64
    term = total = 1.0
    for k in range(1, 14):
        term *= x / k
        total += term
    for _ in range(6):
        total *= total
    return total
