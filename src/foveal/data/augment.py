"""Augmentation: random flips, shifts and cut-outs of training images, functions of (seed, epoch, image) alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foveal.errors import UsageError
from foveal.kernels.reference import MOVE
from foveal.rng import philox, stream_key
from foveal.spelling import did_you_mean

SHIFT_PART: Final = 8  # the largest shift is the side divided by this
CUT_PART: Final = 2  # the side of what is cut out is the shorter side divided by this


@dataclass(frozen=True)
class Augment:
    """What may happen to a training image.

    flip: mirror left and right, half of the time.
    shift: move by up to `shift` eighths of the side (at least 1 pixel) in each direction, filled by reflection; 0: not.
    cutout: replace a square, half as high as the shorter side, by the mean of all images. Its centre lies anywhere, so
    it may end at the border (DeVries & Taylor 2017, "Improved Regularization of Convolutional Neural Networks with
    Cutout", 16 of 32 pixels for CIFAR-10); it comes last, after flip and shift.
    """

    flip: bool = False
    shift: int = 0
    cutout: bool = False


AUGMENTS: Final = {
    "none": Augment(),
    "flip": Augment(flip=True),
    "shift": Augment(shift=1),
    "standard": Augment(flip=True, shift=1),
    "cutout": Augment(cutout=True),
}

# Test-time augmentation (`Plan.evaluate_on`): an image as it is, or the mean with its mirror image.
TTA: Final = ("none", "flip")


def parse_augment(text: str) -> Augment:
    """ "none", "flip", "shift", "standard" (flip and shift), "cutout", or several with commas between → Augment.

    Raises UsageError for an unknown name, "none" beside another one, or one that adds nothing to the others.
    """
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in AUGMENTS:
            known = ", ".join(AUGMENTS)
            hint = did_you_mean(name, AUGMENTS)
            raise UsageError(f"--augment must be one of {known}, or several with commas between, not {name!r}{hint}")
    if "none" in names and len(names) > 1:
        raise UsageError(f"--augment {text!r} asks for none and for some")
    for i, name in enumerate(names):
        others = _all_of([*names[:i], *names[i + 1 :]])
        if name != "none" and others == _all_of(names):
            raise UsageError(f"--augment {text!r}: {name} would change nothing beside the others")
    return _all_of(names)


def _all_of(names: Sequence[str]) -> Augment:
    chosen = [AUGMENTS[name] for name in names]
    return Augment(
        any(a.flip for a in chosen), max((a.shift for a in chosen), default=0), any(a.cutout for a in chosen)
    )


def moves(augment: Augment, seed: int, epoch: int, index: ArrayLike, height: int, width: int) -> NDArray[np.int32]:
    """What happens to the images at `index` (n,) of the training part in `epoch` → int32 (n, 7).

    Columns: flip 0/1, dy, dx, and top, left, bottom, right of what is cut out. dy and dx are even over −m … m, m =
    `largest_shift` of the side; the centre of the cut is even over all pixels. `assemble` says what they mean. A row
    depends on seed, epoch and its own image's index: not on the batch, its order or the other images.
    """
    place = np.asarray(index, np.uint64)
    table = np.zeros((len(place), len(MOVE)), np.int32)
    key = stream_key(seed, "augment", epoch)
    low, high = place & np.uint64(0xFFFFFFFF), place >> np.uint64(32)
    if augment.flip or augment.shift:
        coin, down, right, _ = philox((low, high, 0, 0), key)
        table[:, 0] = (coin >> np.uint32(31)).astype(np.int32) * int(augment.flip)
        table[:, 1] = _even(down, largest_shift(augment, height))
        table[:, 2] = _even(right, largest_shift(augment, width))
    if augment.cutout:
        y, x, _, _ = philox((low, high, 1, 0), key)
        side = max(1, min(height, width) // CUT_PART)
        for column, (word, length) in enumerate(((y, height), (x, width)), 3):
            start = _below(word, length) - side // 2
            table[:, column] = np.maximum(start, 0)
            table[:, column + 2] = np.minimum(start + side, length)
    return table


def largest_shift(augment: Augment, side: int) -> int:
    """Largest shift in pixels along a side; never so far that the reflection would need a second mirror."""
    return min(max(1, augment.shift * side // SHIFT_PART), side - 1) if augment.shift else 0


def _even(words: NDArray[np.uint32], largest: int) -> NDArray[np.int32]:
    """uint32 → −largest … largest."""
    return _below(words, 2 * largest + 1) - np.int32(largest)


def _below(words: NDArray[np.uint32], count: int) -> NDArray[np.int32]:
    """uint32 → 0 … count − 1, by multiplication: floor(word · count / 2³²)."""
    return ((words.astype(np.uint64) * np.uint64(count)) >> np.uint64(32)).astype(np.int32)
