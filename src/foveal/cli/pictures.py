"""The images that a command line names: files, folders, patterns."""

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from foveal.errors import DataError


def image_paths(arguments: Iterable[str]) -> list[str]:
    """Paths of image files, in the order of the arguments; each argument's own in the order of names' bytes.

    A file is taken as it is, a folder stands for the image files below it (by their endings; names that begin with a
    dot are left out), a pattern with *, ? or [ that is no name itself for what it matches. Raises DataError for an
    argument that stands for nothing, or an archive.
    """
    return [path for argument in arguments for path in _paths(argument)]


def _paths(argument: str) -> list[str]:
    place = Path(argument).expanduser()
    if place.is_dir():
        found = sorted(_below(str(place)), key=os.fsencode)
        if not found:
            raise DataError(f"the folder {argument} holds no images")
        return found
    if place.exists():
        from foveal.data.sources import archive

        if archive.recognises(place):
            raise DataError(f"{argument} is an archive, and predict takes image files and folders: unpack it first")
        return [argument]
    if not glob.has_magic(argument):
        raise DataError(f"there is no file {argument}")
    matches = sorted(glob.glob(str(place), recursive=True), key=os.fsencode)  # noqa: PTH207 (an absolute pattern)
    if not matches:
        raise DataError(f"no file matches {argument}")
    return [path for match in matches for path in _paths(match)]


def _below(folder: str) -> Iterator[str]:
    from foveal.data.sources.layout import is_hidden, is_image

    def refuse(error: OSError) -> None:
        raise DataError(f"{error.filename} cannot be read: {error.strerror}")

    for where, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not is_hidden(name)]
        for name in files:
            if is_image(name) and not is_hidden(name):
                yield str(Path(where, name))
