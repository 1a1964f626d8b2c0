"""The cache of decoded pixels: one file per set of image files and geometry, below $XDG_CACHE_HOME/foveal.

A file is one line of JSON (padded to 4096 bytes' multiple) and the pixels behind it. It can always be deleted: a cache
that cannot be written, or a file that is damaged, costs time only.
"""

import hashlib
import json
import math
import os
import time
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

VERSION: Final = 4  # of file format and decoding; a new number leaves old files to be removed as the least used
LARGE: Final = 64 << 20  # bytes of pixels from which a file is mapped rather than read
LIMIT: Final = 4 << 30  # bytes of all files together
TICK: Final = 2_000_000_000  # nanoseconds: the coarsest clock of a file system (FAT)
_SUFFIX: Final = ".pixels"
_PAGE: Final = 4096  # a map's offset must be a multiple of the page size on no system that matters larger than 64 KiB
_STALE: Final = 24 * 3600  # seconds after which an unfinished file is taken for a killed process's


def cache_folder() -> Path:
    """Where decoded pixels are kept; it may not exist yet."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    root = Path(base) if Path(base).is_absolute() else Path("~/.cache").expanduser()
    return root / "foveal" / "decoded"


def cache_key(root: Path, names: Sequence[str], request: Mapping[str, Any]) -> str | None:
    """A hash of which files these are, their sizes and times, and of what is asked for (JSON values).

    Which: names, devices and inodes. Of the times also that of the last change of a file's record (ctime): archives
    restore names, sizes and mtimes alike. None if a file is so new that it could change again without a sign of it,
    within the tick of a file system's clock. Raises OSError if a file is gone.
    """
    digest = hashlib.sha256(json.dumps([VERSION, request], sort_keys=True).encode())
    youngest = 0
    for name in names:
        stat = os.stat(os.path.join(root, name))  # noqa: PTH116, PTH118 (Paths would take most of the time)
        facts = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        digest.update(name.encode("utf-8", "surrogateescape") + b"\0" + f"{facts}\n".encode())
        youngest = max(youngest, stat.st_mtime_ns, stat.st_ctime_ns)
    return digest.hexdigest()[:40] if youngest <= time.time_ns() - TICK else None


def fetch(folder: Path, key: str) -> tuple[dict[str, Any], NDArray[np.uint8]] | None:
    """The record and the pixels stored under a key; None if there are none, or a damaged file (which is removed)."""
    path = folder / (key + _SUFFIX)
    try:
        found = _read(path)
        with suppress(OSError):  # not ours to touch
            os.utime(path)  # the least recently used go first
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        with suppress(OSError):
            path.unlink()
        return None
    return found


def store(
    folder: Path, key: str, record: Mapping[str, Any], pixels: NDArray[np.uint8], limit: int = LIMIT
) -> NDArray[np.uint8]:
    """Keep pixels uint8 (N, H, W, C) and a JSON record. Returns them, as a map of the file if they are large; unchanged
    if the folder cannot be written or they are larger than the limit of all files together."""
    if pixels.nbytes + _PAGE > limit:
        return pixels
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / (key + _SUFFIX), record, pixels)
        _remove_least_used(folder, limit, keep=key + _SUFFIX)
        return _read(folder / (key + _SUFFIX))[1] if pixels.nbytes >= LARGE else pixels
    except (OSError, ValueError):
        return pixels


def cache_size(folder: Path) -> int:
    """Bytes of all that is kept."""
    return sum(path.stat().st_size for path in folder.glob("*" + _SUFFIX))


def _write(path: Path, record: Mapping[str, Any], pixels: NDArray[np.uint8]) -> None:
    """Under a name of its own first, so that a reader sees all of it or nothing."""
    head = json.dumps({"record": dict(record), "shape": pixels.shape, "crc": zlib.crc32(pixels.data)}).encode()
    head += b" " * (-(len(head) + 1) % _PAGE) + b"\n"
    with NamedTemporaryFile(dir=path.parent, prefix=path.stem, suffix=".tmp", delete=False) as file:
        try:
            file.write(head)
            file.write(pixels.data)
            file.close()
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def _read(path: Path) -> tuple[dict[str, Any], NDArray[np.uint8]]:
    with path.open("rb") as file:
        line = file.readline()
        head = json.loads(line)
        shape = tuple(int(n) for n in head["shape"])
        size = math.prod(shape)
        if len(shape) != 4 or size < 1 or os.fstat(file.fileno()).st_size != len(line) + size:
            raise ValueError(f"{path} is damaged")
        pixels: NDArray[np.uint8]
        if size >= LARGE:
            pixels = np.memmap(file, np.uint8, "r", len(line), shape)
        else:
            pixels = np.frombuffer(file.read(size), np.uint8).reshape(shape)
    if zlib.crc32(pixels.data) != head["crc"]:
        raise ValueError(f"{path} is damaged")
    return dict(head["record"]), pixels


def _remove_least_used(folder: Path, limit: int, keep: str) -> None:
    files = {path: path.stat() for path in folder.iterdir() if path.suffix in (_SUFFIX, ".tmp")}
    finished = sorted((p for p in files if p.suffix == _SUFFIX and p.name != keep), key=lambda p: files[p].st_mtime_ns)
    excess = sum(stat.st_size for path, stat in files.items() if path.suffix == _SUFFIX) - limit
    for path in finished:
        if excess <= 0:
            break
        excess -= files[path].st_size
        path.unlink(missing_ok=True)
    for path, stat in files.items():
        if path.suffix == ".tmp" and stat.st_mtime < time.time() - _STALE:
            path.unlink(missing_ok=True)
