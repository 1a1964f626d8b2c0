"""What a model says of images that have no labels: pictures in, predictions out."""

import dataclasses
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.data import Preprocess
from foveal.data.decode import Geometry, Unreadable
from foveal.data.pipeline import decode_files
from foveal.errors import DataError

Picture = str | os.PathLike[str] | NDArray[np.uint8]  # a file, or pixels (H, W) or (H, W, C)


@dataclass(frozen=True)
class Prediction:
    """What the network says of one image. path: None for an array; probability: of `label`; top: best first."""

    path: str | None
    label: str
    probability: float
    top: tuple[tuple[str, float], ...]

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Unread:
    """A file that cannot be read, and why, in a few words."""

    path: str
    reason: str


def decoded(
    pictures: Sequence[Picture], preprocess: Preprocess, threads: int
) -> tuple[NDArray[np.uint8], dict[int, Unread]]:
    """Pixels uint8 (N, H, W, C) as the model takes them, and the files that cannot be read, by position.

    Raises DataError for an array of another shape.
    """
    geometry = Geometry(preprocess.height, preprocess.width, preprocess.channels)
    files = [i for i, picture in enumerate(pictures) if not isinstance(picture, np.ndarray)]
    names = {i: os.fspath(pictures[i]) for i in files}  # type: ignore[arg-type]
    results = decode_files([Path(names[i]).expanduser() for i in files], geometry, threads)
    pixels = np.empty((len(pictures), geometry.height, geometry.width, geometry.channels), np.uint8)
    unread = {}
    for i, result in zip(files, results, strict=True):
        if isinstance(result, Unreadable):
            unread[i] = Unread(names[i], result.reason)
        else:
            pixels[i] = result.pixels
    for i, picture in enumerate(pictures):
        if isinstance(picture, np.ndarray):
            pixels[i] = _checked(picture, pixels.shape[1:])
    return pixels, unread


def cannot_be_read(unread: Sequence[Unread], read: int, show: int = 5) -> str:
    """ "2 of 9 images cannot be read: …", beside `read` that could."""
    if len(unread) + read == 1:
        return f"{unread[0].path} cannot be read: {unread[0].reason}"
    listed = ", ".join(f"{file.path} ({file.reason})" for file in unread[:show])
    more = f" and {len(unread) - show} more" if len(unread) > show else ""
    return f"{len(unread)} of {len(unread) + read} images cannot be read: {listed}{more}"


def softmax(logits: Sequence[float]) -> list[float]:
    """Probabilities (K,) of scores (K,), one by one, so that neighbours in an array cannot change a bit."""
    highest = max(logits)
    exponentials = [math.exp(score - highest) for score in logits]
    total = math.fsum(exponentials)
    return [value / total for value in exponentials]


def _checked(picture: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    pixels = picture[..., None] if picture.ndim == 2 else picture
    if pixels.dtype != np.uint8 or pixels.shape != shape:
        raise DataError(f"an image given as an array must be uint8 {shape}, not {picture.dtype} {picture.shape}")
    return pixels
