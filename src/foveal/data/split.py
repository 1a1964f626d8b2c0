"""The split into training, validation and test: by seed, each class in its share, equal images on one side."""

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from foveal import rng
from foveal.data.images import Images, image_hashes
from foveal.errors import DataError


def split_off(images: Images, fraction: float, seed: int, part: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(index of what stays, index of what goes to `part`): about `fraction` of each class, both in ascending order.

    Images with equal pixels go together, whatever their labels. Each class keeps and gives at least one image. Raises
    DataError where a class has too few for that.
    """
    groups = _groups(images)
    order = rng.permutation(rng.stream_key(seed, "split", {"test": 0, "validation": 1}[part]), len(groups))
    wanted = {k: _share(count, fraction) for k, count in enumerate(np.bincount(images.labels).tolist()) if count}
    left = dict(enumerate(np.bincount(images.labels).tolist()))
    taken: list[int] = []
    for number in order.tolist():
        members = groups[number]
        counts = np.bincount(images.labels[members], minlength=len(images.class_names)).tolist()
        involved = [k for k, count in enumerate(counts) if count]
        if all(wanted[k] >= counts[k] and left[k] > counts[k] for k in involved):
            taken += members
            for k in involved:
                wanted[k] -= counts[k]
                left[k] -= counts[k]
    gone = np.array(sorted(taken), np.int64)
    missing = set(np.unique(images.labels).tolist()) - set(np.unique(images.labels[gone]).tolist())
    if missing:
        name = images.class_names[min(missing)]
        raise DataError(f"class {name} has too few different images for a {part} part; add some, or give a split")
    return np.setdiff1d(np.arange(len(images)), gone), gone


def _share(count: int, fraction: float) -> int:
    """How many of a class's images go: the fraction, rounded, at least one."""
    return max(1, int(count * fraction + 0.5))


def _groups(images: Images) -> list[list[int]]:
    """Positions of images with equal pixels, groups in order of their first member."""
    groups: dict[bytes, list[int]] = defaultdict(list)
    for position, key in enumerate(image_hashes(images)):
        groups[key].append(position)
    return list(groups.values())


def duplicate_note(images: Images) -> list[str]:
    """A line about exact duplicates within one set, if there are any."""
    groups = [members for members in _groups(images) if len(members) > 1]
    if not groups:
        return []
    contradicting = sum(len(set(images.labels[members].tolist())) > 1 for members in groups)
    extra = sum(len(members) - 1 for members in groups)
    line = f"{extra} images are exact copies of others; in the split, copies stay on one side"
    return [f"{line}; {contradicting} of the sets of copies carry different labels" if contradicting else line]


def overlap_notes(parts: dict[str, Images]) -> list[str]:
    """Lines about images that stand in two given parts."""
    hashes = {name: set(image_hashes(images)) for name, images in parts.items()}
    names = list(parts)
    notes = []
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            both = len(hashes[first] & hashes[second])
            if both:
                notes.append(f"{both} images stand in both the {first} and the {second} part as given")
    return notes
