"""IDX files, the format of MNIST and Fashion-MNIST: plain or gzipped.

An IDX file is two zero bytes, a byte for the type (8: unsigned byte), a byte for the number of dimensions, each dimension
as a big-endian 32-bit number, then the values.
"""

import gzip
import struct
import zlib
from pathlib import Path
from typing import Any, Final

import numpy as np

from foveal.data.images import Images
from foveal.data.sources.arrays import array_preprocess, images_of, numbered
from foveal.data.sources.raw import Options, Raw
from foveal.errors import DataError

_PARTS: Final = {"train": "train", "test": "t10k"}
_BYTES: Final = 8


def matches(path: Path) -> bool:
    if path.is_dir():
        return _find(path, "train-images") is not None
    return path.is_file() and "idx" in path.name and "images" in path.name


def read(path: Path, options: Options) -> Raw:
    if path.is_file():
        train = path, _labels_beside(path)
        test = None
        name = path.name.split("-images")[0].split(".")[0]
    else:
        train = _pair(path, "train")
        has_test = _find(path, f"{_PARTS['test']}-images") is not None
        test = _pair(path, "test") if has_test else None
        name = path.resolve().name
    arrays = {part: (read_idx(p[0], 3), read_idx(p[1], 1)) for part, p in (("train", train), ("test", test)) if p}
    names = numbered(max(int(labels.max(initial=0)) for _, labels in arrays.values()))
    images = {part: images_of(str(path), x, y, names) for part, (x, y) in arrays.items()}
    test_images: Images | None = images.get("test")
    if test_images is not None and test_images.pixels.shape[1:] != images["train"].pixels.shape[1:]:
        raise DataError(f"{path}: training and test images have different sizes")
    return Raw(name, images["train"], None, test_images, array_preprocess(str(path), images["train"], options))


def read_idx(path: Path, dimensions: int) -> np.ndarray[Any, Any]:
    """The unsigned bytes of an IDX file with that many dimensions. Raises DataError if the file is not what it says."""
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] != _BYTES:
        raise DataError(f"{path} is not an IDX file of unsigned bytes")
    if data[3] != dimensions:
        raise DataError(f"{path} has {data[3]} dimensions, not {dimensions}")
    start = 4 + 4 * dimensions
    if len(data) < start:
        raise DataError(f"{path} is cut short: its header has {len(data)} of {start} bytes")
    shape = struct.unpack(f">{dimensions}I", data[4:start])
    expected = 1
    for length in shape:
        expected *= length
    if len(data) - start != expected:
        raise DataError(f"{path} says {'×'.join(map(str, shape))} values, but holds {len(data) - start} bytes of them")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def _pair(folder: Path, part: str) -> tuple[Path, Path]:
    images, labels = (_find(folder, f"{_PARTS[part]}-{kind}") for kind in ("images", "labels"))
    if images is None or labels is None:
        missing = "images" if images is None else "labels"
        raise DataError(f"{folder}: there is no file {_PARTS[part]}-{missing}-idx…-ubyte[.gz]")
    return images, labels


def _find(folder: Path, start: str) -> Path | None:
    found = sorted(path for path in folder.iterdir() if path.is_file() and path.name.startswith(start) and "idx" in path.name)
    return found[0] if found else None


def _labels_beside(images: Path) -> Path:
    stem = images.name.replace("images", "labels").replace("idx3", "idx1").removesuffix(".gz")
    for name in (stem, f"{stem}.gz"):
        if images.with_name(name).is_file():
            return images.with_name(name)
    raise DataError(f"{images}: its labels are not beside it; expected {stem} or {stem}.gz")
