"""A layer's backward against central finite differences, in float64.

With L = Σ y · r for a fixed random r, the gradient of L is backward(r). Each derivative is (L(v + h) - L(v - h)) / 2h:
its error is about h² from the third derivative and eps / h from rounding, so h = 1e-5 leaves about 1e-10, and a wrong
term of a backward is wrong by far more than TOLERANCE.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

STEP: Final = 1e-5
TOLERANCE: Final = 1e-7
MOST: Final = 1000  # elements of one array that are looked at one by one
Floats = NDArray[np.floating[Any]]  # float64, or the differences are noise


def distinct(shape: tuple[int, ...], seed: int = 0) -> Floats:
    """Values between -3.3 and 3.3, none within a hundred STEPs of another or of 0 while there are fewer than 3000.

    So no maximum and no ReLU changes its mind within one STEP.
    """
    count = int(np.prod(shape))
    places = np.random.default_rng(seed).permutation(count).reshape(shape)
    return (places + 0.5 - count // 2) * (6.6 / (count + 1))


def wrong_derivatives(loss: Callable[[], float], value: Floats, gradient: NDArray[Any]) -> Iterator[str]:
    """Say where `gradient` is not the derivative of `loss()` with respect to `value`, which it sees changed in place.

    Looks at every element of a small array, at MOST of a larger one, and along one random direction through them all.
    """
    random = np.random.default_rng(4)
    places = np.arange(value.size)
    if value.size > MOST:
        places = np.sort(random.choice(value.size, MOST, replace=False))
    measured = np.empty(len(places))
    for n, at in enumerate(places):
        one = np.zeros(value.size)
        one[at] = 1
        measured[n] = _slope(loss, value, one)
    given = gradient.reshape(-1)
    error = np.abs(measured - given[places])
    scale = 1 + np.abs(measured).max(initial=0)
    if error.max(initial=0) > TOLERANCE * scale or not np.isfinite(error).all():
        worst = int(error.argmax())
        where = [int(i) for i in np.unravel_index(places[worst], value.shape)]
        yield f"at {where} backward says {given[places[worst]]:.6g}, finite differences {measured[worst]:.6g}"
        return
    direction = random.standard_normal(value.size)
    along, expected = float(given @ direction), _slope(loss, value, direction)
    if not abs(along - expected) <= 10 * TOLERANCE * scale * np.sqrt(value.size):
        yield f"along a random direction backward says {along:.6g}, finite differences {expected:.6g}"


def _slope(loss: Callable[[], float], value: Floats, direction: Floats) -> float:
    """The derivative of `loss()` as `value`, read row by row, moves along a direction."""
    kept = value.copy()
    sums = []
    for sign in (STEP, -STEP):
        value[...] = kept + sign * direction.reshape(value.shape)
        sums.append(loss())
    value[...] = kept
    return (sums[0] - sums[1]) / (2 * STEP)
