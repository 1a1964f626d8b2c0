"""IDX, the format of MNIST: a header of big-endian numbers, then bytes. Plain or compressed by gzip.

header: 0, 0, element type (8 = uint8), number of dimensions, then each dimension as uint32.
"""

import gzip
import math
import zlib
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from foveal.data.sources.arrays import from_arrays
from foveal.data.sources.base import ReadOptions, Source, SourceData
from foveal.errors import DataError

_STEMS: Final = {"train": ("train",), "validation": ("val", "valid", "validation"), "test": ("t10k", "test")}
_BLOCK: Final = 1 << 22  # bytes read at once
_MOST: Final = 1 << 40  # bytes that a header may claim

Stream = BinaryIO | gzip.GzipFile


def recognises(path: Path) -> bool:
    if path.is_dir():
        return bool(_image_files(path))
    return path.is_file() and ("-idx" in path.name or ".idx" in path.name)


def read(path: Path, options: ReadOptions) -> SourceData:
    """A folder of train-images-idx3-ubyte, train-labels-idx1-ubyte and t10k-… (each maybe .gz), or one images file
    with its labels file beside it. Raises DataError, naming the file, if one is missing or is not what it says."""
    if path.is_dir():
        name, pairs = path.resolve().name, _pairs(path)
    else:
        stem = path.name.split("-images")[0].split(".idx")[0]
        name = path.resolve().parent.name if stem in ("train", "t10k", "test") else stem
        pairs = {"train": (path, _labels_beside(path))}
    arrays = {part: (_images(images), _labels(labels)) for part, (images, labels) in pairs.items()}
    return from_arrays(name, arrays, options)


def _pairs(folder: Path) -> dict[str, tuple[Path, Path]]:
    return {part: (images, _labels_beside(images)) for part, images in _image_files(folder).items()}


def _image_files(folder: Path) -> dict[str, Path]:
    """{part: its file of images}."""
    found = {part: [_find(folder, stem, "images") for stem in stems] for part, stems in _STEMS.items()}
    return {part: next(file for file in files if file) for part, files in found.items() if any(files)}


def _find(folder: Path, stem: str, kind: str) -> Path | None:
    """The file of a folder that holds `kind`: train-images-idx3-ubyte, also written train-images.idx3-ubyte."""
    number = 3 if kind == "images" else 1
    names = [f"{stem}-{kind}{dot}idx{number}-ubyte{gz}" for dot in "-." for gz in ("", ".gz")]
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _labels_beside(images: Path) -> Path:
    if "images" not in images.name:
        raise DataError(f"{images}: the name of an IDX file of images must say so, as in train-images-idx3-ubyte")
    stem = images.name.split("-images")[0]
    labels = _find(images.parent, stem, "labels")
    if labels is None:
        raise DataError(f"{images} has no {stem}-labels-idx1-ubyte (or .gz) beside it")
    return labels


def _images(path: Path) -> NDArray[np.uint8]:
    return read_idx(path, 3)


def _labels(path: Path) -> NDArray[np.uint8]:
    return read_idx(path, 1)


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The uint8 array in an IDX file. Raises DataError, naming it, if its header or its length is not as it should."""
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            if packed:
                with gzip.GzipFile(fileobj=raw) as stream:
                    return _parse(path, stream, dimensions)
            return _parse(path, raw, dimensions)
    except (OSError, EOFError, zlib.error, MemoryError) as error:
        raise DataError(f"{path} cannot be read: {error or type(error).__name__}") from None


def _parse(path: Path, stream: Stream, dimensions: int) -> NDArray[np.uint8]:
    head = stream.read(4 + 4 * dimensions)
    if head[:2] != b"\0\0" or len(head) < 4 + 4 * dimensions:
        raise DataError(f"{path} is not an IDX file")
    if head[2] != 8 or head[3] != dimensions:
        raise DataError(
            f"{path} holds elements of type {head[2]} in {head[3]} dimensions; needed are uint8 (8) in {dimensions}"
        )
    shape = tuple(int(n) for n in np.frombuffer(head, ">u4", offset=4))
    size = math.prod(shape)
    data = _read_up_to(stream, min(size, _MOST) + 1)  # one more, to notice what is left over
    if len(data) != size:
        found = f"only {len(data)}" if len(data) < size else "more"
        raise DataError(f"{path} says it holds {' × '.join(map(str, shape))} = {size} bytes, but there are {found}")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _read_up_to(stream: Stream, limit: int) -> bytearray:
    """Up to `limit` bytes, in blocks: what a lying header claims is never allocated."""
    data = bytearray()
    while len(data) < limit and (block := stream.read(min(_BLOCK, limit - len(data)))):
        data += block
    return data


SOURCE: Final = Source("a folder of IDX files (train-images-idx3-ubyte[.gz] …) or one of them", recognises, read)
