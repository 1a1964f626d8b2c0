"""Images and Dataset: decoded pixels with their labels, and the parts a training is made of.

N images, H height, W width, C channels (1 grey, 3 colour), K classes.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foveal.data.duplicates import Duplicates
from foveal.data.preprocess import Preprocess
from foveal.errors import DataError


@dataclass(frozen=True, eq=False)
class Images:
    """Decoded images with their labels.

    pixels: uint8 (N, H, W, C), C-contiguous; large ones may be a read-only map of a cache file.
    labels: int32 (N,), positions in class_names.
    class_names: the K names, also of classes that have no image here.
    paths: names of the files below the source's folder, "/" between parts; None for arrays.

    Raises DataError if the arrays do not fit together.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int32]
    class_names: tuple[str, ...]
    paths: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        pixels, labels = self.pixels, self.labels
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[3] not in (1, 3):
            raise DataError(f"pixels must be uint8 (N, H, W, 1 or 3), not {pixels.dtype} {pixels.shape}")
        if labels.dtype != np.int32 or labels.shape != (len(pixels),):
            raise DataError(f"labels must be int32 ({len(pixels)},), not {labels.dtype} {labels.shape}")
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(self.class_names):
            raise DataError(f"labels must be from 0 to {len(self.class_names) - 1}")
        if self.paths is not None and len(self.paths) != len(pixels):
            raise DataError(f"{len(pixels)} images but {len(self.paths)} paths")
        object.__setattr__(self, "pixels", np.ascontiguousarray(pixels))
        object.__setattr__(self, "labels", np.ascontiguousarray(labels))

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of images of each class (K)."""
        return tuple(np.bincount(self.labels, minlength=len(self.class_names)).tolist())

    def subset(self, index: ArrayLike) -> "Images":
        """The images at `index` (n,), in its order. A run of neighbours is a view, anything else a copy."""
        where = np.asarray(index, np.int64).reshape(-1)
        take = slice(int(where[0]), int(where[-1]) + 1) if _is_run(where) else where
        paths = None if self.paths is None else tuple(self.paths[i] for i in where.tolist())
        return Images(self.pixels[take], self.labels[take], self.class_names, paths)

    def fingerprint(self) -> str:
        """sha256 (hex) of shape, pixels and labels; not of the paths."""
        digest = hashlib.sha256(repr(self.pixels.shape).encode())
        digest.update(self.pixels.data)
        digest.update(self.labels.astype("<i4").data)
        return digest.hexdigest()


def concatenated(several: Sequence[Images]) -> Images:
    """Images one after another, at least one; with the class names of the first, and paths where all have them."""
    if len(several) == 1:
        return several[0]
    paths = [part.paths for part in several]
    return Images(
        np.concatenate([part.pixels for part in several]),
        np.concatenate([part.labels for part in several]),
        several[0].class_names,
        None if None in paths else tuple(name for group in paths if group for name in group),
    )


def _is_run(index: NDArray[np.int64]) -> bool:
    return len(index) > 0 and bool(index[0] >= 0) and bool((np.diff(index) == 1).all())


@dataclass(frozen=True)
class Originals:
    """How the readable image files were before decoding.

    (width, height) in pixels, upright, of the smallest, the median and the largest by area; and how many files there
    are of each of Pillow's formats and modes.
    """

    smallest: tuple[int, int]
    median: tuple[int, int]
    largest: tuple[int, int]
    formats: Mapping[str, int]
    modes: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        return {
            "smallest": list(self.smallest),
            "median": list(self.median),
            "largest": list(self.largest),
            "formats": dict(self.formats),
            "modes": dict(self.modes),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Originals":
        """The inverse of `to_json`. Raises KeyError, TypeError or ValueError for another record."""
        (a, b), (c, d), (e, f) = (map(int, record[key]) for key in ("smallest", "median", "largest"))
        formats, modes = ({str(k): int(n) for k, n in record[key].items()} for key in ("formats", "modes"))
        return cls((a, b), (c, d), (e, f), formats, modes)


@dataclass(frozen=True)
class Split:
    """How the parts of a dataset came about.

    given: parts that the source brought along ("train", "validation", "test"); drawn: parts that foveal took out of
    them, by class, with the fractions and the seed here. A fraction that was not used is None. group_by: the pattern
    whose groups stayed on one side; fraction: what part of the training images is used, None: all.
    """

    given: tuple[str, ...]
    drawn: tuple[str, ...]
    validation: float | None
    test: float | None
    seed: int
    group_by: str | None = None
    fraction: float | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "given": list(self.given),
            "drawn": list(self.drawn),
            "validation": self.validation,
            "test": self.test,
            "seed": self.seed,
            "group_by": self.group_by,
            "fraction": self.fraction,
        }


@dataclass(frozen=True, eq=False)
class Dataset:
    """The parts of a training and how they were made.

    name: short, for names of run folders. validation, test: None where there is none.
    fingerprint: sha256 (hex) of all parts before the split. notes: things worth telling the user, one line each.
    duplicates: equal images among all that were read. unreadable: (path, reason) of each file that was left out.
    originals: how the image files were; None for arrays, which are as they are.
    """

    name: str
    train: Images
    validation: Images | None
    test: Images | None
    class_names: tuple[str, ...]
    preprocess: Preprocess
    fingerprint: str
    split: Split
    notes: tuple[str, ...] = ()
    duplicates: Duplicates = field(default_factory=Duplicates)
    unreadable: tuple[tuple[str, str], ...] = ()
    originals: Originals | None = None

    @property
    def parts(self) -> dict[str, Images]:
        """The parts that exist, by name."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: part for name, part in parts.items() if part is not None}
