"""A folder of class folders, optionally under train/, val/ and test/ (or training/, valid/, validation/, testing/)."""

import os
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Final

from foveal.data.sources.base import ReadOptions, Source, SourceData, short_name
from foveal.data.sources.files import read_files
from foveal.data.sources.layout import Contents, is_hidden, list_images
from foveal.errors import DataError


def recognises(path: Path) -> bool:
    return path.is_dir()


def read(path: Path, options: ReadOptions) -> SourceData:
    """Decode every image below the class folders. Raises DataError, naming what is wrong: no class folders, empty ones,
    two folders for one part, or unreadable files (unless options.skip_bad)."""
    listing = list_images(_Folder(str(path), ""))
    return read_files(short_name(path.resolve().name), str(path), path / listing.folder, listing, options)


class _Folder:
    """A folder on disk, as a Tree: see layout.py. Folders that hold runs of foveal's are neither folder nor file: they
    may lie where the images are."""

    def __init__(self, place: str, path: str) -> None:
        self.place, self.path = place, path

    @cached_property
    def identity(self) -> str:
        return os.path.realpath(self.place)

    def contents(self) -> Contents:
        return self._contents

    @cached_property
    def _contents(self) -> Contents:
        inside = Contents({}, [], [], [])
        for entry in _entries(self.place):
            if is_hidden(entry.name):
                inside.hidden.append(entry.name)
            elif entry.is_dir() and not _holds_runs(entry.path):
                below = f"{self.path}/{entry.name}" if self.path else entry.name
                inside.folders[entry.name] = _Folder(entry.path, below)
            elif entry.is_file():
                inside.files.append(entry.name)
            else:
                inside.neither.append(entry.name)
        return inside


def _entries(folder: str) -> list["os.DirEntry[str]"]:
    """All that a folder holds, in the order of names' bytes."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}") from None


def _holds_runs(folder: str) -> bool:
    """Whether a folder is a run, or holds nothing else. Looks no further than to the first file that speaks against."""
    if Path(folder, "config.json").is_file() and Path(folder, ".lock").is_file():
        return True
    runs = 0
    with suppress(OSError), os.scandir(folder) as inside:  # what cannot be read is said when its images are listed
        for entry in inside:
            if entry.name.startswith("."):
                continue
            if not (entry.is_dir() and _holds_runs(entry.path)):
                return False
            runs += 1
    return runs > 0


SOURCE: Final = Source("a folder of class folders, perhaps under train/, val/, test/", recognises, read)
