"""CIFAR-10 and CIFAR-100 as published: python batches (never unpickled: see unpickle.py) and binary batches.

A batch holds N images of 3 × 32 × 32: red, green and blue planes. python: a dict with `data` (N, 3072) uint8 and
`labels`, or for CIFAR-100 `fine_labels`. binary: records of 1 byte (CIFAR-100: coarse, then fine: 2 bytes) and 3072.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from foveal.data.sources.arrays import from_arrays
from foveal.data.sources.base import ReadOptions, Source, SourceData, first_few, short_name
from foveal.data.sources.member import LARGEST
from foveal.errors import DataError

_PIXELS: Final = 3 * 32 * 32
_BATCHES: Final = tuple(f"data_batch_{i}" for i in range(1, 6))
# the files of each form: of the training part, of the test part, and of the names of the classes
_FORMS: Final = {
    "CIFAR-10 python": (_BATCHES, "test_batch", "batches.meta"),
    "CIFAR-10 binary": (tuple(f"{name}.bin" for name in _BATCHES), "test_batch.bin", "batches.meta.txt"),
    "CIFAR-100 python": (("train",), "test", "meta"),
    "CIFAR-100 binary": (("train.bin",), "test.bin", "fine_label_names.txt"),
}
FILES: Final = frozenset(name for train, *others in _FORMS.values() for name in (*train, *others))
Read = Callable[[str], bytes]


def form_of(names: Iterable[str]) -> str:
    """Which form of CIFAR files of such names are, "" for none: enough are there to train on."""
    present = set(names)
    for form, (train, test, meta) in _FORMS.items():
        if train[0] in present and test in present and (len(train) > 1 or meta in present):
            return form
    return ""


def recognises(path: Path) -> bool:
    return path.is_dir() and form_of(name for name in FILES if (path / name).is_file()) != ""


def read(path: Path, options: ReadOptions) -> SourceData:
    """A folder of batches. Raises DataError, naming the file, for one that is missing or not what it should be."""
    names = [name for name in FILES if (path / name).is_file()]
    for file in (path / name for name in names):
        if file.stat().st_size > LARGEST:
            raise DataError(f"{file} is no batch of CIFAR's: it is larger than {LARGEST >> 20} MB")
    return read_batches(short_name(path.resolve().name), str(path), names, lambda n: (path / n).read_bytes(), options)


def read_batches(name: str, place: str, names: Iterable[str], read: Read, options: ReadOptions) -> SourceData:
    """Files of CIFAR's, wherever they lie. place: what messages call that. read: the bytes of a file, by its name."""
    form, present = form_of(names), set(names)
    train, test, meta = _FORMS[form]
    batch = _python if form.endswith("python") else _binary
    missing = [name for name in (*train, meta) if name not in present]
    notes = [f"{form}: {first_few(missing)} {'are' if len(missing) > 1 else 'is'} missing"] if missing else []
    parts = {"train": [name for name in train if name in present], "test": [test]}
    arrays: dict[str, tuple[NDArray[Any], NDArray[Any]]] = {}
    for part, files in parts.items():
        x, y = zip(*(batch(f"{place}/{file}", read(file), form) for file in files), strict=True)
        planes = np.concatenate(x).reshape(-1, 3, 32, 32)
        arrays[part] = (np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), np.concatenate(y))
    classes = _class_names(f"{place}/{meta}", read(meta), form) if meta in present else None
    return from_arrays(name, arrays, options, tuple(notes), classes)


def _python(where: str, data: bytes, form: str) -> tuple[NDArray[Any], NDArray[Any]]:
    content = _unpickled(where, data)
    key = "labels" if form.startswith("CIFAR-10 ") else "fine_labels"
    pixels, labels = content.get("data"), content.get(key)
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape[1:] != (_PIXELS,):
        raise DataError(f"{where} is no batch of CIFAR: it has no data of uint8 (N, {_PIXELS})")
    if not isinstance(labels, list) or len(labels) != len(pixels) or not all(type(v) is int for v in labels):
        raise DataError(f"{where} is no batch of {form}: it has no {key}, one number for each of {len(pixels)} images")
    if any(not 0 <= value < 2**31 for value in labels):
        raise DataError(f"{where}: labels must be 0 or more, and below 2**31")
    return pixels, np.array(labels, np.int64)


def _binary(where: str, data: bytes, form: str) -> tuple[NDArray[Any], NDArray[Any]]:
    head = 1 if form.startswith("CIFAR-10 ") else 2
    if not data or len(data) % (head + _PIXELS):
        raise DataError(
            f"{where} is cut off or no batch of {form}: {len(data)} bytes are no records of {head + _PIXELS}"
        )
    records = np.frombuffer(data, np.uint8).reshape(-1, head + _PIXELS)
    return records[:, head:], records[:, head - 1].astype(np.int64)


def _class_names(where: str, data: bytes, form: str) -> tuple[str, ...]:
    if form.endswith("binary"):
        return tuple(line.strip() for line in data.decode("utf-8", "replace").splitlines() if line.strip())
    names = _unpickled(where, data).get("label_names" if form.startswith("CIFAR-10 ") else "fine_label_names")
    texts = [name.decode("latin1") if isinstance(name, bytes) else name for name in names or ()]
    if not texts or not all(isinstance(name, str) for name in texts):
        raise DataError(f"{where} does not name the classes")
    return tuple(texts)


def _unpickled(where: str, data: bytes) -> Mapping[str, Any]:
    from foveal.data.sources.unpickle import read_pickle

    try:
        return read_pickle(data)
    except ValueError as error:
        raise DataError(f"{where} is no batch of CIFAR's that can be read: {error}") from None


SOURCE: Final = Source("a folder of CIFAR's batches, python or binary, or their .tar.gz", recognises, read)
