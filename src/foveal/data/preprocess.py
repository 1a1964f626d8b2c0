"""Preprocess: how an image file becomes the pixels that a network was trained on, and how pixels become its input.

One record serves the cache, training, prediction and the model file. H height, W width, C channels.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from foveal.errors import DataError

RESAMPLE: Final = ("bilinear", "none")
GREY: Final = "rec601"
_PIXELS_AT_ONCE: Final = 1 << 18


@dataclass(frozen=True)
class Preprocess:
    """Size, resampling and normalisation of the images a network takes.

    height, width: in pixels. channels: 1 (grey) or 3 (RGB).
    mean, deviation: of pixels / 255 over the training images, one of each per channel, exact float32 values.
    resample: "bilinear" (scale until both sides reach the size, cut out the centre), or "none" for training images that
    came as arrays; an image file of just that size is then taken as it is, another one as with "bilinear".
    grey: "rec601": colour becomes grey as (299 R + 587 G + 114 B) / 1000, grey becomes colour by repetition.

    Raises DataError for a value that makes no sense, such as one from a newer version's file.
    """

    height: int
    width: int
    channels: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    resample: str = "bilinear"
    grey: str = GREY

    def __post_init__(self) -> None:
        sides = (self.height, self.width, self.channels)
        if not all(isinstance(v, int) and v >= 1 for v in sides) or self.channels not in (1, 3):
            raise DataError(f"preprocess: {self.height} × {self.width} with {self.channels} channels is no image size")
        if self.resample not in RESAMPLE or self.grey != GREY:
            raise DataError(f"preprocess: this version does not know {self.resample!r} with {self.grey!r}")
        if len(self.mean) != self.channels or len(self.deviation) != self.channels:
            raise DataError(f"preprocess: {self.channels} means and deviations are needed, one per channel")
        if not all(math.isfinite(m) for m in self.mean) or not all(0 < d < math.inf for d in self.deviation):
            raise DataError("preprocess: means must be finite, deviations finite and above 0")

    @property
    def scale(self) -> NDArray[np.float32]:
        """(C,) factor of the input's fused multiply-add: input = pixel · scale + shift; computed in float64."""
        return (1.0 / (255.0 * np.asarray(self.deviation, np.float64))).astype(np.float32)

    @property
    def shift(self) -> NDArray[np.float32]:
        """(C,) what is added, see `scale`."""
        return (-np.asarray(self.mean, np.float64) / np.asarray(self.deviation, np.float64)).astype(np.float32)

    def to_json(self) -> dict[str, Any]:
        return {
            "height": self.height,
            "width": self.width,
            "channels": self.channels,
            "mean": list(self.mean),
            "deviation": list(self.deviation),
            "resample": self.resample,
            "grey": self.grey,
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Preprocess":
        """The inverse of `to_json`. Raises DataError if a key is missing, unknown or of the wrong kind."""
        try:
            mean, deviation = (tuple(float(v) for v in record[key]) for key in ("mean", "deviation"))
            return cls(**{**record, "mean": mean, "deviation": deviation})
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"preprocess: the record cannot be used ({error})") from None


def measure(pixels: NDArray[np.uint8]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of pixels / 255 per channel, of uint8 (N, H, W, C) with N ≥ 1, as float32 values.

    From exact integer sums of x and x², so the same on every machine. A constant channel has the deviation 1.
    """
    channels = pixels.shape[3]
    images = max(1, _PIXELS_AT_ONCE // (pixels.shape[1] * pixels.shape[2]))
    sums, squares = np.zeros(channels, np.int64), np.zeros(channels, np.int64)
    for start in range(0, len(pixels), images):
        x = pixels[start : start + images].reshape(-1, channels).T.astype(np.int64, order="C")
        sums += x.sum(axis=1)
        squares += (x * x).sum(axis=1)
    count = pixels.size // channels
    moments = [_moments(count, s, q) for s, q in zip(sums.tolist(), squares.tolist(), strict=True)]
    return tuple(mean for mean, _ in moments), tuple(deviation for _, deviation in moments)


def _moments(count: int, total: int, squares: int) -> tuple[float, float]:
    """float32 mean and deviation from sums of integers; Python's integer division rounds correctly."""
    variance = (count * squares - total * total) / (255 * count) ** 2
    deviation = float(np.float32(math.sqrt(variance)))
    return float(np.float32(total / (255 * count))), deviation or 1.0
