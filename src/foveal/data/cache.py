"""Decoded images on disk, so that a folder is decoded once: `$XDG_CACHE_HOME/foveal`, or in memory if that fails."""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from foveal.data.preprocess import Preprocess

FORMAT: Final = 1
LIMIT: Final = 4 * 2**30  # bytes; the least recently used files go first
MAPPED: Final = 64 * 2**20  # bytes from which a file is mapped instead of read

Decoded = tuple[NDArray[np.uint8], dict[Path, str]]


def folder() -> Path:
    """Where the cache lies; it may not exist yet."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "foveal"


def cached(paths: Sequence[Path], preprocess: Preprocess, decode: Callable[[Sequence[Path], Preprocess], Decoded]) -> Decoded:
    """What `decode` gives for these files, from the cache if they have not changed (names, sizes, times).

    A set with unreadable files is not cached: the next call names them again.
    """
    try:
        file = folder() / f"{_key(paths, preprocess)}.npy"
    except OSError:
        return decode(paths, preprocess)
    shape = (len(paths), preprocess.height, preprocess.width, preprocess.channels)
    found = _read(file, shape)
    if found is not None:
        return found, {}
    pixels, bad = decode(paths, preprocess)
    if not bad:
        _write(file, pixels)
    return pixels, bad


def _key(paths: Sequence[Path], preprocess: Preprocess) -> str:
    digest = hashlib.sha256(json.dumps([FORMAT, preprocess.to_json()], sort_keys=True).encode())
    for path in paths:
        status = path.stat()
        digest.update(f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()[:32]


def _read(file: Path, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    try:
        large = file.stat().st_size > MAPPED
        pixels = np.load(file, mmap_mode="r" if large else None, allow_pickle=False)
        os.utime(file)
    except (OSError, ValueError, EOFError):
        return None
    return pixels if pixels.shape == shape and pixels.dtype == np.uint8 else None


def _write(file: Path, pixels: NDArray[np.uint8]) -> None:
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        _make_room(file.parent, pixels.nbytes)
        with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".tmp", delete=False) as temporary:
            try:
                np.save(temporary, pixels)
                temporary.close()
                Path(temporary.name).replace(file)
            except OSError:
                Path(temporary.name).unlink(missing_ok=True)
                raise


def _make_room(place: Path, needed: int) -> None:
    files = sorted(place.glob("*.npy"), key=lambda path: path.stat().st_mtime)
    total = needed + sum(path.stat().st_size for path in files)
    for path in files:
        if total <= LIMIT:
            break
        total -= path.stat().st_size
        path.unlink(missing_ok=True)
