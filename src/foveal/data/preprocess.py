"""`Preprocess`: the one record of how an image file becomes numbers; kept in model files, used wherever images are."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Preprocess:
    """Size and normalisation of images.

    height, width, channels: of the decoded image. resample: "bilinear" (shorter side to size, centre crop) for files,
    "none" for arrays. mean, deviation: per channel, of pixels / 255 over the training part.
    """

    height: int
    width: int
    channels: int
    resample: str = "bilinear"
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()

    @property
    def scale(self) -> NDArray[np.float32]:
        """(C,): normalised = pixel · scale + shift, in one fused multiply-add."""
        return np.array([1.0 / (255.0 * deviation) for deviation in self.deviation], np.float32)

    @property
    def shift(self) -> NDArray[np.float32]:
        """(C,): see `scale`."""
        pairs = zip(self.mean, self.deviation, strict=True)
        return np.array([-mean / deviation for mean, deviation in pairs], np.float32)

    def to_json(self) -> dict[str, Any]:
        return {name: list(value) if isinstance(value, tuple) else value for name, value in dataclasses.asdict(self).items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Preprocess":
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})

    def fitted(self, pixels: NDArray[np.uint8]) -> "Preprocess":
        """With mean and deviation of these pixels (N, H, W, C), from exact integer sums; a deviation of 0 counts as 1."""
        means, deviations = [], []
        for channel in range(self.channels):
            counts = np.bincount(pixels[..., channel].reshape(-1), minlength=256).tolist()
            total = sum(counts)
            first = sum(value * count for value, count in enumerate(counts))
            second = sum(value * value * count for value, count in enumerate(counts))
            variance = (total * second - first * first) / (total * total)
            means.append(float(np.float32(first / total / 255)))
            deviations.append(float(np.float32(math.sqrt(variance) / 255)) or 1.0)
        return dataclasses.replace(self, mean=tuple(means), deviation=tuple(deviations))
