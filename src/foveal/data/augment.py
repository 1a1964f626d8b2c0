"""Augmentation: random flips and shifts of training images, each a function of (seed, epoch, image) alone."""

import difflib
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foveal.errors import UsageError
from foveal.rng import philox, stream_key

SHIFT_PART: Final = 8  # the largest shift is the side divided by this


@dataclass(frozen=True)
class Augment:
    """What may happen to a training image.

    flip: mirror left and right, half of the time.
    shift: move by up to `shift` eighths of the side (at least 1 pixel) in each direction, filled by reflection; 0: not.
    """

    flip: bool = False
    shift: int = 0


AUGMENTS: Final = {
    "none": Augment(),
    "flip": Augment(flip=True),
    "shift": Augment(shift=1),
    "standard": Augment(flip=True, shift=1),
}


def parse_augment(text: str) -> Augment:
    """ "none", "flip", "shift", "standard" (flip and shift) or several with commas between → Augment.

    Raises UsageError for an unknown name, or "none" beside another one.
    """
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in AUGMENTS:
            near = difflib.get_close_matches(name.lower(), AUGMENTS, 1, 0.5)
            hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(AUGMENTS)}"
            raise UsageError(f"augment: nothing is called {name!r}{hint}")
    if "none" in names and len(names) > 1:
        raise UsageError(f"augment: {text!r} asks for none and for some")
    chosen = [AUGMENTS[name] for name in names]
    return Augment(any(a.flip for a in chosen), max(a.shift for a in chosen))


def moves(augment: Augment, seed: int, epoch: int, index: ArrayLike, height: int, width: int) -> NDArray[np.int32]:
    """What happens to the images at `index` (n,) of the training part in `epoch` → int32 (n, 3) [flip 0/1, dy, dx].

    dy and dx are even over −m … m, m = `largest_shift` of the side. `assemble` says what they mean. A row depends on
    seed, epoch and its own image's index: not on the batch, its order or the other images.
    """
    place = np.asarray(index, np.uint64)
    if not (augment.flip or augment.shift):
        return np.zeros((len(place), 3), np.int32)
    counter = (place & np.uint64(0xFFFFFFFF), place >> np.uint64(32), 0, 0)
    coin, down, right, _ = philox(counter, stream_key(seed, "augment", epoch))
    flip = (coin >> np.uint32(31)).astype(np.int32) * int(augment.flip)
    dy = _even(down, largest_shift(augment, height))
    dx = _even(right, largest_shift(augment, width))
    return np.stack([flip, dy, dx], axis=1)


def largest_shift(augment: Augment, side: int) -> int:
    """Largest shift in pixels along a side; never so far that the reflection would need a second mirror."""
    return min(max(1, augment.shift * side // SHIFT_PART), side - 1) if augment.shift else 0


def _even(words: NDArray[np.uint32], largest: int) -> NDArray[np.int32]:
    """uint32 → −largest … largest, by multiplication: floor(word · (2 largest + 1) / 2³²) − largest."""
    values = (words.astype(np.uint64) * np.uint64(2 * largest + 1)) >> np.uint64(32)
    return values.astype(np.int32) - np.int32(largest)
