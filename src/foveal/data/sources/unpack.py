"""The bytes of a file that may be compressed, one after another, without a copy on disk."""

import io
import zlib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from foveal.errors import DataError

_BLOCK: Final = 1 << 20  # bytes read at once
# What unpacks to more than so many bytes, and so many times its size, is a decompression bomb: images hardly shrink.
_SUSPICIOUS: Final = 1 << 30
_RATIO: Final = 200


class Unpacked:
    """A plain, gzip, bzip2 or xz file as a stream: its first bytes say which. Errors are DataErrors that name it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._raw: Any = path.open("rb")
        try:
            self.size = max(path.stat().st_size, 1)
            opened, own_errors = _decompressor(self._raw.read(6))
            self._raw.seek(0)
        except BaseException:
            self._raw.close()
            raise
        self._errors: tuple[type[Exception], ...] = (OSError, EOFError, ValueError, zlib.error, *own_errors)
        self.compressed = opened is not None
        self._stream: Any = io.BufferedReader(opened(self._raw), _BLOCK) if opened else self._raw
        self._position = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._raw.close()

    @property
    def share(self) -> float:
        """How much of the file is read, from 0 to 1."""
        return min(float(self._raw.tell()) / self.size, 1.0)

    def read(self, size: int) -> bytes:
        """The next `size` bytes, fewer only at the end. Never more memory than there are bytes, whatever the size."""
        if size <= _BLOCK:
            return self._read(size)
        blocks = []
        while size and (data := self._read(min(_BLOCK, size))):
            blocks.append(data)
            size -= len(data)
        return b"".join(blocks)

    def _read(self, size: int) -> bytes:
        try:
            data: bytes = self._stream.read(size)
        except self._errors as error:
            reason = "it ends too early" if isinstance(error, EOFError) else str(error) or type(error).__name__
            raise DataError(f"{self.path} is damaged: {reason}") from None
        self._position += len(data)
        check_ratio(self.path, self._position, self._raw.tell())
        return data

    def skip(self, size: int) -> int:
        """Go on by `size` bytes; returns how many there were."""
        done = 0
        while done < size and (data := self._read(min(_BLOCK, size - done))):
            done += len(data)
        return done


def check_ratio(path: Path, unpacked: int, packed: int) -> None:
    """Raise DataError for a decompression bomb. unpacked, packed: bytes so far, or of all."""
    if unpacked > _SUSPICIOUS and unpacked > _RATIO * packed:
        raise DataError(f"{path} unpacks to more than {_RATIO} times its size, as no images do: it is not read")


def _decompressor(head: bytes) -> tuple[Callable[[Any], Any] | None, tuple[type[Exception], ...]]:
    """What opens a stream that begins so (None: it is not compressed), and errors of its own."""
    if head.startswith(b"\x1f\x8b"):
        import gzip

        return (lambda raw: gzip.GzipFile(fileobj=raw)), ()
    if head.startswith(b"BZh"):
        import bz2

        return bz2.BZ2File, ()
    if head.startswith(b"\xfd7zXZ\0"):
        import lzma

        return lzma.LZMAFile, (lzma.LZMAError,)
    return None, ()
