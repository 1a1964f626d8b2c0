"""Writing files so that a reader sees the old content or the new one, never a part, whatever happens in between."""

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from foveal.errors import RunError

TEMPORARY: Final = ".tmp"  # how names of unfinished files end
_UNSUPPORTED: Final = (errno.EINVAL, errno.ENOTSUP)  # by file systems that cannot sync a folder


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` to `path` by way of `<name>.tmp` in the same folder: write, sync, rename, sync the folder.

    Raises RunError if the system refuses (a full disk, no permission); the old content then stays.
    """
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)  # noqa: PTH105 (the tests stand in its way here)
        _sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise RunError(f"cannot write {path}: {error.strerror or error}") from None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
    finally:
        os.close(descriptor)
