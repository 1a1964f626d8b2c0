"""Sources: where images come from. One file for each kind of source; the first that knows a path reads it."""

from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from foveal.data.sources import digits, folder, idx, npz
from foveal.data.sources.raw import Options, Raw
from foveal.errors import DataError


class Source(NamedTuple):
    """A kind of source: what it is, whether a path looks like one, and how it is read."""

    description: str
    matches: Callable[[Path], bool]
    read: Callable[[Path, Options], Raw]


SOURCES: Final = (
    Source("digits (embedded)", digits.matches, digits.read),
    Source("an .npz archive of arrays", npz.matches, npz.read),
    Source("IDX files (MNIST's format), or a folder of them", idx.matches, idx.read),
    Source("a folder of class folders", folder.matches, folder.read),
)


def read(path: Path, options: Options) -> Raw:
    """Read a source. Raises DataError if nothing is there or nobody knows what it is."""
    for source in SOURCES:
        if source.matches(path):
            return source.read(path, options)
    if not path.exists():
        raise DataError(f"there is no {path}; give a folder of class folders, IDX files, an .npz archive, or digits")
    raise DataError(f"{path} is none of the data foveal reads: {'; '.join(source.description for source in SOURCES)}")
