""".npz files: named arrays, read without pickle."""

import zipfile
import zlib
from pathlib import Path
from typing import Any, Final

import numpy as np

from foveal.data.sources.arrays import from_arrays
from foveal.data.sources.base import PARTS, ReadOptions, Source, SourceData, first_few
from foveal.errors import DataError

# part → the names its images and labels may have, in pairs
_NAMES: Final = {
    "train": (("x_train", "y_train"), ("train_images", "train_labels"), ("x", "y"), ("images", "labels")),
    "validation": (("x_val", "y_val"), ("x_valid", "y_valid"), ("val_images", "val_labels")),
    "test": (("x_test", "y_test"), ("test_images", "test_labels")),
}

_DAMAGED: Final = (OSError, EOFError, ValueError, MemoryError, zipfile.BadZipFile)


def recognises(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() == ".npz"


def read(path: Path, options: ReadOptions) -> SourceData:
    """x_train, y_train, x_test, y_test, or MedMNIST's train_images, train_labels, val_…, test_…, or x, y.

    Raises DataError, naming the file, if it is damaged, lacks arrays, or holds objects: nothing is unpickled.
    """
    try:
        with path.open("rb") as stream:
            if not zipfile.is_zipfile(stream):
                raise DataError(f"{path} is no .npz file: it is not a zip archive of arrays")
            stream.seek(0)
            file = np.load(stream, allow_pickle=False)
            pairs = _pairs(path, file.files)
            arrays = {part: (_array(path, file, x), _array(path, file, y)) for part, (x, y) in pairs.items()}
            ignored = sorted(set(file.files) - {name for pair in pairs.values() for name in pair})
    except _DAMAGED as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} cannot be read as .npz: {_reason(error)}") from None
    notes = (f"arrays that were not used: {first_few(ignored)}",) if ignored else ()
    return from_arrays(path.stem, arrays, options, notes)


def _pairs(path: Path, names: list[str]) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for part in PARTS:
        for pair in _NAMES[part]:
            present = [name for name in pair if name in names]
            if len(present) == 1:
                missing = pair[1] if present[0] == pair[0] else pair[0]
                raise DataError(f"{path} has {present[0]} but no {missing}")
            if present and part in found:
                raise DataError(f"{path} has both {found[part][0]} and {pair[0]}; which are the {part} images?")
            if present:
                found[part] = pair
    if not found:
        known = " or ".join(f"{x}, {y}" for x, y in _NAMES["train"][:3])
        raise DataError(f"{path} holds {first_few(names, 6) or 'nothing'}; needed are {known}")
    return found


def _array(path: Path, file: Any, name: str) -> Any:
    try:
        return file[name]
    except (*_DAMAGED, KeyError, RuntimeError, zlib.error) as error:
        raise DataError(f"{path}: {name} cannot be read: {_reason(error)}") from None


def _reason(error: BaseException) -> str:
    text = str(error)
    if "allow_pickle" in text or "pickled" in text:
        return "it holds Python objects, which are never unpickled"
    return text.splitlines()[0] if text else type(error).__name__


SOURCE: Final = Source(
    "an .npz file with x_train, y_train, x_test, y_test, or as MedMNIST's, or x, y", recognises, read
)
