"""The lock of a run folder: one process at a time may write there."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from foveal.errors import RunError

NAME = ".lock"
_UNSUPPORTED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; raises RunError at once if another process (or this one, elsewhere) holds it.

    The system releases it when the process ends, however it ends; the file itself stays. A file system without locks
    is used without one.
    """
    try:
        descriptor = os.open(folder / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise RunError(f"cannot write {folder / NAME}: {error.strerror}") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES, *_UNSUPPORTED):
                raise RunError(f"cannot lock {folder}: {error.strerror}") from None
            if error.errno not in _UNSUPPORTED:
                holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"
                raise RunError(f"{folder} is in use by process {holder}; wait until it ends or stop it") from None
        with suppress(OSError):  # only for the message to others; the disk may be full
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
