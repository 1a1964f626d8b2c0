"""Arrays of pixels and labels, from memory or from a file that holds them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.data.images import Images
from foveal.data.sources.base import (
    NothingToSkipError,
    NotResizedError,
    ReadOptions,
    SourceData,
    first_few,
    short_name,
)
from foveal.errors import DataError


def from_arrays(
    name: str,
    arrays: Mapping[str, tuple[Any, Any]],
    options: ReadOptions,
    notes: tuple[str, ...] = (),
    class_names: Sequence[str] | None = None,
) -> SourceData:
    """{part: (x, y)} → SourceData. x uint8 (N, H, W) or (N, H, W, 1 or 3); y integers ≥ 0, (N,) or (N, 1).

    Classes are the numbers that occur in y, in increasing order, and are named by them, or by their place in
    `class_names`. Raises DataError for arrays of
    another kind, naming the part; UsageError when a size is asked for that the arrays do not have,
    or unreadable files are to be skipped.
    """
    pixels = {part: _pixels(f"{name}: {part}", x) for part, (x, _) in arrays.items()}
    labels = {part: _labels(f"{name}: {part}", y, len(pixels[part])) for part, (_, y) in arrays.items()}
    if len({x.shape[1:] for x in pixels.values()}) > 1:
        shapes = ", ".join(f"{part} {x.shape[1:]}" for part, x in pixels.items())
        raise DataError(f"{name}: the parts hold images of different shapes: {shapes}")
    _check_size(name, next(iter(pixels.values())).shape[1:], options)
    if options.skip_bad:
        raise NothingToSkipError(f"skip-bad would change nothing: {name} holds arrays, not image files")
    values = np.unique(np.concatenate(list(labels.values())))
    if class_names is not None and int(values[-1]) >= len(class_names):
        raise DataError(f"{name}: there is a label {int(values[-1])}, but names for only {len(class_names)} classes")
    if class_names is not None and len(set(class_names)) < len(class_names):
        twice = [name for name, count in Counter(class_names).items() if count > 1]
        raise DataError(f"{name}: several classes are named {first_few(twice)}")
    names = tuple(class_names[value] if class_names else str(value) for value in values.tolist())
    parts = {p: Images(x, np.searchsorted(values, labels[p]).astype(np.int32), names) for p, x in pixels.items()}
    return SourceData(short_name(name), parts, "none", notes)


def _pixels(where: str, values: Any) -> NDArray[np.uint8]:
    x = _array(where, values)
    if x.dtype != np.uint8:
        raise DataError(f"{where}: images must be uint8 from 0 to 255, not {x.dtype}")
    if x.ndim == 3:
        x = x[..., None]
    if x.ndim != 4 or x.shape[3] not in (1, 3):
        raise DataError(f"{where}: images must be (N, H, W) or (N, H, W, 1 or 3), not {x.shape}")
    if x.size == 0:
        raise DataError(f"{where}: there are no pixels in an array of shape {x.shape}")
    return x


def _labels(where: str, values: Any, count: int) -> NDArray[np.int64]:
    y = _array(where, values)
    if y.dtype.kind not in "iu":
        raise DataError(f"{where}: labels must be integers, not {y.dtype}")
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim == 2:
        raise DataError(
            f"{where}: each image has {y.shape[1]} labels; foveal learns one class for an image, (N,) or (N, 1)"
        )
    if y.ndim != 1:
        raise DataError(f"{where}: labels must be one number per image, (N,) or (N, 1), not {y.shape}")
    if len(y) != count:
        raise DataError(f"{where}: {count} images but {len(y)} labels")
    if int(y.min()) < 0 or int(y.max()) >= 2**31:
        raise DataError(f"{where}: labels must be 0 or more, and below 2**31; there is {int(y.min())}, {int(y.max())}")
    return y.astype(np.int64)


def _array(where: str, values: Any) -> NDArray[Any]:
    try:
        return np.asarray(values)
    except ValueError as error:  # lists of different lengths
        raise DataError(f"{where}: this is no array: {error}") from None


def _check_size(name: str, shape: tuple[int, ...], options: ReadOptions) -> None:
    height, width, channels = shape
    if options.size is not None and (height, width) != (options.size, options.size):
        raise NotResizedError(f"size: {name} holds arrays of {height} × {width} pixels, which are not resized")
    wanted = options.geometry
    if wanted is not None and shape != (wanted.height, wanted.width, wanted.channels):
        raise DataError(
            f"{name} holds images of {height} × {width} × {channels}, "
            f"but {wanted.height} × {wanted.width} × {wanted.channels} are needed"
        )
