"""Equal images: which of a source's images have the same decoded pixels, and what that says of labels and parts."""

import hashlib
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from foveal.data.images import Images

Index = NDArray[np.int64]


class Copy(NamedTuple):
    """One of several equal images. path: as in Images.paths, or "train[17]" in arrays. part: of the source."""

    path: str
    label: str
    part: str


@dataclass(frozen=True)
class Duplicates:
    """Images of a source that are equal, pixel for pixel, after decoding.

    count: images that equal one before them. contradicting: those of them with another label than the first.
    groups: the equal images, two or more in each. across_parts: for a split that came with the source,
    {"test in train": n}: n images of the test part are also in the train part.
    """

    count: int = 0
    contradicting: int = 0
    groups: tuple[tuple[Copy, ...], ...] = ()
    across_parts: Mapping[str, int] = field(default_factory=dict)

    @property
    def contradictions(self) -> tuple[tuple[Copy, ...], ...]:
        """The groups whose images have different labels."""
        return tuple(group for group in self.groups if len({copy.label for copy in group}) > 1)

    def to_json(self) -> dict[str, Any]:
        return {
            "count": self.count,
            "contradicting": self.contradicting,
            "groups": [[copy._asdict() for copy in group] for group in self.groups],
            "across_parts": dict(self.across_parts),
        }


def equal_groups(*parts: NDArray[np.uint8]) -> Index:
    """uint8 (N, H, W, C) each, one after another → for each image the position of the first one with equal pixels."""
    return first_places(hashlib.sha256(image.data).digest() for pixels in parts for image in pixels)


def first_places(keys: Iterable[Hashable]) -> Index:
    """For each key the position of the first one that is equal."""
    first: dict[Hashable, int] = {}
    return np.fromiter((first.setdefault(key, i) for i, key in enumerate(keys)), np.int64)


def find_duplicates(parts: "Mapping[str, Images]", groups: Index) -> Duplicates:
    """What there is to say of the parts of a source. groups: from `equal_groups` of all of them."""
    copies = np.flatnonzero(groups != np.arange(len(groups)))
    if not len(copies):
        return Duplicates()
    ends = np.cumsum([len(images) for images in parts.values()])
    labels = np.concatenate([images.labels for images in parts.values()])
    members: dict[int, list[int]] = {}
    for i in copies.tolist():
        members.setdefault(int(groups[i]), [int(groups[i])]).append(i)
    return Duplicates(
        len(copies),
        int((labels[copies] != labels[groups[copies]]).sum()),
        tuple(tuple(_copy(parts, ends, i) for i in members[first]) for first in sorted(members)),
        dict(_across(dict(zip(parts, np.split(groups, ends[:-1]), strict=True)))),
    )


def _copy(parts: "Mapping[str, Images]", ends: Index, position: int) -> Copy:
    number = int(np.searchsorted(ends, position, "right"))
    part = list(parts)[number]
    images = parts[part]
    place = position - int(ends[number]) + len(images)
    path = f"{part}[{place}]" if images.paths is None else images.paths[place]
    return Copy(path, images.class_names[int(images.labels[place])], part)


def _across(groups: Mapping[str, Index]) -> Iterable[tuple[str, int]]:
    names = list(groups)
    for number, later in enumerate(names):
        for earlier in names[:number]:
            count = int(np.isin(groups[later], groups[earlier]).sum())
            if count:
                yield f"{later} in {earlier}", count
