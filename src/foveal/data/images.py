"""Images in memory, and a data set of them in parts."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.data.preprocess import Preprocess

Pixels = NDArray[np.uint8]  # (N, H, W, C), C = 1 or 3
Labels = NDArray[np.int32]  # (N,), 0 … K - 1


@dataclass(frozen=True, eq=False)
class Images:
    """Decoded images: pixels (N, H, W, C) uint8, labels (N,) int32, and the files they came from, if any."""

    pixels: Pixels
    labels: Labels
    class_names: tuple[str, ...]
    paths: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.pixels)

    def subset(self, index: NDArray[np.int64]) -> "Images":
        """The images at `index`, in that order."""
        paths = tuple(self.paths[i] for i in index.tolist()) if self.paths is not None else None
        return Images(np.ascontiguousarray(self.pixels[index]), self.labels[index], self.class_names, paths)

    def fingerprint(self) -> str:
        """SHA-256 of shape, decoded pixels and labels; not of paths."""
        digest = hashlib.sha256(f"{self.pixels.shape}|".encode())
        digest.update(np.ascontiguousarray(self.pixels).data)
        digest.update(np.ascontiguousarray(self.labels, np.dtype("<i4")).data)
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set in parts, ready to train on.

    name: short, for run folders. preprocess: how pixels become numbers. fingerprint: of all decoded images, before any
    split. split: how the parts were made, as JSON values. notes: what is worth telling, a line each.
    """

    name: str
    train: Images
    validation: Images | None
    test: Images | None
    class_names: tuple[str, ...]
    preprocess: Preprocess
    fingerprint: str
    split: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def image_hashes(images: Images) -> list[bytes]:
    """A hash of each image's pixels; equal hashes are taken as equal images."""
    return [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images.pixels]


def join(parts: Sequence[Images]) -> Images:
    """Several sets of images one after another."""
    if len(parts) == 1:
        return parts[0]
    paths = tuple(path for part in parts for path in part.paths or ("",) * len(part))
    pixels, labels = np.concatenate([p.pixels for p in parts]), np.concatenate([p.labels for p in parts])
    return Images(pixels, labels, parts[0].class_names, paths if any(paths) else None)
