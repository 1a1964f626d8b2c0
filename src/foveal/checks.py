"""Arguments, checked once and made plain: an int, a float or a bool, whatever library's number came in.

`name` is how the caller writes the argument, such as "Dense(units=...)" or "--epochs". All raise UsageError.
"""

import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from foveal.errors import UsageError

SMALLEST, LARGEST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)  # as float32, without denormals


def integer(value: object, name: str, low: int, high: int | None = None) -> int:
    """An integer from low to high."""
    words = f"at least {low}" if high is None else f"from {low} to {high}"
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise UsageError(f"{name} must be an integer {_of(words)}, not {value!r}")
    number = int(value)
    if number < low or (high is not None and number > high):
        raise UsageError(f"{name} must be {words}, not {number}")
    return number


def real(
    value: object,
    name: str,
    low: float | None = None,
    below: float | None = None,
    *,
    above: float | None = None,
    high: float | None = None,
) -> float:
    """A finite number, at least `low` or above `above`, below `below` or at most `high`."""
    limits = ((low, "at least"), (above, "above"), (below, "below"), (high, "at most"))
    words = " and ".join(f"{word} {limit:g}" for limit, word in limits if limit is not None)
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise UsageError(f"{name} must be a number {_of(words)}, not {value!r}")
    number = float(value)
    too_low = (low is not None and number < low) or (above is not None and number <= above)
    too_high = (below is not None and number >= below) or (high is not None and number > high)
    if too_low or too_high:
        raise UsageError(f"{name} must be {words}, not {number:g}")
    return number


def _of(words: str) -> str:
    """ "at least 1" as it follows a noun: "an integer of at least 1"."""
    return f"of {words}" if words.startswith("at ") else words


def switch(value: object, name: str) -> bool:
    """True or False."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    raise UsageError(f"{name} must be True or False, not {value!r}")


def choice(value: object, name: str, known: Sequence[str]) -> str:
    """One of two or more words."""
    if isinstance(value, str) and value in known:
        return value
    raise UsageError(f"{name} must be {', '.join(known[:-1])} or {known[-1]}, not {value!r}")


def settle(spec: object, field: str, check: Callable[..., Any], *limits: Any, **more: Any) -> None:
    """Check a field of a frozen dataclass and store it plain; in its `__post_init__`: settle(self, "p", real, 0, 1)."""
    value = check(getattr(spec, field), f"{type(spec).__name__}({field}=...)", *limits, **more)
    object.__setattr__(spec, field, value)
