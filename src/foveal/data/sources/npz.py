"""NumPy archives: x_train, y_train, x_test, y_test; MedMNIST's train_images, train_labels, val_…, test_…; or x, y."""

import zipfile
from pathlib import Path
from typing import Any, Final

import numpy as np

from foveal.data.images import Images
from foveal.data.sources.arrays import array_preprocess, check_labels, images_of, numbered
from foveal.data.sources.raw import Options, Raw
from foveal.errors import DataError

Arrays = dict[str, np.ndarray[Any, Any]]

# (images, labels) of each part, by convention
_KEYS: Final = (
    {"train": ("x_train", "y_train"), "validation": ("x_val", "y_val"), "test": ("x_test", "y_test")},
    {
        "train": ("train_images", "train_labels"),
        "validation": ("val_images", "val_labels"),
        "test": ("test_images", "test_labels"),
    },
    {"train": ("x", "y")},
)


def matches(path: Path) -> bool:
    return path.suffix == ".npz" and path.is_file()


def read(path: Path, options: Options) -> Raw:
    arrays = _load(path)
    for keys in _KEYS:
        if keys["train"][0] in arrays:
            return _raw(path, arrays, keys, options)
    raise DataError(f"{path}: no images: it holds {', '.join(arrays) or 'nothing'}, not x_train and y_train, or x and y")


def _load(path: Path) -> Arrays:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        if "pickle" in str(error).lower():
            raise DataError(f"{path}: it holds Python objects, which are never loaded; save plain arrays") from None
        raise DataError(f"{path} cannot be read as an .npz archive: {error}") from None


def _raw(path: Path, arrays: Arrays, keys: dict[str, tuple[str, str]], options: Options) -> Raw:
    pairs: dict[str, tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]] = {}
    for part, (x, y) in keys.items():
        if (x in arrays) != (y in arrays):
            raise DataError(f"{path}: it holds {x if x in arrays else y} but not {y if x in arrays else x}")
        if x in arrays:
            pairs[part] = arrays[x], check_labels(f"{path}, {y}", arrays[y], len(arrays[x]) if arrays[x].ndim else 0)
    highest = max(int(labels.max(initial=0)) for _, labels in pairs.values())
    if highest > 100_000:
        raise DataError(f"{path}: a label is {highest}; labels are class numbers from 0")
    parts: dict[str, Images] = {}
    for part, (pixels, labels) in pairs.items():
        parts[part] = images_of(f"{path}, {keys[part][0]}", pixels, labels, numbered(highest))
    shapes = {images.pixels.shape[1:] for images in parts.values()}
    if len(shapes) > 1:
        raise DataError(f"{path}: its parts have images of different shapes: {', '.join(map(str, sorted(shapes)))}")
    train = parts["train"]
    preprocess = array_preprocess(str(path), train, options)
    return Raw(path.stem, train, parts.get("validation"), parts.get("test"), preprocess)
