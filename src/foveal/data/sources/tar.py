"""tar archives, read from the first byte to the last: ustar, with GNU's and POSIX's (pax) long names.

A header is a block of 512 bytes: name 100, mode 8, uid 8, gid 8, size 12, mtime 12, checksum 8, kind 1, link name 100,
"ustar", … and at 345 what comes before the name. The file's bytes follow, filled up to a block. Zeros end the archive.
(Python's tarfile takes a damaged header, or the lack of an end, for the end: images would be lost without a word.)
"""

from collections.abc import Iterator
from typing import Final

from foveal.data.decode import Unreadable
from foveal.data.sources.member import LARGEST, TOO_LARGE, Member, clean_name, refuse
from foveal.data.sources.unpack import Unpacked
from foveal.errors import DataError

_BLOCK: Final = 512
_FILES: Final = (b"0", b"\0", b"7")
_FOLDER: Final = b"5"
_LONG_NAME, _LONG_LINK, _PAX, _GLOBAL, _LABEL = b"L", b"K", (b"x", b"X"), b"g", b"V"
_OTHERS: Final = {b"1": "a link", b"2": "a link", b"3": "a device", b"4": "a device", b"6": "a pipe"}
_LONGEST: Final = 1 << 20  # bytes of a name, or of pax records


class Tar(Unpacked):
    """An open archive. Its names are not known before all of it is read."""

    names: dict[str, bool] | None = None

    def members(self) -> Iterator[Member]:
        """The members in their order. Raises DataError, naming the archive, where it is damaged, or holds what is
        neither file nor folder, or a path that leads out of it."""
        return _members(self)


def _members(stream: Unpacked) -> Iterator[Member]:
    last, said = "", dict[str, str]()  # the member before; what records said of the next one
    while (head := _header(stream, last)) is not None:
        body = _Body(stream, _size(stream, head, said))
        kind = head[156:157]
        if kind == _LONG_NAME:
            said["path"] = _text(body.small().rstrip(b"\0"))
        elif kind in _PAX:
            said |= _records(stream, body.small())
        elif kind not in (_LONG_LINK, _GLOBAL, _LABEL):
            name = said.get("path") or _name(head)
            sparse = kind == b"S" or any(key.startswith("GNU.sparse") for key in said)
            is_folder = kind == _FOLDER or (kind in _FILES and name.endswith("/"))
            if sparse or not (is_folder or kind in _FILES):
                raise refuse(stream.path, name, "a sparse file" if sparse else _OTHERS.get(kind, f"of kind {kind!r}"))
            if is_folder:
                body.left = body.size = 0  # old programs gave folders a size, but never bytes
            said, last = {}, clean_name(stream.path, name)
            body.name = last
            yield Member(last, is_folder, body.read)
        body.finish()
    while stream.compressed and stream.skip(1 << 20):  # the checksum of a compressed file comes at its end
        pass


class _Body:
    """The bytes that follow a header. name: of their file, once it is known."""

    def __init__(self, stream: Unpacked, size: int) -> None:
        self.stream, self.size, self.name = stream, size, "the name of a file"
        self.left = -(-size // _BLOCK) * _BLOCK

    def read(self) -> bytes | Unreadable:
        return self._take() if self.size <= LARGEST else TOO_LARGE

    def small(self) -> bytes:
        if self.size > _LONGEST:
            raise DataError(f"{self.stream.path} is damaged: {self.name} has {self.size} bytes")
        return self._take()

    def _take(self) -> bytes:
        data = self.stream.read(self.size)
        self.left -= len(data)
        self._check(len(data) == self.size)
        return data

    def finish(self) -> None:
        """Go on to the next header."""
        self._check(self.stream.skip(self.left) == self.left)

    def _check(self, complete: bool) -> None:
        if not complete:
            raise DataError(f"{self.stream.path} is cut off within {self.name}")


def _header(stream: Unpacked, last: str) -> bytes | None:
    """The next header; None at the end."""
    head = stream.read(_BLOCK)
    if len(head) == _BLOCK and not any(head):
        return None
    if len(head) < _BLOCK and last:
        raise DataError(f"{stream.path} is cut off after {last}")
    if len(head) < _BLOCK or not _adds_up(head):
        raise _damaged(stream, last) if last else DataError(f"{stream.path} is no tar archive")
    return head


def _adds_up(head: bytes) -> bool:
    """The checksum is the sum of all bytes, its own 8 as blanks; some programs summed signed ones."""
    try:
        expected = int(head[148:156].strip(b" \0") or b"x", 8)
    except ValueError:
        return False
    total = sum(head) - sum(head[148:156]) + 8 * 32
    return expected == total or expected == total - 256 * sum(byte > 127 for byte in (*head[:148], *head[156:]))


def _size(stream: Unpacked, head: bytes, said: dict[str, str]) -> int:
    """Octal digits, or a number in bytes where the first one is 128; pax records may have another."""
    try:
        field = head[124:136]
        here = int.from_bytes(field[1:], "big") if field[0] == 128 else int(field.strip(b" \0") or b"0", 8)
        size = int(said["size"]) if "size" in said and head[156:157] in (*_FILES, b"S") else here
    except ValueError:
        size = -1
    if not 0 <= size < 1 << 62:
        raise _damaged(stream, _name(head))
    return size


def _name(head: bytes) -> str:
    before = (
        head[345:500].split(b"\0")[0] if head[257:263] == b"ustar\0" else b""
    )  # GNU's "ustar  " has other things there
    name = head[:100].split(b"\0")[0]
    return _text(before + b"/" + name if before else name)


def _records(stream: Unpacked, data: bytes) -> dict[str, str]:
    """pax: records of "length key=value\\n", the length being that of the whole record."""
    found = {}
    while data.strip(b"\0"):
        length, blank, _ = data.partition(b" ")
        size = int(length) if length.isdigit() and len(length) < 9 else 0
        key, equals, value = data[len(length) + 1 : size - 1].partition(b"=")
        if not blank or not equals or not len(length) + 1 < size <= len(data) or data[size - 1 : size] != b"\n":
            raise _damaged(stream, "")
        found[_text(key)] = _text(value)
        data = data[size:]
    return found


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _damaged(stream: Unpacked, last: str) -> DataError:
    return DataError(f"{stream.path} is damaged: what follows {last or 'its beginning'} is no file of an archive")
