"""Splitting by class, with equal images on one side."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from foveal.checks import real
from foveal.data.duplicates import Index
from foveal.data.images import Images
from foveal.errors import DataError, UsageError
from foveal.rng import permutation, stream_key


def split_by_class(
    images: Images, groups: Index, fractions: Sequence[tuple[str, float]], seed: int
) -> dict[str, Index]:
    """Draw parts out of `images` → {"train": rest, part: …}, positions in increasing order.

    fractions: (name of a part, fraction of each class), drawn in this order. groups: from `equal_groups`; the images of
    a group go to one part, and count as the class of its first image. Every class has at least one image in each part;
    beyond that a part has at most the nearest whole number to its fraction, and less only where a group did not fit.
    Raises UsageError for impossible fractions, DataError for a class with too few different images.
    """
    check_fractions(fractions)
    parts = [name for name, fraction in fractions if fraction > 0]
    chosen: dict[str, list[Index]] = {name: [] for name in ("train", *parts)}
    sizes = np.bincount(groups, minlength=len(groups))
    for label, class_name in enumerate(images.class_names):
        heads = np.flatnonzero((sizes > 0) & (images.labels == label))
        if not len(heads) and (images.labels == label).any():
            raise DataError(f"every image of class {class_name!r} is equal to one of another class: mend the labels")
        if len(heads) <= len(parts):
            raise DataError(
                f"class {class_name!r} has {len(heads)} different image{'s' * (len(heads) != 1)}, "
                f"too few to have some in each of {', '.join(chosen)}: add images"
                + (", or hold none back with --validation 0" if "validation" in parts and len(heads) > 1 else "")
            )
        heads = heads[permutation(stream_key(seed, "split", label), len(heads))]
        for name, fraction in fractions:
            if fraction > 0:
                later = len(parts) - parts.index(name)  # parts still to come, training included: one image each
                taken = _take(sizes[heads], _goal(fraction, int(_class_size(images, groups, label))), later)
                chosen[name].append(heads[taken])
                heads = heads[~taken]
        chosen["train"].append(heads)
    return {name: np.flatnonzero(np.isin(groups, np.concatenate(heads))) for name, heads in chosen.items()}


def part_of_each_class(images: Images, fraction: float, seed: int) -> Index:
    """Positions, in increasing order, of a random part of the images: the nearest whole number to the fraction of each
    class, but at least one. What a smaller fraction takes, a larger one takes too."""
    chosen = []
    for label, count in enumerate(images.counts):
        places = np.flatnonzero(images.labels == label)
        order = permutation(stream_key(seed, "fraction", label), count)
        chosen.append(places[order[: _goal(fraction, count)]])
    return np.sort(np.concatenate(chosen))


def check_fractions(fractions: Sequence[tuple[str, float]]) -> None:
    """Raises UsageError unless each fraction is at least 0 and their sum below 1."""
    for name, fraction in fractions:
        real(fraction, name, 0, 1)
    if sum(fraction for _, fraction in fractions) >= 1:
        text = " + ".join(f"{name} {fraction:g}" for name, fraction in fractions)
        raise UsageError(f"{text} leaves nothing to train on")


def _class_size(images: Images, groups: Index, label: int) -> int:
    """Images in the groups that count as this class."""
    return int((images.labels[groups] == label).sum())


def _goal(fraction: float, count: int) -> int:
    return max(1, int(fraction * count + 0.5))


def _take(sizes: Index, goal: int, later: int) -> NDArray[np.bool_]:
    """Which groups, in their order, to take: those that still fit the goal, but at least one, and leave `later`."""
    taken = np.zeros(len(sizes), bool)
    total = 0
    for i, size in enumerate(sizes.tolist()):
        if total >= goal or len(sizes) - int(taken.sum()) <= later:
            break
        if total + size <= goal:
            taken[i], total = True, total + size
    if not taken.any():
        taken[int(np.argmin(sizes))] = True  # every group is larger than the goal
    return taken
