"""What a source of images is, and what it hands over."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from foveal.data.decode import Geometry, Wanted
from foveal.data.images import Images, Originals
from foveal.errors import UsageError
from foveal.kernels import resolve_threads

PARTS: Final = ("train", "validation", "test")

# is called now and then while image files are decoded: how many are, and what part of the source is read, 0 to 1
Progress = Callable[[int, float], None]


class NothingToSkipError(UsageError):
    """Unreadable files are to be left out of a source that has no files."""


class NotResizedError(UsageError):
    """A size is asked for of a source that holds arrays of another."""


@dataclass(frozen=True)
class ReadOptions:
    """How to read. size: of the shorter side, in pixels (None: decide); geometry: the exact size and channels, when a
    model prescribes them. skip_bad: drop unreadable files instead of refusing; cache: keep decoded pixels on disk.
    threads: that decode (None: as many as there are); progress: see `Progress`."""

    size: int | None = None
    geometry: Geometry | None = None
    skip_bad: bool = False
    cache: bool = True
    threads: int | None = None
    progress: Progress | None = None

    @property
    def wanted(self) -> Wanted:
        return self.geometry or self.size

    @property
    def thread_count(self) -> int:
        return resolve_threads(self.threads)

    def tell(self, images: int, share: float) -> None:
        if self.progress is not None:
            self.progress(images, share)


@dataclass(frozen=True)
class SourceData:
    """What a source holds: its parts as they came; only "train" when it has no split.

    name: short. resample: as in Preprocess. notes: a line each for the user. unreadable: (path, reason) of each file
    that was dropped. originals: how the image files were, None without any.
    """

    name: str
    parts: dict[str, Images]
    resample: str
    notes: tuple[str, ...] = ()
    unreadable: tuple[tuple[str, str], ...] = ()
    originals: Originals | None = None


@dataclass(frozen=True)
class Source:
    """One kind of source. accepts: what it takes, as words for messages; recognises: whether a path that exists looks
    like this kind, from names alone; read raises DataError, naming the file, if it does not keep that promise."""

    accepts: str
    recognises: Callable[[Path], bool]
    read: Callable[[Path, ReadOptions], SourceData]


def short_name(text: str) -> str:
    """A name fit for a folder: letters, digits, dots, dashes and underscores, in lower case."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in text.lower())
    return kept.strip("-.") or "data"


def first_few(names: Iterable[str], show: int = 3, between: str = ", ") -> str:
    """ "a, b, c and 7 more": names as a message shows them; bytes that are no text become "?"."""
    listed = [name.encode("utf-8", "replace").decode() for name in names]
    more = f" and {len(listed) - show} more" if len(listed) > show else ""
    return between.join(listed[:show]) + more
