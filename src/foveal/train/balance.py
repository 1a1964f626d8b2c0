"""Classes that come more or less often: their weights in the loss, and what is worth telling of them."""

from collections.abc import Sequence
from typing import Final

from foveal.train.events import Noted, Warned

UNBALANCED: Final = 3  # the commonest class has so many times the images of the rarest


def balanced_weights(counts: Sequence[int]) -> tuple[float, ...]:
    """Weights (K,) of the loss, from the number of training images of each class (K,): N / (K n).

    All classes then weigh the same, and an image 1 on average ("balanced" is scikit-learn's word and formula). A class
    without images has nothing to weigh and does not count: its weight is 1.
    """
    total, classes = sum(counts), sum(count > 0 for count in counts)
    return tuple(total / (classes * count) if count else 1.0 for count in counts)


def remarks(names: Sequence[str], counts: Sequence[int], class_weight: str) -> list[Noted | Warned]:
    """What a user should know of the number of training images of each class."""
    some = [(count, name) for count, name in zip(counts, names, strict=True) if count]
    (fewest, rarest), (most, commonest) = min(some), max(some)
    if class_weight != "none":
        if fewest == most:
            return [Noted(f"--class-weight {class_weight} changes nothing here: every class has {most:,} images")]
        return []
    if most < UNBALANCED * fewest:
        return []
    return [
        Warned(
            f"classes are unbalanced: {commonest} {most:,}, {rarest} {fewest:,} images to train on; "
            f"--class-weight balanced weighs them equally"
        )
    ]
