"""Arrays as images: checks that all sources of arrays share."""

from typing import Any

import numpy as np

from foveal.data.images import Images
from foveal.data.preprocess import Preprocess
from foveal.data.sources.raw import Options
from foveal.errors import DataError, UsageError


def images_of(where: str, pixels: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], names: tuple[str, ...]) -> Images:
    """Images from pixels (N, H, W[, C]) uint8 and integer labels (N,) or (N, 1). Raises DataError naming `where`."""
    if pixels.dtype != np.uint8:
        raise DataError(f"{where}: images must be uint8 (0 to 255), not {pixels.dtype}")
    if pixels.ndim == 3:
        pixels = pixels[..., None]
    if pixels.ndim != 4 or pixels.shape[3] not in (1, 3) or min(pixels.shape[1:]) < 1:
        raise DataError(f"{where}: images must have shape (N, H, W), (N, H, W, 1) or (N, H, W, 3), not {pixels.shape}")
    flat = check_labels(where, labels, len(pixels))
    if len(flat) and not 0 <= int(flat.min()) <= int(flat.max()) < len(names):
        raise DataError(f"{where}: labels run from {flat.min()} to {flat.max()}, but there are {len(names)} classes")
    return Images(np.ascontiguousarray(pixels), flat.astype(np.int32), names)


def check_labels(where: str, labels: np.ndarray[Any, Any], count: int) -> np.ndarray[Any, Any]:
    """Labels (N,) of an integer type, as many as there are images. Raises DataError."""
    if labels.dtype.kind not in "iu":
        raise DataError(f"{where}: labels must be integers, not {labels.dtype}")
    flat = labels.reshape(-1) if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if flat.ndim != 1:
        raise DataError(f"{where}: labels must have shape (N,), not {labels.shape}")
    if len(flat) != count:
        raise DataError(f"{where}: {count} images but {len(flat)} labels")
    return flat


def numbered(highest: int) -> tuple[str, ...]:
    """Class names "0", "1", … up to the highest label."""
    return tuple(str(k) for k in range(highest + 1))


def array_preprocess(where: str, images: Images, options: Options) -> Preprocess:
    """Arrays are used at their own size; asking for another one is refused."""
    _, high, wide, channels = images.pixels.shape
    if options.size is not None and (high, wide) != (options.size, options.size):
        raise UsageError(f"--size {options.size} cannot be had: the images of {where} are arrays of {wide}×{high} pixels")
    return Preprocess(high, wide, channels, resample="none")
