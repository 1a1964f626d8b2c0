"""Augmentation: how each image moves in each epoch, computed from (seed, epoch, image)."""

import difflib
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from foveal import rng
from foveal.errors import UsageError

NAMES: Final = ("none", "flip", "shift", "standard")


@dataclass(frozen=True)
class Augment:
    """flip: mirror half of the images left to right. shift: move by up to an eighth of the side, the border reflected."""

    flip: bool = False
    shift: bool = False

    @property
    def moves_anything(self) -> bool:
        return self.flip or self.shift


def parse_augment(text: str) -> Augment:
    """ "none", "flip", "shift", "standard" (flip and shift), or several joined by commas. Raises UsageError."""
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if word not in NAMES:
            near = difflib.get_close_matches(word, NAMES, 1, 0.5)
            raise UsageError(
                f"no augmentation is called {word!r}; {f'did you mean {near[0]}?' if near else 'there are ' + ', '.join(NAMES)}"
            )
    if "none" in words and len(words) > 1:
        raise UsageError(f"augmentation none contradicts the others in {text!r}")
    both = "standard" in words
    return Augment(flip=both or "flip" in words, shift=both or "shift" in words)


def moves(
    augment: Augment, seed: int, epoch: int, index: NDArray[np.int64], height: int, width: int
) -> NDArray[np.int32]:
    """(N, 3) flip 0 or 1, dy, dx in pixels, of the images at `index` in the training part.

    A shift is uniform over -m … m with m an eighth of the side, at least 1 (0 for a side of 1).
    """
    result = np.zeros((len(index), 3), np.int32)
    if not augment.moves_anything:
        return result
    words = rng.philox((index, 0, 0, 0), rng.stream_key(seed, "augment", epoch))
    if augment.flip:
        result[:, 0] = words[0] >> np.uint32(31)
    if augment.shift:
        for column, side, word in ((1, height, words[1]), (2, width, words[2])):
            most = min(max(1, side // 8), side - 1)
            result[:, column] = (word.astype(np.uint64) * np.uint64(2 * most + 1) >> np.uint64(32)).astype(np.int32) - most
    return result
