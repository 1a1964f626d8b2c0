"""Class folders, optionally under train/, val/ and test/: found by names alone, alike on disk and in an archive."""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol

from foveal.data.sources.base import PARTS, first_few
from foveal.errors import DataError

# what a part may be called, in lower case
PART_NAMES: Final = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
# What is taken for an image; anything else in a class folder is left alone, and said.
_SUFFIXES: Final = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".j2k", ".jpx", ".png", ".gif", ".bmp", ".dib", ".tif", ".tiff"),
    *(".webp", ".avif", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".ico", ".dds", ".im", ".pcx", ".qoi", ".sgi", ".xpm"),
)


class Tree(Protocol):
    """A folder, on disk or in an archive, as names. place: what messages call it. path: below the first one, "/"
    between names, "" for the first one itself. identity: the same for the same folder met twice, by a link."""

    @property
    def place(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def identity(self) -> Hashable: ...
    def contents(self) -> "Contents": ...


@dataclass(frozen=True)
class Contents:
    """What a folder holds, by name: folders, files, what is neither and ignored, what is hidden (see `is_hidden`)."""

    folders: dict[str, Tree]
    files: list[str]
    neither: list[str]
    hidden: list[str]


@dataclass
class Listing:
    """Image files that were found: (name, part, class) of each, in order of part and name.

    folder: where the class or part folders lie, a path below the top. All names, also of what is ignored or hidden, are
    paths below it. missing: (name, reason) of files that are to be left out already.
    """

    folder: str = ""
    files: list[tuple[str, str, str]] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    missing: list[tuple[str, str]] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        return [name for name, _, _ in self.files]


def is_hidden(name: str) -> bool:
    """Dot-files, and the folder in which macOS keeps its own notes within a zip archive."""
    return name.startswith(".") or name == "__MACOSX"


def is_image(name: str) -> bool:
    return name.lower().endswith(_SUFFIXES)


def in_bytes(name: str) -> bytes:
    """What names are sorted by: the same on disk and in an archive."""
    return name.encode("utf-8", "surrogateescape")


def list_images(top: Tree) -> Listing:
    """The image files of a folder. Raises DataError, naming what is wrong: no class folders, one without images, or two
    folders for one part."""
    root = _below_lone_folders(top)
    listing = Listing(root.path)
    for part, folder in _part_folders(root, listing).items():
        inside = folder.contents()
        listing.ignored += [_below(listing, folder, name) for name in (*inside.files, *inside.neither)]
        listing.hidden += [_below(listing, folder, name) for name in inside.hidden]
        if not inside.folders:
            raise DataError(
                f"{folder.place} has no class folders: put the images of each class into a folder of its name"
            )
        for label, tree in inside.folders.items():
            check_class_name(label, f"the class folder {first_few([label])!r}")
            found = [(name, part, label) for name in _images_below(listing, tree)]
            if not found:
                raise DataError(f"{tree.place} holds no images")
            listing.files += found
    listing.files.sort(key=lambda item: (PARTS.index(item[1]), in_bytes(item[0])))
    return listing


def check_class_name(name: str, what: str) -> None:
    """A class name is printed, and written as UTF-8: raises DataError for another one."""
    if any(c < " " or "\ud800" <= c <= "\udfff" for c in name):
        raise DataError(f"{what} has a name that is no text; rename it")


def _below_lone_folders(top: Tree) -> Tree:
    """The folder itself, or, if it holds but one folder with folders in it, that one; but for train/ and the like."""
    seen = {top.identity}
    while len(folders := top.contents().folders) == 1:
        ((name, inner),) = folders.items()
        if name.lower() in PART_NAMES or not inner.contents().folders or inner.identity in seen:
            break
        seen.add(inner.identity)
        top = inner
    return top


def _part_folders(root: Tree, listing: Listing) -> dict[str, Tree]:
    """{part: folder}: train/, val/, test/ if there is nothing else or train/ holds folders; or the root as "train"."""
    inside = root.contents()
    parts = {name: tree for name, tree in inside.folders.items() if name.lower() in PART_NAMES}
    decisive = [
        tree for name, tree in parts.items() if len(parts) == len(inside.folders) or PART_NAMES[name.lower()] == "train"
    ]
    if not any(tree.contents().folders for tree in decisive):
        return {"train": root}
    found: dict[str, tuple[str, Tree]] = {}
    for name, tree in parts.items():
        part = PART_NAMES[name.lower()]
        if part in found:
            raise DataError(f"{root.place} has both {found[part][0]}/ and {name}/; which is the {part} part?")
        found[part] = (name, tree)
    others = [name for name in inside.folders if name not in parts]
    listing.ignored += [_below(listing, root, name) for name in (*others, *inside.files, *inside.neither)]
    listing.hidden += [_below(listing, root, name) for name in inside.hidden]
    return {part: found[part][1] for part in PARTS if part in found}


def _images_below(listing: Listing, top: Tree) -> Iterator[str]:
    """Names of the image files of a class, also in folders within it. A folder that contains itself ends there."""
    seen, trees = set(), [top]
    while trees:
        tree = trees.pop()
        if tree.identity in seen:
            continue
        seen.add(tree.identity)
        inside = tree.contents()
        trees += inside.folders.values()
        listing.hidden += [_below(listing, tree, name) for name in inside.hidden]
        for name in inside.files:
            if is_image(name):
                yield _below(listing, tree, name)
            else:
                listing.ignored.append(_below(listing, tree, name))
        listing.ignored += [_below(listing, tree, name) for name in inside.neither]


def _below(listing: Listing, tree: Tree, name: str) -> str:
    """The path of an entry below the listing's folder."""
    path = tree.path[len(listing.folder) :].removeprefix("/")
    return f"{path}/{name}" if path else name
