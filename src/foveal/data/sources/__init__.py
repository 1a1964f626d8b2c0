"""The sources of images: one file each, found by how a path looks. To add one, write its file and list it here."""

import difflib
from pathlib import Path
from typing import Final

from foveal.data.sources import archive, cifar, csv, digits, folder, idx, npz
from foveal.data.sources.arrays import from_arrays
from foveal.data.sources.base import PARTS, Progress, ReadOptions, Source, SourceData, first_few
from foveal.errors import DataError

__all__ = [
    "PARTS", "SOURCES", "Progress", "ReadOptions", "Source", "SourceData", "first_few", "from_arrays", "read_source",
]  # fmt: skip

_OTHER_ARCHIVES: Final = (".rar", ".7z", ".tar.zst", ".tar.lz4", ".tar.lz", ".tar.z", ".tzst")

# Asked in this order: a folder of IDX files, or of CIFAR's, is also a folder.
SOURCES: Final[tuple[Source, ...]] = (
    idx.SOURCE, cifar.SOURCE, npz.SOURCE, folder.SOURCE, archive.SOURCE, csv.SOURCE,
)  # fmt: skip


def read_source(path: str | Path, options: ReadOptions) -> SourceData:
    """Read "digits" or a path. Raises DataError if nothing is there, or nothing that a source takes."""
    if path == digits.NAME:  # a folder of that name can be given as ./digits or as a Path
        return digits.read(options)
    place = Path(path).expanduser()
    if "://" in str(path) and not place.exists():
        raise DataError(f"{path} is an address, and foveal reads what lies on this machine: download it first")
    if path == "" or not place.exists():
        near = difflib.get_close_matches(str(path), [digits.NAME], 1, 0.6)
        raise DataError(f"there is no {path or 'path given'}" + (f"; did you mean {near[0]}?" if near else ""))
    for source in SOURCES:
        if source.recognises(place):
            return source.read(place, options)
    if place.name.lower().endswith(_OTHER_ARCHIVES):
        raise DataError(f"{path} is packed in a way that foveal does not read: unpack it, or pack it as .tar or .zip")
    raise DataError(f"{path} is none of: {'; '.join(source.accepts for source in SOURCES)}; {digits.NAME} (built in)")
