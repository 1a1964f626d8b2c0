"""zip archives, their files read in the order in which they lie there."""

import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from foveal.data.decode import Unreadable
from foveal.data.sources.member import LARGEST, TOO_LARGE, Member, clean_name, refuse
from foveal.data.sources.unpack import check_ratio
from foveal.errors import DataError

_ENCRYPTED, _UTF8 = 0x1, 0x800  # bits of a member's flags
_DOS: Final = 0  # the system on which backslashes separate names
_BROKEN: Final = (OSError, EOFError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error)


class Zip:
    """An open archive. Raises DataError, naming it, for what is none, is encrypted, unpacks to absurd sizes, or holds
    links, or paths that lead out of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = zipfile.ZipFile(path)
        except _BROKEN as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise DataError(f"{path} is no zip archive, or it is damaged or cut off: {_reason(error)}") from None
        try:
            infos = sorted(self._file.infolist(), key=lambda info: info.header_offset)
            for info in infos:
                self._check(info)
            check_ratio(path, sum(info.file_size for info in infos), path.stat().st_size)
            self._members = {clean_name(path, _name(info)): info for info in infos}
        except BaseException:
            self._file.close()
            raise
        self.share = 0.0
        # a name that comes twice counts as its last file, as when the archive is unpacked
        self.names: dict[str, bool] | None = {name: info.is_dir() for name, info in self._members.items()}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def members(self) -> Iterator[Member]:
        for i, (name, info) in enumerate(self._members.items()):
            self.share = i / len(self._members)
            yield Member(name, info.is_dir(), partial(self._read, info))

    def _check(self, info: zipfile.ZipInfo) -> None:
        kind = stat.S_IFMT(info.external_attr >> 16)
        if info.flag_bits & _ENCRYPTED:
            raise DataError(f"{self.path} is encrypted ({info.filename}): unpack it with its password first")
        if kind and not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
            raise refuse(self.path, info.filename, "a link" if stat.S_ISLNK(kind) else "a device or a pipe")

    def _read(self, info: zipfile.ZipInfo) -> bytes | Unreadable:
        if info.file_size > LARGEST:
            return TOO_LARGE
        try:
            return self._file.read(info)
        except _BROKEN as error:
            return Unreadable(f"damaged in the archive: {_reason(error)}")
        except Exception as error:  # lzma's and zstd's own
            return Unreadable(f"damaged in the archive: {_reason(error)}")


def _name(info: zipfile.ZipInfo) -> str:
    """Names are UTF-8 where a bit says so, and often where none does (macOS); else zipfile takes them for cp437."""
    name = info.filename
    if not info.flag_bits & _UTF8:
        with suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return name.replace("\\", "/") if info.create_system == _DOS else name


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0][:80] if str(error) else type(error).__name__
