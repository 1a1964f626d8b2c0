"""A member of an archive: a file or a folder in it, under a name that stays within the archive."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from foveal.data.decode import Unreadable
from foveal.data.sources.base import first_few
from foveal.errors import DataError

LARGEST: Final = 1 << 28  # bytes of a file that is still taken for an image
TOO_LARGE: Final = Unreadable(f"larger than {LARGEST >> 20} MB, which no image file here may be")


@dataclass(frozen=True)
class Member:
    """name: as `clean_name` gives it. read: the file's bytes, or why there are none; only until the next member is
    asked for."""

    name: str
    is_folder: bool
    read: Callable[[], bytes | Unreadable]


def clean_name(where: object, name: str) -> str:
    """ "./a//b.png" → "a/b.png". Raises DataError for a name that leads out of the archive."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or re.match(r"[A-Za-z]:[\\/]", name):
        raise DataError(f"{where} holds {first_few([name])!r}, a path that leads out of the archive: it is not read")
    return "/".join(parts)


def refuse(where: object, name: str, what: str) -> DataError:
    """The error for a member that is neither file nor folder."""
    return DataError(f"{where} holds {first_few([name])!r}, {what}: only files and folders are read from archives")
